-- Rows per table. Parameters: none. Returns: one row with a column per table.
-- Invariant: exact, not the planner's estimate; all six from one snapshot.

SELECT
    (SELECT count(*) FROM organisation.nodes) AS nodes,
    (SELECT count(*) FROM organisation.employees) AS employees,
    (SELECT count(*) FROM organisation.memberships) AS memberships,
    (SELECT count(*) FROM organisation.tasks) AS tasks,
    (SELECT count(*) FROM organisation.checkins) AS checkins,
    (SELECT count(*) FROM organisation.blockers) AS blockers;
