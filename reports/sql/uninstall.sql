-- Remove what install.sql made, unless another tenant's triggers still use it.
--
-- Parameters: none; the tenant's triggers were dropped before this script. Returns nothing.

DO $block$
BEGIN
    IF to_regprocedure('momentus.mark_dirty()') IS NULL THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgfoid = to_regprocedure('momentus.mark_dirty()')) THEN
        DROP FUNCTION momentus.mark_dirty();
        DROP TABLE momentus.dirty, momentus.boards;
        DROP SCHEMA momentus;
    END IF;
END
$block$;
