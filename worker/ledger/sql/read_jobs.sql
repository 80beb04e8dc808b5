-- Read the rows of jobs, with their ends and the last of their effects. A statement of its own after the lock: so it sees
-- every end that was recorded before.
--
-- $1  text[]  ids
-- $2  int[]   their days, since 1970
--
-- Returns one row for each: number (from 1), lane (NULL: it has no row), payload, due_ms and expires_ms (NULL: none; -1:
-- out of range), life_ms, key, fingerprint, window_ms, limit_key, end_state (NULL: live), attempt and note (NULL: no effect
-- began).
--
-- The subqueries with LIMIT keep the planner from joining with whole partitions.

SELECT
    asked.number, job.*, ends.state AS end_state, effect.attempt, effect.note
FROM unnest($1::text[], $2::integer[]) WITH ORDINALITY AS asked (id, day, number)
LEFT JOIN LATERAL (
    SELECT
        lane, payload, life_ms, key, fingerprint, window_ms, limit_key,
        CASE WHEN due_at BETWEEN '0001-01-01' AND '9999-12-31' THEN (extract(epoch FROM due_at) * 1000)::bigint
            WHEN due_at IS NOT NULL THEN -1 END AS due_ms,
        CASE WHEN expires_at BETWEEN '1970-01-01' AND '9999-12-31' THEN (extract(epoch FROM expires_at) * 1000)::bigint
            WHEN expires_at IS NOT NULL THEN -1 END AS expires_ms
    FROM momentus_ledger.jobs WHERE jobs.id = asked.id AND jobs.day = date '1970-01-01' + asked.day LIMIT 1
) AS job ON true
LEFT JOIN LATERAL (
    SELECT state FROM momentus_ledger.ends WHERE ends.id = asked.id AND ends.day = date '1970-01-01' + asked.day LIMIT 1
) AS ends ON true
LEFT JOIN LATERAL (
    SELECT attempt, note FROM momentus_ledger.effects
    WHERE effects.id = asked.id AND effects.day = date '1970-01-01' + asked.day ORDER BY attempt DESC LIMIT 1
) AS effect ON true
