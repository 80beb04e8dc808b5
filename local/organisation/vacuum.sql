-- Removes the rows that a load replaced and marks pages as all-visible, as in a database in long use.
--
-- Parameters: none. Returns: nothing. Run after the commit of a load; Postgres refuses it in a transaction.
-- Invariant: the tables of `organisation` and no others.

VACUUM
    organisation.nodes,
    organisation.employees,
    organisation.memberships,
    organisation.tasks,
    organisation.checkins,
    organisation.blockers;
