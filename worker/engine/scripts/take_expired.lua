#!lua flags=allow-oom
-- Take jobs out of an arq queue whose payload has gone: arq gives every payload a day to live.
-- Runs at the memory limit too: taking jobs out is what frees memory.
--
-- KEYS[1]  arq:queue                       ZSET  job id -> due time, or lease deadline while it runs (ms)
-- KEYS[2]  momentus:{queue}:leases:<queue>    ZSET  running job id -> lease deadline (ms)
-- KEYS[3]  momentus:{queue}:counters          HASH
-- KEYS[4]  momentus:{queue}:retrying:<queue>  SET   waiting job ids that failed before
-- KEYS[5]  momentus:{queue}:adopted           SET   jobs that were counted as accepted
-- ARGV[1]  lane: the queue's name
-- ARGV[2…] ids to look at
--
-- Also touches: arq:job:<id>, arq:in-progress:<id>, arq:retry:<id>.
--
-- Returns  the ids that were taken out
--
-- Invariant: a job that is running, or has a payload, or is taken out by somebody else, is left alone; every
-- job taken out is counted as accepted once and as vanished.

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
