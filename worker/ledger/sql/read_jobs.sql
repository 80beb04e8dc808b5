-- Read the rows of jobs, with their ends and the last of their effects. A statement of its own after the lock: so it sees
-- every end that was recorded before.
--
-- $1  text[]  ids
-- $2  int     the day of all of them, since 1970
--
-- Returns one row for each: asked_id, lane (NULL: it has no row), payload, due_ms and expires_ms (NULL: none; -1:
-- out of range), life_ms, key, fingerprint, window_ms, limit_key, end_state (NULL: live), attempt and note (NULL: no effect
-- began).
--
-- The subqueries with LIMIT keep the planner from joining with whole partitions. The day is one parameter and not one of
-- each id: so the partitions of other days, perhaps hundreds, are left out before the first row and not at each.

SELECT
    asked.id AS asked_id, job.*, ends.state AS end_state, effect.attempt, effect.note
FROM unnest($1::text[]) AS asked (id)
LEFT JOIN LATERAL (
    SELECT
        lane, payload, life_ms, key, fingerprint, window_ms, limit_key,
        CASE WHEN due_at BETWEEN '0001-01-01' AND '9999-12-31' THEN (extract(epoch FROM due_at) * 1000)::bigint
            WHEN due_at IS NOT NULL THEN -1 END AS due_ms,
        CASE WHEN expires_at BETWEEN '1970-01-01' AND '9999-12-31' THEN (extract(epoch FROM expires_at) * 1000)::bigint
            WHEN expires_at IS NOT NULL THEN -1 END AS expires_ms
    FROM momentus_ledger.jobs WHERE jobs.id = asked.id AND jobs.day = date '1970-01-01' + $2::integer LIMIT 1
) AS job ON true
LEFT JOIN LATERAL (
    SELECT state FROM momentus_ledger.ends WHERE ends.id = asked.id AND ends.day = date '1970-01-01' + $2::integer LIMIT 1
) AS ends ON true
LEFT JOIN LATERAL (
    SELECT attempt, note FROM momentus_ledger.effects
    WHERE effects.id = asked.id AND effects.day = date '1970-01-01' + $2::integer ORDER BY attempt DESC LIMIT 1
) AS effect ON true
