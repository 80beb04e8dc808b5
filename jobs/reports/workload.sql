-- +++
-- name = "workload"
-- title = "Carga de trabajo"
-- board = "management"
-- scope = "node_id"
-- tree = "organisation"
-- every = "1m"
-- sources = ["organisation.nodes", "organisation.tasks"]
-- # Ages are whole local days, so they change at midnight; a task is overdue in the microsecond after its due date.
-- valid_until = """
-- SELECT least(
--     :day_end,
--     (SELECT min(due_at) + interval '1 microsecond' FROM organisation.tasks
--      WHERE due_at >= :now AND (closed_at IS NULL OR closed_at > :now)),
--     (SELECT min(created_at) FROM organisation.tasks WHERE created_at > :now),
--     (SELECT min(closed_at) FROM organisation.tasks WHERE closed_at > :now)
-- )
-- """
--
-- [freshness]
-- soft = "90s"
-- hard = "5m"
-- debounce = "1s"
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
-- +++
--
-- The tasks that are not closed: by state, and in it by age in whole local days since they were written down.
-- Ages: week (up to 7 days), month (up to 30), quarter (up to 90), older.
--
-- Parameters: :now, :day_start, :zone. Returns: one row per node with such tasks, direct rows only.

WITH waiting AS (
    SELECT
        node_id,
        id,
        status,
        created_at,
        coalesce(due_at < :now, false) AS is_overdue,
        assignee_id IS NULL AS is_unassigned,
        CASE
            WHEN days <= 7 THEN 'week'
            WHEN days <= 30 THEN 'month'
            WHEN days <= 90 THEN 'quarter'
            ELSE 'older'
        END AS age
    FROM organisation.tasks
    CROSS JOIN LATERAL (
        SELECT (:day_start::timestamptz AT TIME ZONE :zone)::date - (created_at AT TIME ZONE :zone)::date AS days
    ) AS aged
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
    jsonb_object_agg(age, open) FILTER (WHERE open > 0) AS open,
    jsonb_object_agg(age, in_progress) FILTER (WHERE in_progress > 0) AS in_progress,
    sum(overdue)::bigint AS overdue,
    sum(unassigned)::bigint AS unassigned,
    oldest.oldest_at,
    oldest.oldest_id
FROM ages
JOIN oldest USING (node_id)
GROUP BY node_id, oldest.oldest_at, oldest.oldest_id
