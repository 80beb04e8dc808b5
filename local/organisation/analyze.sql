-- Updates the planner's statistics after a load. Parameters: none. Returns: nothing. Run at the end of a load.
-- Invariant: the tables of `organisation` and no others.

ANALYZE
    organisation.nodes,
    organisation.employees,
    organisation.memberships,
    organisation.tasks,
    organisation.checkins,
    organisation.blockers;
