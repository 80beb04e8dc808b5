-- Have a relay hand over jobs of one day again, except those that have an end. $1 day, $2 ids.
--
-- Returns the ids that were not pending before.

INSERT INTO momentus_ledger.pending (id, day)
SELECT job.id, job.day FROM momentus_ledger.jobs AS job
WHERE job.day = $1 AND job.id = ANY ($2::text[])
    AND NOT EXISTS (SELECT FROM momentus_ledger.ends AS ended WHERE ended.day = $1 AND ended.id = job.id)
ON CONFLICT DO NOTHING
RETURNING id
