-- Note that effects which may have happened were counted as uncertain.
--
-- $1  int     the day of all the jobs' rows, since 1970: one parameter, so that no partition of another day is opened
-- $2  text[]  ids
-- $3  int[]   the attempts up to which they were

UPDATE momentus_ledger.effects SET counted = true
WHERE effects.day = date '1970-01-01' + $1::integer AND effects.id = ANY ($2) AND NOT counted
    AND effects.attempt <= (
        SELECT max(asked.attempt) FROM unnest($2::text[], $3::integer[]) AS asked (id, attempt)
        WHERE asked.id = effects.id
    )
