-- Note effects that Redis knew of before it knew of the jobs' rows; not those that are noted already.
--
-- $1  int[]   days of the jobs' rows, since 1970
-- $2  text[]  ids
-- $3  int[]   attempts
-- $4  text[]  notes

INSERT INTO momentus_ledger.effects (day, id, attempt, note)
SELECT date '1970-01-01' + given.day, given.id, given.attempt, given.note
FROM unnest($1::integer[], $2::text[], $3::integer[], $4::text[]) AS given (day, id, attempt, note)
ON CONFLICT DO NOTHING
