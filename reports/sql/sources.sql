-- Facts of every source in the catalogue, by which reports/source_faults.py decides whether its changes leave marks.
--
-- Parameters: $1 sources ("schema.table"), each once; $2 the tenant's triggers, what their names begin with; $3 and $4
-- sources and columns with the node for which a row counts.
-- Returns a row for each source and each table through which its rows can be written; oid is null if there is none:
--   source
--   oid, name  of the table
--   kind       why its changes leave no mark, whatever triggers it has; null: they may leave one
--   triggers   the tenant's: function, arguments, and events as bits of tgtype, 0 if it does not always fire
--   columns    those of $4 that the table has; notable: those whose nodes can be noted (notable.sql)
--   partitioned  true if a MERGE may move its rows to another partition; no trigger is handed these
--   apart      true if statements on it reach rows of foreign tables, which no trigger is handed
--   written    changes with the source's catalogue rows: statements like ATTACH, DROP, TRUNCATE or ALTER TABLE may
--              change rows without firing a trigger
--
-- A statement trigger fires for the table that the statement names. So a source includes all tables through which its
-- rows can be written: its partitions and children, and their parents. Row-level security is the named table's only.
-- xmin is the transaction that wrote a catalogue row: unlike the row's other contents, it never repeats. Columns that
-- swap their names change pg_attribute alone. Rows of temporary children are visible to their session only.

WITH RECURSIVE named AS (
    SELECT wanted.source, class.oid
    FROM unnest((SELECT $1::text[])) AS wanted (source)
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
        class.relkind = 'p' AS partitioned,
        CASE
            WHEN class.relkind = 'S' THEN 'sequence'
            WHEN class.relkind = 'v' AND class.oid < 16384 THEN 'system'
            WHEN class.relkind = 'v' THEN 'view'
            WHEN class.relkind = 'm' THEN 'materialised'
            WHEN class.relkind = 'f' THEN 'foreign'
            WHEN EXISTS (SELECT FROM pg_subscription_rel WHERE srrelid = class.oid) THEN 'subscribed'
            WHEN class.relrowsecurity AND row_security_active(class.oid)
                AND EXISTS (SELECT FROM named WHERE named.source = member.source AND named.oid = class.oid)
                AND (
                    NOT EXISTS (
                        SELECT FROM pg_policy
                        WHERE polrelid = class.oid AND polpermissive AND polcmd IN ('r', '*')
                            AND pg_get_expr(polqual, polrelid) = 'true'
                            AND EXISTS (
                                SELECT FROM unnest(polroles) AS of (role)
                                WHERE of.role = 0 OR pg_has_role(of.role, 'usage')
                            )
                    )
                    OR EXISTS (
                        SELECT FROM pg_policy
                        WHERE polrelid = class.oid AND NOT polpermissive AND polcmd IN ('r', '*')
                            AND EXISTS (
                                SELECT FROM unnest(polroles) AS of (role)
                                WHERE of.role = 0 OR pg_has_role(of.role, 'usage')
                            )
                    )
                ) THEN 'hidden'
        END AS kind,
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
)
SELECT
    wanted.source,
    part.oid,
    part.name,
    part.kind,
    part.partitioned,
    of_tenant.functions,
    of_tenant.arguments,
    of_tenant.events,
    ARRAY(
        SELECT attribute.attname::text
        FROM unnest((SELECT $3::text[]), (SELECT $4::text[])) AS wish (source, "column")
        JOIN pg_attribute AS attribute ON attribute.attrelid = part.oid AND attribute.attname = wish."column"
        WHERE wish.source = wanted.source AND NOT attribute.attisdropped
    ) AS columns,
    ARRAY(
        SELECT attribute.attname::text
        FROM unnest((SELECT $3::text[]), (SELECT $4::text[])) AS wish (source, "column")
        JOIN pg_attribute AS attribute ON attribute.attrelid = part.oid AND attribute.attname = wish."column"
        WHERE wish.source = wanted.source AND %NOTABLE%
    ) AS notable,
    EXISTS (SELECT FROM pg_foreign_table) AND EXISTS (
        WITH RECURSIVE reached (oid) AS (
            SELECT part.oid
            UNION
            SELECT link.inhrelid FROM reached JOIN pg_inherits AS link ON link.inhparent = reached.oid
        )
        SELECT FROM reached JOIN pg_foreign_table ON ftrelid = reached.oid
    ) AS apart,
    concat_ws(' ', part.written, of_tenant.written) AS written
FROM unnest((SELECT $1::text[])) AS wanted (source)
LEFT JOIN part ON part.source = wanted.source
LEFT JOIN LATERAL (
    SELECT
        array_agg(function.proname::text ORDER BY trigger.oid) AS functions,
        array_agg(trigger.tgargs ORDER BY trigger.oid) AS arguments,
        array_agg(
            CASE WHEN trigger.tgenabled = 'A' AND trigger.tgtype & 1 = 0 AND trigger.tgqual IS NULL
                AND trigger.tgattr = '' THEN trigger.tgtype::integer & 60 ELSE 0 END
            ORDER BY trigger.oid
        ) AS events,
        string_agg(concat_ws(' ', trigger.oid, trigger.xmin), ' ' ORDER BY trigger.oid) AS written
    FROM pg_trigger AS trigger
    JOIN pg_proc AS function ON function.oid = trigger.tgfoid
    JOIN pg_namespace AS home ON home.oid = function.pronamespace AND home.nspname = 'momentus'
    WHERE trigger.tgrelid = part.oid AND split_part(trigger.tgname, '.', 1) = $2 AND NOT trigger.tgisinternal
        AND (function.proname = 'mark_dirty' OR starts_with(function.proname, 'mark_nodes:'))
) AS of_tenant ON true
