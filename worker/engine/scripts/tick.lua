-- Queue one tick of a cron, however many workers ask for it, and however often.
--
-- KEYS[1]  arq:queue:{group}:<lane>       ZSET  job id -> due time (ms)
-- KEYS[2]  momentus:{group}:wake:<lane>   LIST  at most one token
-- KEYS[3]  momentus:{group}:counters      HASH
-- KEYS[4]  momentus:{group}:crons         HASH  cron's name -> its last tick (ms)
-- KEYS[5]  arq:job:<id>                   STRING
-- ARGV[1]  lane
-- ARGV[2]  hash tag, braces included
-- ARGV[3]  name
-- ARGV[4]  the tick (ms)
-- ARGV[5]  job id
-- ARGV[6]  payload
-- ARGV[7]  "1": a job that still waits or runs is left alone and the tick is asked for again later
--
-- Returns  1 queued; 0 an earlier call queued this tick or a later one; -1 the one before is not over yet
--
-- Invariant: a tick is queued at most once, also after its job is done: the last tick outlives it.

redis.call('ZCARD', KEYS[1]) -- each of these fails when its key holds something else, before anything is written
redis.call('LLEN', KEYS[2])
redis.call('HINCRBY', KEYS[3], 'accepted:' .. ARGV[1], 0)

local last = tonumber(redis.call('HGET', KEYS[4], ARGV[3]) or '')
if last and last < 2 ^ 52 and last >= tonumber(ARGV[4]) then -- beyond that it is no time
  return 0
end
if redis.call('EXISTS', KEYS[5]) == 1 then
  if ARGV[7] == '1' then
    return -1
  end
  return 0
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local minute = 'momentus:' .. ARGV[2] .. ':minute:' .. math.floor(now / 60000)
redis.call('HSET', KEYS[4], ARGV[3], ARGV[4])
redis.call('SET', KEYS[5], ARGV[6])
redis.call('ZADD', KEYS[1], now, ARGV[5])
redis.call('HINCRBY', KEYS[3], 'accepted:' .. ARGV[1], 1)
redis.pcall('HINCRBY', minute, 'in:' .. ARGV[1], 1) -- a figure for people; it keeps no tick from being queued
redis.call('PEXPIRE', minute, 3600000)
if redis.call('LLEN', KEYS[2]) == 0 then
  redis.call('LPUSH', KEYS[2], '1')
end
return 1
