-- Create the tenant's triggers on all tables through which rows of its sources can be written. It has none now.
--
-- Words between per cent signs: TRIGGER is what the names of its triggers begin with; SOURCES triples of source, board's
-- key and column with the node for which a row counts ('' for none); NOTABLE the text of notable.sql.
--
-- A statement trigger fires for the table that the statement names, so partitions, children and their parents each
-- have one. Views and foreign tables cannot have one; "ops reports check" explains the consequence.
-- ALWAYS: a session that loads data with session_replication_role = 'replica' leaves its mark as well.
--
-- A table without such a column has one trigger. Otherwise each event has its own, which is handed the rows: Postgres
-- hands a trigger of several events none. Nodes are noted only if each has one text in the column (notable.sql).
-- Rows of foreign tables cannot be handed over, and statements that reach one would fail. Nor are rows that a MERGE
-- moves to another partition (seen in 15 and 18): neither as updated, nor as deleted. So an UPDATE of a partitioned
-- table, whose triggers a MERGE fires, leaves a mark without nodes.

DO $block$
DECLARE
    one record;
    event text;
    handed text[];
    name text;
    place integer;
BEGIN
    FOR one IN
        WITH RECURSIVE wanted (source, board, "column") AS (VALUES %SOURCES%),
        below (source, oid) AS (
            SELECT DISTINCT
                source,
                format('%I.%I', split_part(source, '.', 1), substr(source, strpos(source, '.') + 1))::regclass::oid
            FROM wanted
            UNION
            SELECT below.source, inhrelid FROM below JOIN pg_inherits ON inhparent = below.oid
        ),
        member (source, oid) AS (
            SELECT source, oid FROM below
            UNION
            SELECT member.source, inhparent FROM member JOIN pg_inherits ON inhrelid = member.oid
        ),
        reached (top, oid) AS (
            SELECT oid, oid FROM member
            UNION
            SELECT reached.top, inhrelid FROM reached JOIN pg_inherits ON inhparent = reached.oid
        ),
        collected (oid) AS (
            SELECT reached.top FROM reached JOIN pg_class USING (oid)
            GROUP BY reached.top HAVING bool_and(pg_class.relkind <> 'f')
        ),
        marked AS (
            SELECT DISTINCT
                member.oid, class.relkind = 'p' AS partitioned, wanted.board, wanted.source,
                coalesce(attribute.attname::text, '') AS "column"
            FROM member
            JOIN wanted ON wanted.source = member.source
            JOIN pg_class AS class ON class.oid = member.oid
            LEFT JOIN collected ON collected.oid = member.oid
            LEFT JOIN pg_attribute AS attribute
                ON attribute.attrelid = collected.oid AND attribute.attname = wanted."column" AND %NOTABLE%
            WHERE class.relkind IN ('r', 'p') AND class.relpersistence <> 't'
        )
        SELECT
            marked.oid::regclass AS place,
            bool_or(marked.partitioned) AS partitioned,
            array_agg(DISTINCT marked."column") FILTER (WHERE marked."column" <> '') AS columns,
            string_agg(DISTINCT quote_literal(marked.board), ', ') AS boards,
            array_agg(marked."column" ORDER BY marked.board, marked.source, marked."column") AS of_columns,
            array_agg(
                concat_ws(', ', quote_literal(marked.board), quote_literal(marked.source), quote_literal(marked."column"))
                ORDER BY marked.board, marked.source, marked."column"
            ) AS triples
        FROM marked
        GROUP BY marked.oid
        ORDER BY marked.oid
    LOOP
        handed := CASE
            WHEN one.columns IS NULL THEN '{}'
            WHEN one.partitioned THEN '{insert,delete}'
            ELSE '{insert,update,delete}'
        END;
        name := %TRIGGER% || CASE WHEN one.columns IS NOT NULL THEN '.truncate' ELSE '' END;
        EXECUTE format(
            'CREATE TRIGGER %I AFTER %s ON %s FOR EACH STATEMENT EXECUTE FUNCTION momentus.mark_dirty(%s)',
            name,
            (
                SELECT string_agg(other, ' OR ')
                FROM unnest('{insert,update,delete,truncate}'::text[]) AS other
                WHERE other <> ALL (handed)
            ),
            one.place, one.boards
        );
        EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER %I', one.place, name);
        FOR place IN 1 .. coalesce(cardinality(one.columns), 0) LOOP
            FOREACH event IN ARRAY handed LOOP
                name := %TRIGGER% || '.' || event || CASE WHEN place > 1 THEN '.' || place ELSE '' END;
                EXECUTE format(
                    'CREATE TRIGGER %I AFTER %s ON %s REFERENCING %s '
                    'FOR EACH STATEMENT EXECUTE FUNCTION momentus.%I(%s)',
                    name, upper(event), one.place,
                    CASE event WHEN 'insert' THEN 'NEW TABLE AS new_rows' WHEN 'delete' THEN 'OLD TABLE AS old_rows'
                        ELSE 'OLD TABLE AS old_rows NEW TABLE AS new_rows' END,
                    'mark_nodes:' || one.columns[place],
                    (
                        SELECT string_agg(item.triple, ', ' ORDER BY item.position)
                        FROM unnest(one.triples, one.of_columns) WITH ORDINALITY AS item (triple, of_column, position)
                        WHERE item.of_column = one.columns[place] OR item.of_column = '' AND place = 1
                    )
                );
                EXECUTE format('ALTER TABLE ONLY %s ENABLE ALWAYS TRIGGER %I', one.place, name);
            END LOOP;
        END LOOP;
    END LOOP;
END
$block$;
