-- +++
-- name = "management"
-- title = "Gerencia"
-- scope = "node_id"
-- tree = "organisation"
-- board = "management"
-- every = "1m"
-- sources = ["organisation.nodes", "organisation.employees", "organisation.checkins", "organisation.blockers", "organisation.tasks"]
-- # Time itself changes the numbers at midnight, in the microsecond after a due date, and when an instant in a row that
-- # is still to come is reached: somebody joins or leaves on Monday.
-- # What is closed by now never counts again: only the rest is asked, which indexes hold apart.
-- valid_until = """
-- SELECT least(
--     :day_end,
--     (SELECT least(
--          min(due_at) FILTER (WHERE due_at >= :now) + interval '1 microsecond',
--          min(created_at) FILTER (WHERE created_at > :now))
--      FROM organisation.tasks WHERE closed_at IS NULL OR closed_at > :now),
--     (SELECT min(closed_at) FROM organisation.tasks WHERE closed_at > :now),
--     (SELECT min(opened_at) FROM organisation.blockers WHERE opened_at > :now AND closed_at IS NULL),
--     (SELECT min(opened_at) FROM organisation.blockers WHERE opened_at > :now AND closed_at > :now),
--     (SELECT min(closed_at) FROM organisation.blockers WHERE closed_at > :now),
--     (SELECT min(joined_at) FROM organisation.employees WHERE joined_at > :now),
--     (SELECT min(left_at) FROM organisation.employees WHERE left_at > :now),
--     (SELECT min(at) FROM organisation.checkins WHERE at > :now)
-- )
-- """
--
-- [freshness]
-- soft = "90s"
-- hard = "5m"
-- debounce = "2s"
-- max_wait = "5s"
--
-- [history]
-- close = "daily"
-- keep = "35d"
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
    coalesce(employees, 0) AS employees,
    people_today,
    coalesce(checkins_today, 0) AS checkins_today,
    coalesce(active_blockers, 0) AS active_blockers,
    oldest_blocker_at,
    oldest_blocker_id,
    coalesce(open_tasks, 0) AS open_tasks,
    coalesce(overdue_tasks, 0) AS overdue_tasks
FROM employees
FULL JOIN checkins USING (node_id)
FULL JOIN active USING (node_id)
FULL JOIN tasks USING (node_id)
