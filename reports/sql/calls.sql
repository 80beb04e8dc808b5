-- Reads of a board's functions beyond its sources: tables whose changes would leave no mark.
--
-- $1  text[]  names of functions that the board's queries may call, in lower case
-- $2  text[]  keys of the boards of these names, in the same order
-- $3  text[]  sources
-- $4  text[]  keys of the boards of these sources, in the same order
--
-- Returns a row for each function of the application and each table outside of the sources that its body names, or
-- that it depends on; relation is null for a function whose body does not tell (another language, dynamic SQL).
-- Functions that these functions call are included. IMMUTABLE functions read no tables.
--
-- A body is searched by words, so a word that is also a table's name counts as a read: rather too many than too few.

WITH RECURSIVE application AS MATERIALIZED (
    SELECT function.oid, language.lanname AS language, lower(function.prosrc) AS body,
        CASE WHEN function.proname ~ '^[[:alnum:]_$]+$' THEN ARRAY[lower(function.proname)]
            ELSE regexp_split_to_array(lower(function.proname), '[^[:alnum:]_$]+') END AS words,
        namespace.nspname || '.' || function.proname AS name
    FROM pg_proc AS function
    JOIN pg_namespace AS namespace ON namespace.oid = function.pronamespace
    JOIN pg_language AS language ON language.oid = function.prolang
    WHERE function.oid >= 16384 AND function.provolatile <> 'i' AND language.lanname NOT IN ('internal', 'c')
),
called AS (
    SELECT DISTINCT asked.board, application.oid
    FROM unnest($1::text[], $2::text[]) AS asked (name, board)
    JOIN application ON asked.name = ANY (application.words)
    UNION
    SELECT called.board, inner_function.oid
    FROM called
    JOIN application AS outer_function ON outer_function.oid = called.oid
    CROSS JOIN LATERAL (
        SELECT DISTINCT found.word[1] AS word, NULL::oid AS oid
        FROM regexp_matches(outer_function.body, '[[:alnum:]_$]+', 'g') AS found (word)
        UNION ALL
        SELECT NULL, refobjid
        FROM pg_depend
        WHERE classid = 'pg_proc'::regclass AND objid = outer_function.oid AND refclassid = 'pg_proc'::regclass
    ) AS reference
    JOIN application AS inner_function
        ON inner_function.words[1] = reference.word OR inner_function.oid = reference.oid
),
named AS (
    SELECT DISTINCT called.board, called.oid, found.word[1] AS word
    FROM called
    JOIN application ON application.oid = called.oid
    CROSS JOIN regexp_matches(application.body, '[[:alnum:]_$]+', 'g') AS found (word)
),
relations AS (
    SELECT named.board, named.oid, relation.oid AS relation
    FROM named
    JOIN pg_class AS relation ON substring(lower(relation.relname) FROM '[[:alnum:]_$]+') = named.word
    UNION
    SELECT called.board, called.oid, refobjid
    FROM called
    JOIN pg_depend ON classid = 'pg_proc'::regclass AND objid = called.oid AND refclassid = 'pg_class'::regclass
)
SELECT DISTINCT relations.board, application.name, namespace.nspname || '.' || relation.relname AS relation
FROM relations
JOIN application ON application.oid = relations.oid
JOIN pg_class AS relation ON relation.oid = relations.relation AND relation.relkind IN ('r', 'p', 'v', 'm', 'f')
JOIN pg_namespace AS namespace ON namespace.oid = relation.relnamespace
WHERE namespace.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'momentus')
    AND NOT EXISTS (
        SELECT FROM unnest($3::text[], $4::text[]) AS source (name, board)
        WHERE source.board = relations.board AND to_regclass(source.name) = relation.oid
    )
UNION
SELECT called.board, application.name, NULL
FROM called
JOIN application ON application.oid = called.oid
WHERE application.language NOT IN ('sql', 'plpgsql') OR application.body ~ '\mexecute\M'
ORDER BY 1, 2, 3
