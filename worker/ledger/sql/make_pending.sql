-- Make jobs of one day pending again, except those that have an end.
--
-- $1  int     the day, since 1970
-- $2  text[]  ids

INSERT INTO momentus_ledger.pending (id, day)
SELECT asked.id, date '1970-01-01' + $1::integer FROM unnest($2::text[]) AS asked (id)
WHERE NOT EXISTS (
    SELECT FROM momentus_ledger.ends WHERE ends.id = asked.id AND ends.day = date '1970-01-01' + $1::integer
)
ON CONFLICT DO NOTHING
