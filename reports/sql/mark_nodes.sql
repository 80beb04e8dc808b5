-- Function that marks the boards of a table with the nodes whose rows a statement wrote, for one column.
--
-- Words between per cent signs: FUNCTION is its quoted name, "mark_nodes:" and the column; COLUMN the quoted column;
-- MOST the largest number of rows, old and new, whose nodes are noted.
-- Arguments of its triggers: board's key, source, column; again for each board. A mark has no nodes, so every node may
-- have changed, if the column is '', if the table lacks it, or if there are more rows than MOST. A statement that
-- touched no row leaves no mark; rows without a node are noted as '{}', since other reports of the board count them.
--
-- The query is static, because its plan is kept: EXECUTE costs each statement ten times as much. So it must not fail
-- if the column is renamed or dropped: the name then means the column of "missing", whose value no node has.
-- concat() writes a char(n) as the driver shows it; a cast to text would trim it. Texts that are too long for an id are
-- cut, so that a mark stays small.

CREATE OR REPLACE FUNCTION momentus.%FUNCTION%() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
    found_nodes text[];
BEGIN
    IF TG_OP = 'INSERT' THEN
        found_nodes := ARRAY(
            SELECT CASE WHEN touched.node IS NOT NULL THEN left(concat(touched.node), 65) END
            FROM (SELECT E'\x01'::text AS %COLUMN%) AS missing
            CROSS JOIN LATERAL (SELECT %COLUMN% AS node FROM new_rows LIMIT %MOST% + 1) AS touched
        );
    ELSIF TG_OP = 'DELETE' THEN
        found_nodes := ARRAY(
            SELECT CASE WHEN touched.node IS NOT NULL THEN left(concat(touched.node), 65) END
            FROM (SELECT E'\x01'::text AS %COLUMN%) AS missing
            CROSS JOIN LATERAL (SELECT %COLUMN% AS node FROM old_rows LIMIT %MOST% + 1) AS touched
        );
    ELSE
        found_nodes := ARRAY(
            SELECT CASE WHEN touched.node IS NOT NULL THEN left(concat(touched.node), 65) END
            FROM (SELECT E'\x01'::text AS %COLUMN%) AS missing
            CROSS JOIN LATERAL (
                SELECT %COLUMN% AS node FROM old_rows UNION ALL SELECT %COLUMN% FROM new_rows LIMIT %MOST% + 1
            ) AS touched
        );
    END IF;
    IF cardinality(found_nodes) = 0 THEN
        RETURN NULL;
    ELSIF cardinality(found_nodes) > %MOST% OR found_nodes[1] = E'\x01' THEN
        found_nodes := NULL;
    ELSIF cardinality(found_nodes) = 1 OR cardinality(found_nodes) = 2 AND found_nodes[1] = found_nodes[2] THEN
        found_nodes := array_remove(found_nodes[1:1], NULL);
    ELSE
        found_nodes := ARRAY(
            SELECT DISTINCT one.node COLLATE "C" FROM unnest(found_nodes) AS one (node) WHERE one.node IS NOT NULL
        );
    END IF;
    FOR i IN 0 .. TG_NARGS - 1 BY 3 LOOP
        INSERT INTO momentus.dirty (board, source, nodes)
        VALUES (TG_ARGV[i], TG_ARGV[i + 1], CASE WHEN TG_ARGV[i + 2] <> '' THEN found_nodes END);
    END LOOP;
    RETURN NULL;
END
$function$;

REVOKE ALL ON FUNCTION momentus.%FUNCTION%() FROM PUBLIC;
