-- Which ledger the database has: needs no right on it. No parameters.
--
-- Returns one row: exists (boolean), last_day (date, the last that has a partition of jobs; NULL: none has).

SELECT
    coalesce(pg_catalog.bool_or(class.relname = 'version'), false) AS "exists",
    pg_catalog.max(pg_catalog.to_date(pg_catalog.substr(class.relname, 6), 'YYYY_MM_DD')) FILTER (
        WHERE class.relname ~ '^jobs_[0-9]{4}_[0-9]{2}_[0-9]{2}$' AND class.relkind = 'r'
    ) AS last_day
FROM pg_catalog.pg_class AS class
JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE namespace.nspname = 'momentus_ledger'
