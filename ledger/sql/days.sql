-- The days of which the ledger may have rows, the oldest first. No parameters.
--
-- Returns one row a day: day; has_partition (boolean: it has one of its own).

SELECT day, bool_or(has_partition) AS has_partition
FROM (
    SELECT pg_catalog.to_date(pg_catalog.substr(class.relname, 6), 'YYYY_MM_DD') AS day, true AS has_partition
    FROM pg_catalog.pg_inherits AS part
    JOIN pg_catalog.pg_class AS class ON class.oid = part.inhrelid
    WHERE part.inhparent = pg_catalog.to_regclass('momentus_ledger.jobs') AND class.relname <> 'jobs_default'
    UNION ALL
    SELECT DISTINCT day, false FROM momentus_ledger.jobs_default
    UNION ALL
    SELECT DISTINCT day, false FROM momentus_ledger.ends_default
) AS found
GROUP BY day
ORDER BY day
