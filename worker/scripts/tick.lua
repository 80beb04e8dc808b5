-- Queue one tick of a cron once, for any number of requests by any number of workers.
--
-- KEYS[1]  arq:queue:{group}:<lane>       ZSET  job id -> due time (ms)
-- KEYS[2]  momentus:{group}:wake:<lane>   LIST  at most one token
-- KEYS[3]  momentus:{group}:counters      HASH
-- KEYS[4]  momentus:{group}:crons         HASH  cron's name -> its last tick (ms)
-- KEYS[5]  arq:job:<id>                   STRING
-- KEYS[6]  momentus:{group}:dead:<lane>   ZSET  job ids that were given up
-- ARGV[1]  lane
-- ARGV[2]  hash tag, braces included
-- ARGV[3]  name
-- ARGV[4]  the tick (ms)
-- ARGV[5]  job id
-- ARGV[6]  payload
-- ARGV[7]  "1": a job that still waits or runs stays, and the caller requests the tick again later
--
-- Also touches, with the same tag: momentus:{group}:history:<id>, momentus:{group}:minute:<n>.
--
-- Returns  1 queued; 0 an earlier call queued this tick or a later one; -1 the job of the previous tick has not ended
--
-- Invariant: a tick is queued at most once, also after its job is done: the last tick is kept longer. A job in the
-- queue has not ended, a dead job has: the next tick replaces it and counts it as discarded. A last tick that lies
-- more than an hour ahead comes from a clock that was set back since, and is ignored.

local AHEAD = 3600000 -- (ms) after a clock was set back by less, ticks wait until it reaches the last one

local queue, wake, counters, crons, job, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local lane, tag, name, tick, id = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
redis.call('ZCARD', queue) -- each of these fails if its key has a wrong type, before the first write
redis.call('ZCARD', dead)
redis.call('LLEN', wake)
redis.call('HINCRBY', counters, 'accepted:' .. lane, 0)
redis.call('HINCRBY', counters, 'discarded:' .. lane, 0)

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local last = tonumber(redis.call('HGET', crons, name) or '')
if last and last <= now + AHEAD and last >= tick then
  return 0
end
if redis.call('ZSCORE', queue, id) then
  if ARGV[7] == '1' then
    return -1
  end
  redis.call('HSET', crons, name, ARGV[4]) -- the same tick: its last-tick entry was lost, or from another clock
  return 0
end
if redis.call('ZREM', dead, id) == 1 then
  redis.call('DEL', 'momentus:' .. tag .. ':history:' .. id)
  redis.call('HINCRBY', counters, 'discarded:' .. lane, 1)
end
local minute = 'momentus:' .. tag .. ':minute:' .. math.floor(now / 60000)
redis.call('HSET', crons, name, ARGV[4])
redis.call('SET', job, string.sub(ARGV[6], 1, -2) .. ',"q":' .. string.format('%d', now) .. '}')
redis.call('ZADD', queue, now, id)
redis.call('PERSIST', 'momentus:' .. tag .. ':history:' .. id) -- an earlier run may have set an expiry
redis.call('HINCRBY', counters, 'accepted:' .. lane, 1)
redis.pcall('HINCRBY', minute, 'in:' .. lane, 1) -- a statistic: its failure must not stop the tick
redis.call('PEXPIRE', minute, 3600000)
if redis.call('LLEN', wake) == 0 then
  redis.call('LPUSH', wake, '1')
end
return 1
