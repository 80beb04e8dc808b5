-- Remove the tenant's marks, and what install.sql made unless another tenant's triggers still use it.
--
-- Words between per cent signs: TENANT is the tenant, which has no triggers now. Returns nothing.

DO $block$
DECLARE
    one record;
BEGIN
    IF to_regnamespace('momentus') IS NULL OR to_regclass('momentus.dirty') IS NULL THEN
        RETURN;
    END IF;
    DELETE FROM momentus.boards WHERE starts_with(board, %TENANT% || ':');
    DELETE FROM momentus.dirty WHERE starts_with(board, %TENANT% || ':');
    FOR one IN
        SELECT function.oid::regprocedure AS signature
        FROM pg_proc AS function
        WHERE function.pronamespace = 'momentus'::regnamespace AND starts_with(function.proname, 'mark_nodes:')
            AND NOT EXISTS (SELECT FROM pg_trigger WHERE pg_trigger.tgfoid = function.oid)
    LOOP
        EXECUTE format('DROP FUNCTION %s', one.signature);
    END LOOP;
    IF NOT EXISTS (
        SELECT FROM pg_trigger JOIN pg_proc ON pg_proc.oid = pg_trigger.tgfoid
        WHERE pg_proc.pronamespace = 'momentus'::regnamespace
    ) THEN
        DROP FUNCTION momentus.mark_dirty();
        DROP TABLE momentus.dirty, momentus.boards;
        DROP SCHEMA momentus;
    END IF;
END
$block$;
