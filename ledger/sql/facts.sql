-- What the ledger has of some ids of one day: $1 day, $2 ids.
--
-- Returns one row for each id that has a job: id; state (of its end; '' without one); is_pending.

SELECT
    job.id, coalesce(ended.state, '') AS state,
    EXISTS (SELECT FROM momentus_ledger.pending AS pending WHERE pending.id = job.id) AS is_pending
FROM momentus_ledger.jobs AS job
LEFT JOIN momentus_ledger.ends AS ended ON ended.day = $1 AND ended.id = job.id
WHERE job.day = $1 AND job.id = ANY ($2::text[])
