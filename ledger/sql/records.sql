-- Jobs of one day that fit a filter, the latest first.
--
-- $1 day            date; the query is planned for it, so give it as a constant where there are many partitions
-- $2, $3 since, until   instants of staging, the second excluded; NULL: no bound
-- $4 recipient      SHA-256 of the address in lower case; NULL: any
-- $5 template       NULL: any
-- $6 states         list of states; NULL: any
-- $7 id             NULL: any
-- $8 limit          NULL: all
--
-- state is that of `ends`; of a live job `staged` if Redis has not taken it, else `queued`.

SELECT * FROM (
    SELECT
        job.id, job.lane, job.kind, job.template, job.recipients, job.day,
        -- A row by hand may name times that no calendar has.
        CASE WHEN job.staged_at BETWEEN '0001-01-02' AND '9999-12-30' THEN job.staged_at ELSE job.day END AS staged_at,
        CASE WHEN job.due_at BETWEEN '0001-01-02' AND '9999-12-30' THEN job.due_at END AS due_at,
        CASE WHEN job.expires_at BETWEEN '0001-01-02' AND '9999-12-30' THEN job.expires_at END AS expires_at,
        coalesce(ended.state, CASE WHEN pending.id IS NULL THEN 'queued' ELSE 'staged' END) AS state,
        coalesce(ended.attempt, 0) AS attempt, coalesce(ended.account, '') AS account,
        coalesce(ended.reply, '') AS reply, coalesce(ended.uncertain, false) AS uncertain, ended.ended_at
    FROM momentus_ledger.jobs AS job
    LEFT JOIN momentus_ledger.ends AS ended ON ended.day = $1 AND ended.id = job.id
    LEFT JOIN momentus_ledger.pending AS pending ON pending.id = job.id
    WHERE job.day = $1
        AND ($2::timestamptz IS NULL OR job.staged_at >= $2)
        AND ($3::timestamptz IS NULL OR job.staged_at < $3)
        AND ($4::text IS NULL OR $4 = ANY (job.recipients))
        AND ($5::text IS NULL OR job.template = $5)
        AND ($7::text IS NULL OR job.id = $7)
) AS record
WHERE $6::text[] IS NULL OR record.state = ANY ($6)
ORDER BY record.staged_at DESC, record.id DESC
LIMIT $8::bigint
