-- Write how jobs ended. A dead job may have been revived, so its later end replaces the former; any other end stays, since
-- Redis may have gone back to an earlier state and end the job once more.
--
-- $1  text[]     ids; the other lists have as many values, or a single one for all
-- $2  int[]      days of their rows, since 1970
-- $3  text[]     states
-- $4  int[]      attempts
-- $5  text[]     accounts
-- $6  text[]     last words
-- $7  boolean[]  true where the outcome is uncertain
-- $8  bigint[]   instants (ms)

INSERT INTO momentus_ledger.ends (id, day, state, attempt, account, reply, uncertain, ended_at)
SELECT
    given.id, date '1970-01-01' + coalesce(given.day, ($2::integer[])[1]), coalesce(given.state, ($3::text[])[1]),
    coalesce(given.attempt, ($4::integer[])[1]), coalesce(given.account, ($5::text[])[1]),
    coalesce(given.reply, ($6::text[])[1]), coalesce(given.uncertain, ($7::boolean[])[1]),
    to_timestamp(coalesce(given.at_ms, ($8::bigint[])[1]) / 1000.0)
FROM unnest(
    $1::text[], $2::integer[], $3::text[], $4::integer[], $5::text[], $6::text[], $7::boolean[], $8::bigint[]
) AS given (id, day, state, attempt, account, reply, uncertain, at_ms)
ON CONFLICT (id, day) DO UPDATE SET
    state = excluded.state, attempt = excluded.attempt, account = excluded.account, reply = excluded.reply,
    uncertain = excluded.uncertain, ended_at = excluded.ended_at
WHERE ends.state = 'dead' AND excluded.ended_at >= ends.ended_at
