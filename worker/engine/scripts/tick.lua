-- Queue one tick of a cron, however many workers ask for it, and however often.
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
-- ARGV[7]  "1": a job that still waits or runs is left alone and the tick is asked for again later
--
-- Also touches, with the same tag: momentus:{group}:history:<id>, momentus:{group}:minute:<n>.
--
-- Returns  1 queued; 0 an earlier call queued this tick or a later one; -1 the one before is not over yet
--
-- Invariant: a tick is queued at most once, also after its job is done: the last tick outlives it. A job is not over
-- while it is in the queue, and is over once it is dead: the next tick takes its place, and counts it as discarded. A
-- last tick that lies more than an hour ahead is of a clock that was put back, and holds nothing up.

local AHEAD = 3600000 -- (ms) a clock that was put back by less makes the ticks of that time wait, and comes round

local queue, wake, counters, crons, job, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local lane, tag, name, tick, id = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
redis.call('ZCARD', queue) -- each of these fails when its key holds something else, before anything is written
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
  redis.call('HSET', crons, name, ARGV[4]) -- it is this very tick: its note was lost, or was of another clock
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
redis.call('PERSIST', 'momentus:' .. tag .. ':history:' .. id) -- a run before may have left it to expire
redis.call('HINCRBY', counters, 'accepted:' .. lane, 1)
redis.pcall('HINCRBY', minute, 'in:' .. lane, 1) -- a figure for people; it keeps no tick from being queued
redis.call('PEXPIRE', minute, 3600000)
if redis.call('LLEN', wake) == 0 then
  redis.call('LPUSH', wake, '1')
end
return 1
