-- Empties the organisation and drops its foreign keys and indexes before a load.
--
-- Parameters: none. Returns: nothing. Run inside the transaction of a load, before the rows are copied.
-- Invariant: drops exactly the objects that references.sql makes. DELETE, not TRUNCATE: a report that took its snapshot
-- before the load must still see the earlier rows when it reads them, never an empty company.

ALTER TABLE organisation.nodes DROP CONSTRAINT nodes_parent;
ALTER TABLE organisation.employees DROP CONSTRAINT employees_node;
ALTER TABLE organisation.memberships DROP CONSTRAINT memberships_employee, DROP CONSTRAINT memberships_node;
ALTER TABLE organisation.tasks DROP CONSTRAINT tasks_node, DROP CONSTRAINT tasks_assignee;
ALTER TABLE organisation.checkins DROP CONSTRAINT checkins_employee, DROP CONSTRAINT checkins_node;
ALTER TABLE organisation.blockers
    DROP CONSTRAINT blockers_node, DROP CONSTRAINT blockers_employee, DROP CONSTRAINT blockers_task;

DROP INDEX
    organisation.nodes_by_parent,
    organisation.employees_by_node,
    organisation.memberships_by_node,
    organisation.tasks_by_node,
    organisation.tasks_by_assignee,
    organisation.tasks_open,
    organisation.tasks_by_closing,
    organisation.checkins_by_time,
    organisation.checkins_by_employee,
    organisation.checkins_by_node,
    organisation.blockers_by_node,
    organisation.blockers_by_employee,
    organisation.blockers_by_task,
    organisation.blockers_open,
    organisation.blockers_by_closing;

DELETE FROM organisation.blockers;
DELETE FROM organisation.checkins;
DELETE FROM organisation.tasks;
DELETE FROM organisation.memberships;
DELETE FROM organisation.employees;
DELETE FROM organisation.nodes;
