-- Ids of one day that have an end or are pending, and have no job: $1 day.

SELECT ended.id FROM momentus_ledger.ends AS ended
WHERE ended.day = $1
    AND NOT EXISTS (SELECT FROM momentus_ledger.jobs AS job WHERE job.day = $1 AND job.id = ended.id)
UNION ALL
SELECT pending.id FROM momentus_ledger.pending AS pending
WHERE pending.day = $1
    AND NOT EXISTS (SELECT FROM momentus_ledger.jobs AS job WHERE job.day = $1 AND job.id = pending.id)
