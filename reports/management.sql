-- +++
-- name = "management"
-- title = "Gerencia"
-- scope = "node_id"
-- tree = "organisation"
-- board = "management"
-- every = "1m"
-- sources = ["organisation.nodes", "organisation.employees", "organisation.checkins", "organisation.blockers", "organisation.tasks"]
-- # Time itself changes the numbers at midnight, in the microsecond after a due date, and at each future instant in a
-- # row, such as an employee's first or last day. The query reads all rows anyway, so a column says it.
-- valid_until = "column changes_at"
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
-- [nodes]
-- "organisation.employees" = "node_id"
-- "organisation.checkins" = "node_id"
-- "organisation.blockers" = "node_id"
-- "organisation.tasks" = "node_id"
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
--
-- [titles.es]
-- report = "Gerencia"
-- employees = "Personas"
-- people_today = "Personas con check-in hoy"
-- checkins_today = "Check-ins de hoy"
-- active_blockers = "Bloqueos activos"
-- oldest_blocker_at = "Bloqueo más antiguo: desde"
-- oldest_blocker_id = "Bloqueo más antiguo: número"
-- open_tasks = "Tareas abiertas"
-- overdue_tasks = "Tareas vencidas"
--
-- [titles.en]
-- report = "Management"
-- employees = "Employees"
-- people_today = "People checked in today"
-- checkins_today = "Check-ins today"
-- active_blockers = "Active blockers"
-- oldest_blocker_at = "Oldest blocker: since"
-- oldest_blocker_id = "Oldest blocker: number"
-- open_tasks = "Open tasks"
-- overdue_tasks = "Overdue tasks"
-- +++
--
-- The dashboard of the management: per node, and by roll-up for its whole subtree, the number of employees, those who
-- checked in today, active blockers, and open and overdue tasks.
--
-- Parameters: :nodes, :now, :day_start, :day_end. Returns: one row per node that has anything, direct rows only.
-- Invariant: every number is a fact of the instant :now, so that an earlier instant can be computed too. The first
-- instant at which time changes the node's numbers is no later than changes_at; a node that has only future rows has a
-- row for that. Closed items never count again, so only the others are queried, which have partial indexes.

WITH employees AS (
    SELECT
        node_id,
        count(*) FILTER (WHERE joined_at <= :now) AS employees,
        min(CASE WHEN joined_at > :now THEN joined_at ELSE left_at END) AS changes_at
    FROM organisation.employees
    WHERE node_id = ANY(:nodes) AND (left_at IS NULL OR left_at > :now)
    GROUP BY node_id
),
checkins AS (
    SELECT
        node_id,
        count(*) FILTER (WHERE at <= :now AND at < :day_end) AS checkins_today,
        array_agg(employee_id) FILTER (WHERE at <= :now AND at < :day_end) AS people_today,
        min(at) FILTER (WHERE at > :now) AS changes_at
    FROM organisation.checkins
    WHERE node_id = ANY(:nodes) AND at >= :day_start
    GROUP BY node_id
),
active AS (
    SELECT
        node_id,
        count(*) FILTER (WHERE opened_at <= :now) AS active_blockers,
        min(opened_at) FILTER (WHERE opened_at <= :now) AS oldest_blocker_at,
        (array_agg(id ORDER BY opened_at, id) FILTER (WHERE opened_at <= :now))[1] AS oldest_blocker_id,
        min(CASE WHEN opened_at > :now THEN opened_at ELSE closed_at END) AS changes_at
    FROM organisation.blockers
    WHERE node_id = ANY(:nodes) AND (closed_at IS NULL OR closed_at > :now)
    GROUP BY node_id
),
tasks AS (
    SELECT
        node_id,
        count(*) FILTER (WHERE created_at <= :now) AS open_tasks,
        count(*) FILTER (WHERE created_at <= :now AND due_at < :now) AS overdue_tasks,
        min(CASE
            WHEN created_at > :now THEN created_at
            WHEN due_at >= :now THEN least(due_at + interval '1 microsecond', closed_at)
            ELSE closed_at
        END) AS changes_at
    FROM organisation.tasks
    WHERE node_id = ANY(:nodes) AND (closed_at IS NULL OR closed_at > :now)
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
    coalesce(overdue_tasks, 0) AS overdue_tasks,
    least(:day_end, employees.changes_at, checkins.changes_at, active.changes_at, tasks.changes_at) AS changes_at
FROM employees
FULL JOIN checkins USING (node_id)
FULL JOIN active USING (node_id)
FULL JOIN tasks USING (node_id)
