-- +++
-- name = "people"
-- title = "People"
-- board = "delivery"
-- scope = "node_id"
-- tree = "work"
-- every = "1m"
-- sources = ["plan.workspaces", "plan.projects", "plan.modules", "plan.issues", "plan.assignees"]
--
-- [freshness]
-- soft = "90s"
-- hard = "5m"
-- debounce = "1s"
--
-- [rollup]
-- people = "distinct"
-- unassigned = "sum"
-- last_target = "max"
-- next = "top 3 by due, id asc"
-- +++
WITH issue AS (
    SELECT coalesce(module_id, project_id) AS node_id, issues.id, user_id, target_date
    FROM plan.issues AS issues
    LEFT JOIN plan.assignees ON issue_id = issues.id AND assignees.deleted_at IS NULL
    WHERE issues.deleted_at IS NULL AND completed_at IS NULL
)
SELECT
    node_id,
    array_agg(DISTINCT user_id) FILTER (WHERE user_id IS NOT NULL) AS people,
    count(*) FILTER (WHERE user_id IS NULL) AS unassigned,
    max(target_date) AS last_target,
    jsonb_agg(DISTINCT jsonb_build_object('id', id, 'due', target_date)) FILTER (WHERE target_date IS NOT NULL)
        AS next
FROM issue
GROUP BY node_id
