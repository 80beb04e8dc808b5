-- Read a page of jobs of one day that have not ended and are not pending: Redis should know them.
--
-- $1  int     the day, since 1970
-- $2  text    last id of the page before, '' for the first
-- $3  bigint  how many
--
-- Returns ids, in their order.

SELECT jobs.id FROM momentus_ledger.jobs
WHERE jobs.day = date '1970-01-01' + $1::integer AND jobs.id > $2
    AND NOT EXISTS (SELECT FROM momentus_ledger.ends WHERE ends.id = jobs.id AND ends.day = jobs.day)
    AND NOT EXISTS (SELECT FROM momentus_ledger.pending WHERE pending.id = jobs.id)
ORDER BY jobs.id
LIMIT $3
