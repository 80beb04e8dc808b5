-- Ids of live jobs of one day that a relay has handed over, by id, some at a time.
--
-- $1 day, $2 the last id of the batch before ('' for the first), $3 how many

SELECT job.id FROM momentus_ledger.jobs AS job
WHERE job.day = $1 AND job.id > $2
    AND NOT EXISTS (SELECT FROM momentus_ledger.ends AS ended WHERE ended.day = $1 AND ended.id = job.id)
    AND NOT EXISTS (SELECT FROM momentus_ledger.pending AS pending WHERE pending.id = job.id)
ORDER BY job.id
LIMIT $3
