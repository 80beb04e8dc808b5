-- +++
-- roots = "several"
-- orphans = "hang under the nearest living ancestor"
-- languages = ["es", "en"]
-- +++
SELECT id, parent_path AS path, name, 'department' AS kind, active IS NOT TRUE AS deleted FROM hr_department
