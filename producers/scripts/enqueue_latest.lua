-- Ask for a recompute: at most one of an id runs and one waits, and the latest payload wins.
--
-- KEYS[1]  arq:queue:{group}:<lane>       ZSET   job id -> due time (ms)
-- KEYS[2]  momentus:{group}:wake:<lane>   LIST   at most one token
-- KEYS[3]  momentus:{group}:counters      HASH
-- KEYS[4]  momentus:{group}:leases:<lane> ZSET   running job id -> lease deadline (ms)
-- KEYS[5]  momentus:{group}:next          HASH   job id -> "<due ms> <payload>" to queue when the run ends
-- KEYS[6]  momentus:{group}:dead:<lane>   ZSET   job ids that were given up
-- ARGV[1]  lane
-- ARGV[2]  hash tag, braces included
-- ARGV[3]  id
-- ARGV[4]  payload
-- ARGV[5]  delay (ms); a waiting job keeps the earlier of its due time and this one (a debounce with a ceiling)
--
-- Also touches, with the same tag: arq:job:<id>, arq:in-progress:<id>, momentus:{group}:minute:<n>.
--
-- Returns  "queued" (a new job), "duplicate" (it waits already) or "next" (it runs; another will follow)
--
-- Invariant: a request made while the job runs is never absorbed by that run. A dead job of this id is
-- superseded by the new request and counted as discarded.

local queue, wake, counters, leases, following, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local lane, tag, id, payload = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local due = now + tonumber(ARGV[5])
local waiting = redis.call('ZSCORE', queue, id)

if waiting and (redis.call('ZSCORE', leases, id) or redis.call('EXISTS', 'arq:in-progress:' .. id) == 1) then
  local earlier = redis.call('HGET', following, id)
  if earlier then
    due = math.min(due, tonumber(string.match(earlier, '^%d+')))
  end
  redis.call('HSET', following, id, string.format('%d', due) .. ' ' .. payload)
  return 'next'
end

redis.call('SET', 'arq:job:' .. id, payload)
if redis.call('ZREM', dead, id) == 1 then
  redis.call('DEL', 'momentus:' .. tag .. ':history:' .. id)
  redis.call('HINCRBY', counters, 'discarded:' .. lane, 1)
end
if waiting then
  redis.call('ZADD', queue, 'LT', due, id)
else
  redis.call('ZADD', queue, due, id)
  local minute = 'momentus:' .. tag .. ':minute:' .. math.floor(now / 60000)
  redis.call('HINCRBY', counters, 'accepted:' .. lane, 1)
  if redis.call('HINCRBY', minute, 'in:' .. lane, 1) == 1 then
    redis.call('PEXPIRE', minute, 3600000)
  end
end
if redis.call('LLEN', wake) == 0 then
  redis.call('LPUSH', wake, '1')
end
return waiting and 'duplicate' or 'queued'
