-- Drop the tenant's triggers on all tables, those of former builds included.
--
-- Words between per cent signs: TENANT is the tenant. Returns nothing; nothing happens if nothing is installed.

DO $block$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT pg_trigger.tgrelid::regclass AS place, pg_trigger.tgname AS name
        FROM pg_trigger
        JOIN pg_proc AS function ON function.oid = pg_trigger.tgfoid
        JOIN pg_namespace AS home ON home.oid = function.pronamespace AND home.nspname = 'momentus'
        WHERE NOT pg_trigger.tgisinternal
            AND (function.proname = 'mark_dirty' OR starts_with(function.proname, 'mark_nodes:'))
            AND starts_with(encode(pg_trigger.tgargs, 'escape'), %TENANT% || ':')
        ORDER BY pg_trigger.tgrelid
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', one.name, one.place);
    END LOOP;
END
$block$;
