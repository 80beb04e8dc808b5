-- Request a recompute: at most one of an id runs and one waits, and the latest payload wins.
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
-- Also touches, with the same tag: arq:job:<id>, arq:in-progress:<id>, momentus:{group}:history:<id>,
-- momentus:{group}:cancelled, momentus:{group}:minute:<n>.
--
-- Returns  "queued" (a new job), "duplicate" (it waits already) or "next" (it runs; another will follow)
-- Raises   for a key that holds something else; nothing was written
--
-- Invariant: a request made while the job runs is never absorbed by that run, and an older payload never comes
-- after a newer one. A dead job of this id is superseded by the new request and counted as discarded.

local queue, wake, counters, leases, following, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local lane, tag, id, payload = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local due = now + tonumber(ARGV[5])
if string.sub(payload, 1, 5) == '{"v":' and string.byte(payload, -1) == 125 then
  payload = string.sub(payload, 1, -2) .. string.format(',"q":%d}', due) -- its age counts from then, by this clock
end
-- What cannot be is refused before anything is written, and named.
local probes = {{'ZCARD', queue}, {'LLEN', wake}, {'HLEN', counters}, {'ZCARD', leases}, {'HLEN', following}, {'ZCARD', dead}}
for _, probe in ipairs(probes) do
  local length = redis.pcall(probe[1], probe[2])
  if type(length) == 'table' and length.err then
    if not string.find(length.err, 'WRONGTYPE', 1, true) then
      error(length) -- the caller may not look, say
    end
    error({err = 'WRONGTYPE ' .. probe[2] .. ' holds something else; nothing was queued'})
  end
end

local waiting = redis.call('ZSCORE', queue, id)

if waiting and (redis.call('ZSCORE', leases, id) or redis.call('EXISTS', 'arq:in-progress:' .. id) == 1) then
  local earlier = redis.call('HGET', following, id)
  if earlier then
    due = math.min(due, tonumber(string.match(earlier, '^%d+')) or due)
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
  redis.call('HDEL', following, id) -- asked for during a run that is to be tried again: this request is later
  redis.call('SREM', 'momentus:' .. tag .. ':cancelled', id) -- a cancellation concerned the former run
else
  redis.call('ZADD', queue, due, id)
  redis.call('PERSIST', 'momentus:' .. tag .. ':history:' .. id) -- a run before may have left it to expire
  local minute = 'momentus:' .. tag .. ':minute:' .. math.floor(now / 60000)
  redis.call('HINCRBY', counters, 'accepted:' .. lane, 1)
  if redis.pcall('HINCRBY', minute, 'in:' .. lane, 1) == 1 then -- a statistic; it must not reject the job
    redis.call('PEXPIRE', minute, 3600000)
  end
end
if redis.call('LLEN', wake) == 0 then
  redis.call('LPUSH', wake, '1')
end
return waiting and 'duplicate' or 'queued'
