-- Write how jobs ended. A dead job may have been revived, so its later end replaces the former; any other end stays, since
-- Redis may have gone back to an earlier state and end the job once more.
--
-- $1  int[]      days of their rows, since 1970
-- $2  text[]     ids
-- $3  text[]     states
-- $4  int[]      attempts
-- $5  text[]     accounts
-- $6  text[]     last words
-- $7  boolean[]  true where the outcome is uncertain
-- $8  bigint[]   instants (ms)

INSERT INTO momentus_ledger.ends (day, id, state, attempt, account, reply, uncertain, ended_at)
SELECT
    date '1970-01-01' + given.day, given.id, given.state, given.attempt, given.account, given.reply, given.uncertain,
    to_timestamp(given.at_ms / 1000.0)
FROM unnest(
    $1::integer[], $2::text[], $3::text[], $4::integer[], $5::text[], $6::text[], $7::boolean[], $8::bigint[]
) AS given (day, id, state, attempt, account, reply, uncertain, at_ms)
ON CONFLICT (id, day) DO UPDATE SET
    state = excluded.state, attempt = excluded.attempt, account = excluded.account, reply = excluded.reply,
    uncertain = excluded.uncertain, ended_at = excluded.ended_at
WHERE ends.state = 'dead' AND excluded.ended_at >= ends.ended_at
