-- Remove notes of effects that did not happen; not those of another lease of the same attempt, as there is one after Redis
-- went back to an earlier state.
--
-- $1  int     the day of all the jobs' rows, since 1970: one parameter, so that no partition of another day is opened
-- $2  text[]  ids
-- $3  int[]   attempts
-- $4  text[]  tokens of their leases
--
-- A lookup of the ids: a join that was planned while the day was empty would read all of it later.

DELETE FROM momentus_ledger.effects
WHERE effects.day = date '1970-01-01' + $1::integer AND effects.id = ANY ($2)
    AND (effects.id, effects.attempt, effects.token) IN (
        SELECT id, attempt, token FROM unnest($2::text[], $3::integer[], $4::text[]) AS asked (id, attempt, token) OFFSET 0
    )
