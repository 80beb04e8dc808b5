-- State that all boards of a server share: whether marks can be taken up, and changes without mark or transaction.
--
-- Parameters: $5 names of functions that the boards' queries may call, in lower case; the others are those of
-- sources.sql, since both are asked at once. Returns one row:
--   visible   pg_current_snapshot() of this result
--   since     when the server was started, or recovered from a crash: unflushed commits are lost and unlogged tables
--             empty, which neither the start time nor a transaction shows. Before 15 only the start is known
--   standby   true if the server replays the changes of another one
--   usable    true if this user may take up marks here
--   lacks     rights for it that this user does not have; null: nothing is installed
--   outside   a table whose rows change elsewhere (foreign, subscribed) or are hidden from this user by row-level
--             security; null: there is none
--   calls     true if a function of the application has such a name: then calls.sql tells what it reads
--   digest    changes after a restart or a crash, with the server, the database, the user, the search_path or the
--             time zone, and with each change of a view, a function, an enum or a policy

WITH installed AS (
    SELECT concat_ws(
        ', ',
        CASE WHEN NOT has_schema_privilege(namespace.oid, 'usage') THEN 'USAGE on schema momentus' END,
        CASE WHEN NOT has_table_privilege(dirty.oid, 'select') THEN 'SELECT on momentus.dirty' END,
        CASE WHEN NOT has_table_privilege(dirty.oid, 'delete') THEN 'DELETE on momentus.dirty' END,
        CASE WHEN row_security_active(dirty.oid) THEN 'all rows of momentus.dirty' END,
        CASE WHEN NOT has_table_privilege(boards.oid, 'select') THEN 'SELECT on momentus.boards' END,
        CASE WHEN NOT has_table_privilege(boards.oid, 'insert') THEN 'INSERT on momentus.boards' END,
        CASE WHEN NOT has_table_privilege(boards.oid, 'update') THEN 'UPDATE on momentus.boards' END,
        CASE WHEN row_security_active(boards.oid) THEN 'all rows of momentus.boards' END,
        CASE WHEN dirty.relhasrules OR dirty.relhastriggers THEN 'momentus.dirty without rules and triggers' END
    ) AS lacks
    FROM pg_namespace AS namespace
    JOIN pg_class AS dirty ON dirty.relnamespace = namespace.oid AND dirty.relname = 'dirty'
    JOIN pg_class AS boards ON boards.relnamespace = namespace.oid AND boards.relname = 'boards'
    WHERE namespace.nspname = 'momentus'
)
SELECT
    pg_current_snapshot()::text AS visible,
    started.since,
    pg_is_in_recovery() AS standby,
    NOT pg_is_in_recovery() AND EXISTS (SELECT FROM installed WHERE lacks = '') AS usable,
    (SELECT lacks FROM installed) AS lacks,
    CASE WHEN EXISTS (SELECT FROM pg_foreign_table) OR EXISTS (SELECT FROM pg_subscription_rel)
        OR EXISTS (SELECT FROM pg_class WHERE oid >= 16384 AND relrowsecurity)
    THEN (
        SELECT min(format('%s.%s', namespace.nspname, class.relname))
        FROM pg_class AS class
        JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
        WHERE class.relpersistence <> 't' AND (
            class.relkind = 'f'
            OR (class.relrowsecurity AND row_security_active(class.oid))
            OR class.oid IN (SELECT srrelid FROM pg_subscription_rel)
        )
    ) END AS outside,
    EXISTS (
        SELECT FROM pg_proc AS function
        WHERE function.oid >= 16384 AND function.provolatile <> 'i'
            AND NOT EXISTS (SELECT FROM pg_language WHERE oid = function.prolang AND lanname IN ('internal', 'c'))
            AND (SELECT $5::text[]) && CASE WHEN function.proname ~ '^[[:alnum:]_$]+$' THEN ARRAY[lower(function.proname)]
                ELSE regexp_split_to_array(lower(function.proname), '[^[:alnum:]_$]+') END
    ) AS calls,
    md5(concat_ws(
        ' ',
        started.since,
        current_user,
        (SELECT concat_ws(' ', oid, datname) FROM pg_database WHERE datname = current_database()),
        current_setting('TimeZone'),
        current_setting('search_path'),
        current_schemas(false),
        (SELECT string_agg(concat_ws(' ', rule.oid, rule.xmin), ' ' ORDER BY rule.oid)
            FROM pg_rewrite AS rule JOIN pg_class AS class ON class.oid = rule.ev_class
            WHERE rule.oid >= 16384 AND class.relpersistence <> 't'),
        (SELECT string_agg(concat_ws(' ', function.oid, function.xmin), ' ' ORDER BY function.oid)
            FROM pg_proc AS function
            WHERE function.oid >= 16384 AND NOT pg_is_other_temp_schema(function.pronamespace)),
        (SELECT string_agg(concat_ws(' ', oid, xmin), ' ' ORDER BY oid) FROM pg_enum),
        (SELECT string_agg(concat_ws(' ', oid, xmin), ' ' ORDER BY oid) FROM pg_policy)
    )) AS digest
FROM (
    SELECT greatest(
        pg_postmaster_start_time(),
        CASE WHEN current_setting('server_version_num')::int >= 150000
            THEN pg_stat_get_bgwriter_stat_reset_time() END
    ) AS since
) AS started
