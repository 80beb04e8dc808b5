-- How many rows the ledger has of one day: $1 day.
--
-- Returns one row: jobs, ended (those of them that have an end).

SELECT count(*) AS jobs, count(ended.id) AS ended
FROM momentus_ledger.jobs AS job
LEFT JOIN momentus_ledger.ends AS ended ON ended.day = $1 AND ended.id = job.id
WHERE job.day = $1
