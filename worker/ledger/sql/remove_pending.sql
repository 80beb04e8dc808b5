-- Remove jobs from the pending: Redis has them, or they have ended.
--
-- $1  text[]  ids

DELETE FROM momentus_ledger.pending WHERE id = ANY ($1)
