-- Foreign keys and indexes, separate from the tables: built after a load they cost a quarter of the time
-- that checks and index entries of each copied row cost.
--
-- Parameters: none. Returns: nothing. Run after schema.sql, and at the end of each load.
-- Invariant: unload.sql drops exactly the objects made here. Every reference has an index on its referring side.

ALTER TABLE organisation.nodes
    ADD CONSTRAINT nodes_parent FOREIGN KEY (parent_id) REFERENCES organisation.nodes;
ALTER TABLE organisation.employees
    ADD CONSTRAINT employees_node FOREIGN KEY (node_id) REFERENCES organisation.nodes;
ALTER TABLE organisation.memberships
    ADD CONSTRAINT memberships_employee FOREIGN KEY (employee_id) REFERENCES organisation.employees,
    ADD CONSTRAINT memberships_node FOREIGN KEY (node_id) REFERENCES organisation.nodes;
ALTER TABLE organisation.tasks
    ADD CONSTRAINT tasks_node FOREIGN KEY (node_id) REFERENCES organisation.nodes,
    ADD CONSTRAINT tasks_assignee FOREIGN KEY (assignee_id) REFERENCES organisation.employees;
ALTER TABLE organisation.checkins
    ADD CONSTRAINT checkins_employee FOREIGN KEY (employee_id) REFERENCES organisation.employees,
    ADD CONSTRAINT checkins_node FOREIGN KEY (node_id) REFERENCES organisation.nodes;
ALTER TABLE organisation.blockers
    ADD CONSTRAINT blockers_node FOREIGN KEY (node_id) REFERENCES organisation.nodes,
    ADD CONSTRAINT blockers_employee FOREIGN KEY (employee_id) REFERENCES organisation.employees,
    ADD CONSTRAINT blockers_task FOREIGN KEY (task_id) REFERENCES organisation.tasks;

CREATE INDEX nodes_by_parent ON organisation.nodes (parent_id);
CREATE INDEX employees_by_node ON organisation.employees (node_id);
CREATE INDEX memberships_by_node ON organisation.memberships (node_id);

CREATE INDEX tasks_by_node ON organisation.tasks (node_id);
CREATE INDEX tasks_by_assignee ON organisation.tasks (assignee_id);
-- "Open at an instant" is (closed_at IS NULL OR closed_at > instant): the two halves of an OR, one index each.
CREATE INDEX tasks_open ON organisation.tasks (node_id, due_at) WHERE closed_at IS NULL;
CREATE INDEX tasks_by_closing ON organisation.tasks (closed_at) WHERE closed_at IS NOT NULL;

-- Check-ins of a day, read from the index alone.
CREATE INDEX checkins_by_time ON organisation.checkins (at) INCLUDE (node_id, employee_id);
CREATE INDEX checkins_by_employee ON organisation.checkins (employee_id);
CREATE INDEX checkins_by_node ON organisation.checkins (node_id, at);

CREATE INDEX blockers_by_node ON organisation.blockers (node_id);
CREATE INDEX blockers_by_employee ON organisation.blockers (employee_id);
CREATE INDEX blockers_by_task ON organisation.blockers (task_id);
CREATE INDEX blockers_open ON organisation.blockers (node_id, opened_at, id) WHERE closed_at IS NULL;
CREATE INDEX blockers_by_closing ON organisation.blockers (closed_at) WHERE closed_at IS NOT NULL;
