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
-- valid_until = """
-- SELECT least(
--     :day_end,
--     (SELECT least(
--          min(due_at) FILTER (WHERE due_at >= :now) + interval '1 microsecond',
--          min(created_at) FILTER (WHERE created_at > :now))
--      FROM organisation.tasks WHERE closed_at IS NULL OR closed_at > :now),
--     (SELECT min(closed_at) FROM organisation.tasks WHERE closed_at > :now)
-- )
-- """
--
-- [freshness]
-- soft = "90s"
-- hard = "5m"
-- debounce = "2s"
-- max_wait = "5s"
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
-- Parameters: :now, :day_start, :zone. Returns: one row per node with such tasks, direct rows only.

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
            WHEN created_at >= week THEN 'week'
            WHEN created_at >= month THEN 'month'
            WHEN created_at >= quarter THEN 'quarter'
            ELSE 'older'
        END AS age
    FROM organisation.tasks
    CROSS JOIN begins
    WHERE created_at <= :now AND (closed_at IS NULL OR closed_at > :now)
),
ages AS (
    SELECT
        node_id,
        age,
        count(*) AS tasks,
        count(*) FILTER (WHERE status = 'open') AS open,
        count(*) FILTER (WHERE status <> 'open') AS in_progress,
        count(*) FILTER (WHERE is_overdue) AS overdue,
        count(*) FILTER (WHERE is_unassigned) AS unassigned
    FROM waiting
    GROUP BY node_id, age
),
oldest AS (
    SELECT DISTINCT ON (node_id) node_id, created_at AS oldest_at, id AS oldest_id
    FROM waiting
    ORDER BY node_id, created_at, id
)
SELECT
    node_id,
    sum(tasks)::bigint AS tasks,
    json_object_agg(age, open) FILTER (WHERE open > 0) AS open,
    json_object_agg(age, in_progress) FILTER (WHERE in_progress > 0) AS in_progress,
    sum(overdue)::bigint AS overdue,
    sum(unassigned)::bigint AS unassigned,
    oldest.oldest_at,
    oldest.oldest_id
FROM ages
JOIN oldest USING (node_id)
GROUP BY node_id, oldest.oldest_at, oldest.oldest_id
