-- Replace the payload of a dead job, if it is still the payload that was read.
--
-- KEYS[1]  momentus:{group}:dead:<lane>   ZSET    job id -> when it was given up (ms)
-- KEYS[2]  arq:job:<id>                   STRING  the payload
-- KEYS[3]  momentus:{group}:history:<id>  LIST    JSON
-- ARGV[1]  id
-- ARGV[2]  the payload that was read
-- ARGV[3]  the new one
-- ARGV[4]  which fields change, for the history
--
-- Returns  "edited", "not dead", or "changed" (another edit came first; nothing was written)
--
-- Invariant: only a dead job is edited, so that no attempt ever sees part of a change.

if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return 'not dead'
elseif redis.call('GET', KEYS[2]) ~= ARGV[2] then
  return 'changed'
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('SET', KEYS[2], ARGV[3])
redis.call('RPUSH', KEYS[3], cjson.encode({at_ms = now, attempt = 0, outcome = 'edited', reason = ARGV[4]}))
redis.call('LTRIM', KEYS[3], -50, -1)
return 'edited'
