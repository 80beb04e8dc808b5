-- Create the tenant's trigger on all tables through which rows of its sources can be written, and on no other.
--
-- A statement trigger fires for the table that the statement names, so partitions, children and their parents each
-- have one. Views and foreign tables cannot have one; "ops reports check" explains the consequence.
-- ALWAYS: a session that loads data with session_replication_role = 'replica' leaves its mark as well.

DO $block$
DECLARE
    one record;
BEGIN
    FOR one IN
        SELECT tgrelid::regclass AS place FROM pg_trigger
        WHERE tgname = %TRIGGER% AND tgfoid = 'momentus.mark_dirty'::regproc AND NOT tgisinternal
    LOOP
        EXECUTE format('DROP TRIGGER %I ON %s', %TRIGGER%, one.place);
    END LOOP;
    FOR one IN
        WITH RECURSIVE wanted (source, board) AS (VALUES %SOURCES%),
        below (board, oid) AS (
            SELECT board, format('%I.%I', split_part(source, '.', 1), substr(source, strpos(source, '.') + 1))::regclass::oid
            FROM wanted
            UNION
            SELECT below.board, inhrelid FROM below JOIN pg_inherits ON inhparent = below.oid
        ),
        member (board, oid) AS (
            SELECT board, oid FROM below
            UNION
            SELECT member.board, inhparent FROM member JOIN pg_inherits ON inhrelid = member.oid
        )
        SELECT
            member.oid::regclass AS place,
            string_agg(quote_literal(member.board), ', ' ORDER BY member.board) AS boards
        FROM member JOIN pg_class USING (oid)
        WHERE pg_class.relkind IN ('r', 'p') AND pg_class.relpersistence <> 't'
        GROUP BY member.oid
        ORDER BY member.oid
    LOOP
        EXECUTE format(
            'CREATE TRIGGER %I AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s '
            'FOR EACH STATEMENT EXECUTE FUNCTION momentus.mark_dirty(%s)', %TRIGGER%, one.place, one.boards
        );
        EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER %I', one.place, %TRIGGER%);
    END LOOP;
END
$block$;
