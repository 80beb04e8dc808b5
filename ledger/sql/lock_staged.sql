-- Lock a job that is staged and has no end, until the transaction ends; waits for a relay that hands it over. $1 id.
--
-- Returns day and lane; no row if the job is not staged.

SELECT pending.day, job.lane
FROM momentus_ledger.pending AS pending
JOIN momentus_ledger.jobs AS job ON job.id = pending.id AND job.day = pending.day
WHERE pending.id = $1
    AND NOT EXISTS (SELECT FROM momentus_ledger.ends AS ended WHERE ended.id = pending.id AND ended.day = pending.day)
FOR UPDATE OF pending
