-- List the days of which there are jobs, in days since 1970, the oldest first. No parameters.
--
-- Each partition is asked for one row by its index: the days of partitions, and those of rows outside of them.

SELECT DISTINCT day - date '1970-01-01' AS day FROM (
    SELECT to_date(substr(class.relname, 6), 'YYYY_MM_DD') AS day
    FROM pg_catalog.pg_class AS class
    WHERE class.relnamespace = 'momentus_ledger'::regnamespace AND class.relkind = 'r'
        AND class.relname ~ '^jobs_[0-9]{4}_[0-9]{2}_[0-9]{2}$'
    UNION ALL
    SELECT day FROM momentus_ledger.jobs_default WHERE isfinite(day)
) AS found
WHERE day <= (now() AT TIME ZONE 'UTC')::date + 2
ORDER BY 1
