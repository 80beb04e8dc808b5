-- The days of which the ledger may have rows, the oldest first: those with a partition, and those in a DEFAULT one. No
-- parameters.

SELECT pg_catalog.to_date(pg_catalog.substr(class.relname, 6), 'YYYY_MM_DD') AS day
FROM pg_catalog.pg_inherits AS part
JOIN pg_catalog.pg_class AS class ON class.oid = part.inhrelid
WHERE part.inhparent = pg_catalog.to_regclass('momentus_ledger.jobs') AND class.relname <> 'jobs_default'
UNION
SELECT day FROM momentus_ledger.jobs_default
UNION
SELECT day FROM momentus_ledger.ends_default
ORDER BY day
