-- What the documents of both reports must say, node by node: each subtree is walked, as the application would.
--
-- Parameters: $1 the instant. Returns id, parent, name, and per report the subtree's and the node's own measures.

WITH RECURSIVE instant AS (
    SELECT $1::timestamptz AS now, date_trunc('day', $1::timestamptz AT TIME ZONE 'Europe/Madrid') AS today
), living (id, parent, name) AS (
    SELECT id, NULL::uuid, name::text FROM plan.workspaces WHERE deleted_at IS NULL
    UNION ALL
    SELECT one.id, living.id, one.name::text
    FROM living JOIN (
        SELECT id, workspace_id AS above, name FROM plan.projects WHERE deleted_at IS NULL AND archived_at IS NULL
        UNION ALL
        SELECT id, project_id, name FROM plan.modules WHERE deleted_at IS NULL
    ) AS one ON one.above = living.id
), under (id, member) AS (
    SELECT id, id FROM living
    UNION ALL
    SELECT under.id, living.id FROM under JOIN living ON living.parent = under.member
), part (id, own, member) AS (
    SELECT id, false, member FROM under
    UNION ALL
    SELECT id, true, id FROM living
), issue AS (
    SELECT part.id, own, one.id AS issue, one.completed_at, one.created_at, one.target_date, priority, estimate,
        completed_at IS NULL OR completed_at > now AS open,
        created_at <= now AS there, today::date AS today, today AT TIME ZONE 'Europe/Madrid' AS day_start
    FROM instant CROSS JOIN part
    JOIN plan.issues AS one ON deleted_at IS NULL
        AND (module_id = member OR module_id IS NULL AND project_id = member)
), progress_of AS (
    SELECT id, own, jsonb_build_object(
        'issues', count(*),
        'open', count(*) FILTER (WHERE open),
        'done', count(*) FILTER (WHERE NOT open),
        'done_today', count(*) FILTER (WHERE NOT open AND completed_at >= day_start),
        'overdue', coalesce(bool_or(target_date < today) FILTER (WHERE open), false),
        'effort', coalesce(sum(estimate) FILTER (WHERE open), 0),
        'by_priority', coalesce((
            SELECT jsonb_object_agg(priority, n) FROM (
                SELECT priority, count(*) AS n FROM issue AS again
                WHERE again.id = issue.id AND again.own = issue.own AND again.open AND again.there GROUP BY priority
            ) AS counted
        ), '{}'),
        'oldest_at', min(created_at) FILTER (WHERE open),
        'oldest', (array_agg(issue ORDER BY created_at, issue) FILTER (WHERE open))[1]
    ) AS said FROM issue WHERE there GROUP BY id, own
), assigned AS (
    SELECT issue.*, user_id
    FROM issue LEFT JOIN plan.assignees ON issue_id = issue AND deleted_at IS NULL
    WHERE completed_at IS NULL
), people_of AS (
    SELECT id, own, jsonb_build_object(
        'people', count(DISTINCT user_id),
        'unassigned', count(DISTINCT issue) FILTER (WHERE user_id IS NULL),
        'last_target', max(target_date),
        'next', coalesce((
            SELECT jsonb_agg(jsonb_build_object('id', issue, 'due', target_date) ORDER BY target_date, issue)
            FROM (
                SELECT DISTINCT issue, target_date FROM assigned AS again
                WHERE again.id = assigned.id AND again.own = assigned.own AND target_date IS NOT NULL
                ORDER BY target_date, issue LIMIT 3
            ) AS first
        ), '[]')
    ) AS said FROM assigned GROUP BY id, own
)
SELECT
    living.id::text AS id,
    living.parent::text AS parent,
    name,
    jsonb_build_object(
        'progress', jsonb_build_object('total', a.said, 'own', b.said),
        'people', jsonb_build_object('total', c.said, 'own', d.said)
    ) AS reports
FROM living
LEFT JOIN progress_of AS a ON a.id = living.id AND NOT a.own
LEFT JOIN progress_of AS b ON b.id = living.id AND b.own
LEFT JOIN people_of AS c ON c.id = living.id AND NOT c.own
LEFT JOIN people_of AS d ON d.id = living.id AND d.own
ORDER BY living.id
