-- Read a page of jobs that have not ended and are not pending: Redis should know them.
--
-- $1  int     first day, since 1970
-- $2  text    last id of the page before, '' for the first
-- $3  bigint  how many
--
-- Returns id and day, in the order of the ids of one day: the caller asks for each day in turn.

SELECT jobs.id FROM momentus_ledger.jobs
WHERE jobs.day = date '1970-01-01' + $1 AND jobs.id > $2
    AND NOT EXISTS (SELECT FROM momentus_ledger.ends WHERE ends.id = jobs.id AND ends.day = jobs.day)
    AND NOT EXISTS (SELECT FROM momentus_ledger.pending WHERE pending.id = jobs.id)
ORDER BY jobs.id
LIMIT $3
