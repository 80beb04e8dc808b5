-- Note effects that are about to begin, except of jobs that have ended, of attempts that have a note already, and of jobs
-- with the note of an earlier attempt that was not counted as uncertain: Redis went back to an earlier state.
--
-- $1  int     the day of all the jobs' rows, since 1970: one parameter, so that the partitions of other days are left
--             out before the first row and not at each
-- $2  text[]  ids
-- $3  int[]   attempts
-- $4  text[]  notes
-- $5  text[]  tokens of their leases
--
-- Returns for each id: has_ended, is_written. A dead job may have been revived.

WITH given AS (
    SELECT id, attempt, note, token
    FROM unnest($2::text[], $3::integer[], $4::text[], $5::text[]) AS asked (id, attempt, note, token)
), ended AS (
    SELECT given.id FROM given CROSS JOIN LATERAL (
        SELECT FROM momentus_ledger.ends
        WHERE ends.id = given.id AND ends.day = date '1970-01-01' + $1::integer AND ends.state <> 'dead' LIMIT 1
    ) AS found
), written AS (
    INSERT INTO momentus_ledger.effects (day, id, attempt, note, token)
    SELECT date '1970-01-01' + $1::integer, id, attempt, note, token FROM given
    WHERE id NOT IN (SELECT id FROM ended) AND NOT EXISTS (
        SELECT FROM momentus_ledger.effects
        WHERE effects.id = given.id AND effects.day = date '1970-01-01' + $1::integer
            AND (effects.attempt >= given.attempt OR NOT effects.counted)
        OFFSET 0  -- a lookup of each id: a join that was planned while the day was empty would read all of it later
    )
    ON CONFLICT DO NOTHING
    RETURNING id
)
SELECT id, id IN (SELECT id FROM ended) AS has_ended, id IN (SELECT id FROM written) AS is_written FROM given
