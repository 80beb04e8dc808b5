-- +++
-- roots = "several"
-- orphans = "leave out"
-- +++
SELECT id, NULL AS parent_id, name, 'workspace' AS kind, deleted_at IS NOT NULL AS deleted FROM plan.workspaces
UNION ALL
SELECT id, workspace_id, name, 'project', coalesce(archived_at, deleted_at) IS NOT NULL FROM plan.projects
UNION ALL
SELECT id, project_id, name, 'module', deleted_at IS NOT NULL FROM plan.modules
