-- +++
-- name = "management"
-- title = "Gerencia"
-- scope = "node_id"
-- tree = "organisation"
-- every = "1m"
-- valid_until = "next_midnight"
--
-- [freshness]
-- soft = "90s"
-- hard = "5m"
-- debounce = "1s"
--
-- [rollup]
-- employees = "sum"
-- people_today = "distinct"
-- checkins_today = "sum"
-- active_blockers = "sum"
-- oldest_blocker_at = "min"
-- oldest_blocker_id = "of oldest_blocker_at"
-- open_tasks = "sum"
-- overdue_tasks = "sum"
-- +++
--
-- The dashboard of the management: per node, and by roll-up for its whole subtree, how many people there are,
-- who checked in today, what blocks them, and which tasks are open and overdue.
--
-- Parameters: :now, :day_start, :day_end. Returns: one row per node that has anything, direct rows only.
-- Invariant: every number is a fact of the instant :now, so that an earlier instant can be asked about too.

WITH employees AS (
    SELECT node_id, count(*) AS employees
    FROM organisation.employees
    WHERE joined_at <= :now AND (left_at IS NULL OR left_at > :now)
    GROUP BY node_id
),
checkins AS (
    SELECT node_id, count(*) AS checkins_today, array_agg(DISTINCT employee_id) AS people_today
    FROM organisation.checkins
    WHERE at >= :day_start AND at < :day_end AND at <= :now
    GROUP BY node_id
),
active AS (
    SELECT DISTINCT ON (node_id)
        node_id,
        count(*) OVER (PARTITION BY node_id) AS active_blockers,
        opened_at AS oldest_blocker_at,
        id AS oldest_blocker_id
    FROM organisation.blockers
    WHERE opened_at <= :now AND (closed_at IS NULL OR closed_at > :now)
    ORDER BY node_id, opened_at, id
),
tasks AS (
    SELECT node_id, count(*) AS open_tasks, count(*) FILTER (WHERE due_at < :now) AS overdue_tasks
    FROM organisation.tasks
    WHERE created_at <= :now AND (closed_at IS NULL OR closed_at > :now)
    GROUP BY node_id
)
SELECT
    node_id,
    employees,
    people_today,
    checkins_today,
    active_blockers,
    oldest_blocker_at,
    oldest_blocker_id,
    open_tasks,
    overdue_tasks
FROM employees
FULL JOIN checkins USING (node_id)
FULL JOIN active USING (node_id)
FULL JOIN tasks USING (node_id)
