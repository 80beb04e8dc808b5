-- Remove notes of effects that did not happen.
--
-- $1  int[]   days of the jobs' rows, since 1970
-- $2  text[]  ids
-- $3  int[]   attempts

DELETE FROM momentus_ledger.effects USING unnest($1::integer[], $2::text[], $3::integer[]) AS asked (day, id, attempt)
WHERE effects.id = asked.id AND effects.attempt = asked.attempt AND effects.day = date '1970-01-01' + asked.day
