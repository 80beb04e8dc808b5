-- Remove notes of effects that did not happen.
--
-- $1  int     the day of all the jobs' rows, since 1970: one parameter, so that no partition of another day is opened
-- $2  text[]  ids
-- $3  int[]   attempts
--
-- A lookup of the ids: a join that was planned while the day was empty would read all of it later.

DELETE FROM momentus_ledger.effects
WHERE effects.day = date '1970-01-01' + $1::integer AND effects.id = ANY ($2)
    AND (effects.id, effects.attempt) IN (
        SELECT id, attempt FROM unnest($2::text[], $3::integer[]) AS asked (id, attempt) OFFSET 0
    )
