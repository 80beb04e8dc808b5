-- State of every source in the catalogue: whether its changes leave marks, and if not, why.
--
-- Parameters: $1 sources ("schema.table"), $2 the board's key of each, $3 the tenant's trigger.
-- Returns one row for each pair, ordered by them:
--   source, board
--   faults  "kind name" of each table that leaves no mark; empty: each change of the source leaves one
--   digest  changes with the source's catalogue rows: statements like ATTACH, DROP, TRUNCATE or ALTER TABLE may change
--           rows without firing a trigger
--
-- A statement trigger fires for the table that the statement names. So a source includes all tables through which its
-- rows can be written: its partitions and children, and their parents. Row-level security is the named table's only.
-- xmin is the transaction that wrote a catalogue row: unlike the row's other contents, it never repeats. Columns that
-- swap their names change pg_attribute alone. Rows of temporary children are visible to their session only.

WITH RECURSIVE wanted (source, board) AS (
    SELECT pair.source, pair.board FROM unnest($1::text[], $2::text[]) AS pair (source, board)
),
named AS (
    SELECT DISTINCT wanted.source, class.oid
    FROM wanted
    JOIN pg_namespace AS namespace ON namespace.nspname = split_part(wanted.source, '.', 1)
    JOIN pg_class AS class ON class.relnamespace = namespace.oid
        AND class.relname = substr(wanted.source, strpos(wanted.source, '.') + 1)
        AND class.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
),
below (source, oid) AS (
    SELECT source, oid FROM named
    UNION
    SELECT below.source, link.inhrelid FROM below JOIN pg_inherits AS link ON link.inhparent = below.oid
),
member (source, oid) AS (
    SELECT source, oid FROM below
    UNION
    SELECT member.source, link.inhparent FROM member JOIN pg_inherits AS link ON link.inhrelid = member.oid
),
part AS (
    SELECT
        member.source,
        class.oid,
        format('%s.%s', namespace.nspname, class.relname) AS name,
        CASE
            WHEN class.relkind = 'S' THEN 'sequence'
            WHEN class.relkind = 'v' AND class.oid < 16384 THEN 'system'
            WHEN class.relkind = 'v' THEN 'view'
            WHEN class.relkind = 'm' THEN 'materialised'
            WHEN class.relkind = 'f' THEN 'foreign'
            WHEN EXISTS (SELECT FROM pg_subscription_rel WHERE srrelid = class.oid) THEN 'subscribed'
            WHEN named.oid IS NOT NULL AND row_security_active(class.oid) AND NOT EXISTS (
                SELECT FROM pg_policy
                WHERE polrelid = class.oid AND polpermissive AND polcmd IN ('r', '*')
                    AND pg_get_expr(polqual, polrelid) = 'true'
                    AND EXISTS (
                        SELECT FROM unnest(polroles) AS of (role)
                        WHERE of.role = 0 OR pg_has_role(of.role, 'usage')
                    )
            ) THEN 'hidden'
            WHEN named.oid IS NOT NULL AND row_security_active(class.oid) AND EXISTS (
                SELECT FROM pg_policy
                WHERE polrelid = class.oid AND NOT polpermissive AND polcmd IN ('r', '*')
                    AND EXISTS (
                        SELECT FROM unnest(polroles) AS of (role)
                        WHERE of.role = 0 OR pg_has_role(of.role, 'usage')
                    )
            ) THEN 'hidden'
        END AS fault,
        concat_ws(
            ' ', class.oid, class.xmin, class.relfilenode,
            (SELECT sum(xmin::text::bigint) FROM pg_attribute WHERE attrelid = class.oid AND attnum > 0),
            (SELECT string_agg(concat_ws(' ', inhparent, xmin), ' ' ORDER BY inhparent)
                FROM pg_inherits WHERE inhrelid = class.oid),
            (SELECT string_agg(concat_ws(' ', oid, xmin), ' ' ORDER BY oid)
                FROM pg_policy WHERE polrelid = class.oid)
        ) AS written
    FROM member
    JOIN pg_class AS class ON class.oid = member.oid AND class.relpersistence <> 't'
    JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
    LEFT JOIN named ON named.source = member.source AND named.oid = member.oid
),
trigger AS (
    SELECT
        tgrelid AS oid,
        concat_ws(' ', pg_trigger.oid, pg_trigger.xmin) AS written,
        string_to_array(trim(TRAILING E'\\000' FROM encode(tgargs, 'escape')), E'\\000') AS boards,
        tgenabled = 'A' AND tgtype & 61 = 60 AND tgqual IS NULL AND tgattr = '' AS works
    FROM pg_trigger
    JOIN pg_proc AS function ON function.oid = tgfoid AND function.proname = 'mark_dirty'
    JOIN pg_namespace AS home ON home.oid = function.pronamespace AND home.nspname = 'momentus'
    WHERE tgname = $3 AND NOT tgisinternal
),
judged AS (
    SELECT
        wanted.source,
        wanted.board,
        part.oid,
        CASE
            WHEN part.oid IS NULL THEN 'absent ' || wanted.source
            WHEN part.fault IS NOT NULL THEN concat_ws(' ', part.fault, part.name)
            WHEN trigger.oid IS NULL THEN 'unmarked ' || part.name
            WHEN NOT (trigger.works AND wanted.board = ANY (trigger.boards)) THEN 'former ' || part.name
        END AS fault,
        concat_ws(' ', part.written, trigger.written) AS written
    FROM wanted
    LEFT JOIN part ON part.source = wanted.source
    LEFT JOIN trigger ON trigger.oid = part.oid
)
SELECT
    source,
    board,
    coalesce(array_agg(fault ORDER BY fault) FILTER (WHERE fault IS NOT NULL), '{}') AS faults,
    md5(string_agg(concat_ws(' ', written, fault), ',' ORDER BY oid)) AS digest
FROM judged
GROUP BY source, board
ORDER BY source, board
