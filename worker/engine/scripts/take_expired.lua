#!lua flags=allow-oom
-- Remove jobs whose payload has expired from an arq queue: arq's payloads expire after a day.
-- Runs at the memory limit too: removing jobs frees memory.
--
-- KEYS[1]  arq:queue                       ZSET  job id -> due time, or lease deadline while it runs (ms)
-- KEYS[2]  momentus:{queue}:leases:<queue>    ZSET  running job id -> lease deadline (ms)
-- KEYS[3]  momentus:{queue}:counters          HASH
-- KEYS[4]  momentus:{queue}:retrying:<queue>  SET   waiting job ids that failed before
-- KEYS[5]  momentus:{queue}:adopted           SET   jobs that were counted as accepted
-- ARGV[1]  lane: the queue's name
-- ARGV[2…] ids to check
--
-- Also touches: arq:job:<id>, arq:in-progress:<id>, arq:retry:<id>.
--
-- Returns  the ids that were removed
--
-- Invariant: a job that runs, has a payload, or was removed by another worker stays unchanged; every removed job is
-- counted as accepted once and as vanished.

local queue, leases, counters, retrying, adopted = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local lane = ARGV[1]
local taken = {}

for at = 2, #ARGV do
  local id = ARGV[at]
  if redis.call('EXISTS', 'arq:job:' .. id, 'arq:in-progress:' .. id) == 0 and redis.call('ZREM', queue, id) == 1 then
    redis.call('ZREM', leases, id)
    redis.call('SREM', retrying, id)
    redis.call('DEL', 'arq:retry:' .. id)
    if redis.call('SREM', adopted, id) == 0 then
      redis.call('HINCRBY', counters, 'accepted:' .. lane, 1)
    end
    redis.call('HINCRBY', counters, 'vanished:' .. lane, 1)
    taken[#taken + 1] = id
  end
end
return taken
