-- Make dead jobs live again: remove their ends. $1 ids.
--
-- Any other end stays, and that of a job whose content was erased. Returns id, day, lane and key of each that is live now.

DELETE FROM momentus_ledger.ends AS ended
USING momentus_ledger.jobs AS job
WHERE ended.id = ANY ($1::text[]) AND ended.state = 'dead'
    AND job.id = ended.id AND job.day = ended.day AND job.payload <> ''
RETURNING ended.id, ended.day, job.lane, job.key
