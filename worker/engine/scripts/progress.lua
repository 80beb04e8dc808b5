-- Store the progress of a running job.
--
-- KEYS[1]  momentus:{group}:progress  HASH    job id -> JSON {done, total, note, attempt, at_ms}
-- KEYS[2]  arq:in-progress:<id>       STRING  the lease's token
-- ARGV[1]  id
-- ARGV[2]  token
-- ARGV[3]  the JSON without at_ms
--
-- Returns  1: stored; 0: the lease was lost
--
-- Invariant: only the holder of the live lease can store progress; finish and claim delete it.

if redis.call('GET', KEYS[2]) ~= ARGV[2] then
  return 0
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], string.sub(ARGV[3], 1, -2) .. ',"at_ms":' .. string.format('%d', now) .. '}')
return 1
