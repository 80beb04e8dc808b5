-- Installed triggers that leave marks.
--
-- Parameters: $1 tenant. Returns: source (schema.table), name. No row: nothing of the tenant is installed.

SELECT
    format('%s.%s', namespace.nspname, class.relname) AS source,
    trigger.tgname AS name
FROM pg_trigger AS trigger
JOIN pg_class AS class ON class.oid = trigger.tgrelid
JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
JOIN pg_proc AS function ON function.oid = trigger.tgfoid
JOIN pg_namespace AS home ON home.oid = function.pronamespace AND home.nspname = 'momentus'
WHERE NOT trigger.tgisinternal AND (function.proname = 'mark_dirty' OR starts_with(function.proname, 'mark_nodes:'))
    AND starts_with(encode(trigger.tgargs, 'escape'), $1 || ':')
ORDER BY 1, 2
