-- +++
-- name = "progress"
-- title = "Progress"
-- board = "delivery"
-- scope = "node_id"
-- tree = "work"
-- every = "1m"
-- timezone = "Europe/Madrid"
-- sources = ["plan.workspaces", "plan.projects", "plan.modules", "plan.issues"]
-- valid_until = "next_midnight"
--
-- [freshness]
-- soft = "90s"
-- hard = "5m"
-- debounce = "1s"
--
-- [rollup]
-- open = "sum"
-- done = "sum"
-- done_today = "sum"
-- done_share = "done / issues"
-- issues = "sum"
-- overdue = "any"
-- effort = "sum"
-- by_priority = "sums"
-- oldest_at = "min"
-- oldest = "of oldest_at"
-- +++
WITH issue AS (
    SELECT
        coalesce(module_id, project_id) AS node_id,
        issues.*,
        completed_at IS NULL OR completed_at > :now AS open,
        (:now::timestamptz AT TIME ZONE :zone)::date AS today
    FROM plan.issues AS issues
    WHERE deleted_at IS NULL AND created_at <= :now
), of_priorities AS (
    SELECT node_id, jsonb_object_agg(priority, n) AS by_priority
    FROM (SELECT node_id, priority, count(*) AS n FROM issue WHERE open GROUP BY node_id, priority) AS counted
    GROUP BY node_id
)
SELECT
    node_id,
    count(*) AS issues,
    count(*) FILTER (WHERE open) AS open,
    count(*) FILTER (WHERE NOT open) AS done,
    count(*) FILTER (WHERE NOT open AND completed_at >= :day_start) AS done_today,
    coalesce(bool_or(target_date < today) FILTER (WHERE open), false) AS overdue,
    coalesce(sum(estimate) FILTER (WHERE open), 0) AS effort,
    coalesce((SELECT by_priority FROM of_priorities AS other WHERE other.node_id = issue.node_id), '{}')
        AS by_priority,
    min(created_at) FILTER (WHERE open) AS oldest_at,
    (array_agg(id ORDER BY created_at, id) FILTER (WHERE open))[1] AS oldest
FROM issue
GROUP BY node_id
