-- Which triggers of ours there are and work, and whether this user may take up their marks.
--
-- Parameters: none. Returns: source (schema.table), name, boards (from the trigger's arguments), enabled, usable.
-- "usable" is false for a user without the rights of a refresh. No row: nothing is installed.

SELECT
    format('%s.%s', namespace.nspname, class.relname) AS source,
    trigger.tgname AS name,
    string_to_array(trim(TRAILING E'\\000' FROM encode(trigger.tgargs, 'escape')), E'\\000') AS boards,
    trigger.tgenabled IN ('O', 'A') AND trigger.tgtype & 60 = 60 AS enabled,
    has_schema_privilege('momentus', 'usage')
    AND has_table_privilege('momentus.dirty', 'select')
    AND has_table_privilege('momentus.dirty', 'delete')
    AND has_table_privilege('momentus.boards', 'select')
    AND has_table_privilege('momentus.boards', 'insert')
    AND has_table_privilege('momentus.boards', 'update')
    AND NOT pg_is_in_recovery() AS usable
FROM pg_trigger AS trigger
JOIN pg_class AS class ON class.oid = trigger.tgrelid
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
JOIN pg_proc AS function ON function.oid = trigger.tgfoid
JOIN pg_namespace AS home ON home.oid = function.pronamespace
WHERE NOT trigger.tgisinternal AND home.nspname = 'momentus' AND function.proname = 'mark_dirty'
ORDER BY 1, 2
