-- Installed triggers that leave marks.
--
-- Parameters: none. Returns: source (schema.table), name. No row: nothing is installed.

SELECT
    format('%s.%s', namespace.nspname, class.relname) AS source,
    trigger.tgname AS name
FROM pg_trigger AS trigger
JOIN pg_class AS class ON class.oid = trigger.tgrelid
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
JOIN pg_proc AS function ON function.oid = trigger.tgfoid
JOIN pg_namespace AS home ON home.oid = function.pronamespace
WHERE NOT trigger.tgisinternal AND home.nspname = 'momentus' AND function.proname = 'mark_dirty'
ORDER BY 1, 2
