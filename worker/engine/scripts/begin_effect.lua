#!lua flags=allow-oom
-- Record, before an effect that cannot be taken back, that this attempt is about to cause it.
-- Runs at the memory limit too: the mark must be made, or mails would wait for memory.
--
-- KEYS[1]  momentus:{group}:effects   HASH    job id -> attempt whose effect has begun, and a note for its history
-- KEYS[2]  arq:in-progress:<id>       STRING  the lease's token
-- ARGV[1]  id
-- ARGV[2]  token
-- ARGV[3]  attempt; after a blank the note, if any
--
-- Returns  1: go on; 0: the lease was lost, somebody else may be at it already: do not cause the effect
--
-- Invariant: every effect whose outcome nobody recorded is found by the next claim and counted as uncertain.

if redis.call('GET', KEYS[2]) ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
