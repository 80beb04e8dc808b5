-- +++
-- name = "workload"
-- title = "Carga de trabajo"
-- board = "management"
-- scope = "node_id"
-- tree = "organisation"
-- every = "1m"
-- sources = ["organisation.nodes", "organisation.tasks"]
-- # Ages are whole local days, so they change at midnight; a task is overdue in the microsecond after its due date.
-- # Closed tasks never count again, so only the others are queried, which have partial indexes.
-- valid_until = "column changes_at"
--
-- [freshness]
-- soft = "90s"
-- hard = "5m"
-- debounce = "2s"
-- max_wait = "5s"
--
-- [nodes]
-- "organisation.tasks" = "node_id"
--
-- [rollup]
-- tasks = "sum"
-- open = "sums"
-- in_progress = "sums"
-- overdue = "sum"
-- unassigned = "sum"
-- overdue_share = "overdue / tasks"
-- oldest_at = "min"
-- oldest_id = "of oldest_at"
--
-- [titles.es]
-- report = "Carga de trabajo"
-- tasks = "Tareas sin cerrar"
-- open = "Abiertas, por antigüedad"
-- in_progress = "En curso, por antigüedad"
-- overdue = "Vencidas"
-- unassigned = "Sin asignar"
-- overdue_share = "Parte vencida"
-- oldest_at = "Más antigua: desde"
-- oldest_id = "Más antigua: número"
--
-- [titles.en]
-- report = "Workload"
-- tasks = "Unfinished tasks"
-- open = "Open, by age"
-- in_progress = "In progress, by age"
-- overdue = "Overdue"
-- unassigned = "Unassigned"
-- overdue_share = "Share overdue"
-- oldest_at = "Oldest: since"
-- oldest_id = "Oldest: number"
-- +++
--
-- The tasks that are not closed: by state, and within it by age in whole local days since their creation.
-- Ages: week (up to 7 days), month (up to 30), quarter (up to 90), older.
--
-- A task's age follows from the instants at which the local dates 7, 30 and 90 days ago began: the zone is evaluated
-- for three dates, not for every task. A date begins at its midnight or right after the last microsecond of the one
-- before, whichever is earlier; see activity.sql for why.
--
-- Parameters: :nodes, :now, :day_start, :day_end, :zone. Returns: one row per node with such or future tasks, direct
-- rows only. Future tasks have no age and are not counted; the first instant at which time changes the node's numbers
-- is no later than changes_at.

WITH begins AS MATERIALIZED (
    SELECT
        max(begins) FILTER (WHERE back = 7) AS week,
        max(begins) FILTER (WHERE back = 30) AS month,
        max(begins) FILTER (WHERE back = 90) AS quarter
    FROM (
        SELECT
            back,
            least(
                day AT TIME ZONE :zone,
                (day - interval '1 microsecond') AT TIME ZONE :zone + interval '1 microsecond'
            ) AS begins
        FROM (
            SELECT back, (:day_start::timestamptz AT TIME ZONE :zone)::date - back + time '00:00' AS day
            FROM unnest(ARRAY[7, 30, 90]) AS back
        ) AS dates
    ) AS instants
),
waiting AS (
    SELECT
        node_id,
        id,
        status,
        created_at,
        coalesce(due_at < :now, false) AS is_overdue,
        assignee_id IS NULL AS is_unassigned,
        CASE
            WHEN created_at > :now THEN NULL
            WHEN created_at >= week THEN 'week'
            WHEN created_at >= month THEN 'month'
            WHEN created_at >= quarter THEN 'quarter'
            ELSE 'older'
        END AS age,
        CASE
            WHEN created_at > :now THEN created_at
            WHEN due_at >= :now THEN least(due_at + interval '1 microsecond', closed_at)
            ELSE closed_at
        END AS changes_at
    FROM organisation.tasks
    CROSS JOIN begins
    WHERE node_id = ANY(:nodes) AND (closed_at IS NULL OR closed_at > :now)
),
ages AS (
    SELECT
        node_id,
        age,
        count(*) AS tasks,
        count(*) FILTER (WHERE status = 'open') AS open,
        count(*) FILTER (WHERE status <> 'open') AS in_progress,
        count(*) FILTER (WHERE is_overdue) AS overdue,
        count(*) FILTER (WHERE is_unassigned) AS unassigned,
        min(changes_at) AS changes_at
    FROM waiting
    GROUP BY node_id, age
),
oldest AS (
    SELECT DISTINCT ON (node_id) node_id, created_at AS oldest_at, id AS oldest_id
    FROM waiting
    WHERE age IS NOT NULL
    ORDER BY node_id, created_at, id
)
SELECT
    node_id,
    coalesce(sum(tasks) FILTER (WHERE age IS NOT NULL), 0)::bigint AS tasks,
    json_object_agg(age, open) FILTER (WHERE age IS NOT NULL AND open > 0) AS open,
    json_object_agg(age, in_progress) FILTER (WHERE age IS NOT NULL AND in_progress > 0) AS in_progress,
    coalesce(sum(overdue) FILTER (WHERE age IS NOT NULL), 0)::bigint AS overdue,
    coalesce(sum(unassigned) FILTER (WHERE age IS NOT NULL), 0)::bigint AS unassigned,
    oldest.oldest_at,
    oldest.oldest_id,
    least(:day_end, min(changes_at)) AS changes_at
FROM ages
LEFT JOIN oldest USING (node_id)
GROUP BY node_id, oldest.oldest_at, oldest.oldest_id
