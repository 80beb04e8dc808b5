#!lua flags=allow-oom
-- Take one job out for good, wherever in its lane group it is.
-- Runs at the memory limit too: taking jobs out is what frees memory.
--
-- KEYS[1]  momentus:{group}:counters   HASH
-- KEYS[2]  momentus:{group}:lapses     HASH  job id -> leases lost so far
-- KEYS[3]  momentus:{group}:effects    HASH  job id -> attempt whose effect has begun
-- KEYS[4]  momentus:{group}:adopted    SET   unfinished jobs of stock arq producers that were counted as accepted
-- KEYS[5]  momentus:{group}:next       HASH  job id -> "<due ms> <payload>" to queue when the run ends
-- KEYS[6]  momentus:{group}:cancelled  SET   running jobs that are to be stopped
-- KEYS[7…] five per lane, in the order of ARGV:
--            arq:queue:{group}:<lane>          ZSET  job id -> due time, or lease deadline while it runs (ms)
--            momentus:{group}:leases:<lane>    ZSET  running job id -> lease deadline (ms)
--            momentus:{group}:retrying:<lane>  SET   waiting job ids that failed before
--            momentus:{group}:dead:<lane>      ZSET  job id -> when it was given up (ms)
--            momentus:{group}:wake:<lane>      LIST  at most one token
-- ARGV[1]  hash tag, braces included
-- ARGV[2]  id
-- ARGV[3]  "discarded": a dead or waiting job; "cancelled": a waiting job, or a running one, which is told to stop
-- ARGV[4…] the lanes
--
-- Also touches, with the same tag: arq:job:<id>, arq:in-progress:<id>, arq:retry:<id>, arq:result:<id>,
-- momentus:{group}:history:<id>.
--
-- Returns  {what, lane}, where what is
--            "gone"      it was taken out and counted under ARGV[3]
--            "stopping"  it runs; its worker stops it at its next renewal and counts it as cancelled
--            "told"      the same, and somebody had asked before
--            "running"   refused: a running job cannot be discarded
--            "foreign"   refused: a stock arq worker runs it, which does not listen
--            "dead"      refused: a dead job cannot be cancelled
--            "unknown"   it neither waits nor runs nor is dead; lane is ""
--
-- Invariant: what leaves the queue or the dead is counted once, as discarded or cancelled, so that
-- accepted = done + discarded + vanished + cancelled + dead + queue stays true. An effect that began without a
-- known outcome is counted as uncertain. A recompute that was asked for meanwhile is queued in its place.

local counters, lapses, effects = KEYS[1], KEYS[2], KEYS[3]
local adopted, following, cancelled = KEYS[4], KEYS[5], KEYS[6]
local tag, id, event = ARGV[1], ARGV[2], ARGV[3]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- A recompute that was asked for while this one ran.
local function queue_next(lane, queue, wake)
  local entry = redis.call('HGET', following, id)
  if not entry then
    return
  end
  redis.call('HDEL', following, id)
  local due, payload = string.match(entry, '^(%d+) (.*)$')
  redis.call('SET', 'arq:job:' .. id, payload)
  redis.call('ZADD', queue, due, id)
  redis.call('HINCRBY', counters, 'accepted:' .. lane, 1)
  if redis.call('LLEN', wake) == 0 then
    redis.call('LPUSH', wake, '1')
  end
end

-- A waiting job of a stock arq producer is counted when first claimed; this one never will be.
local function adopt(lane)
  local payload = redis.call('GETRANGE', 'arq:job:' .. id, 0, 4)
  local foreign = (payload ~= '' and payload ~= '{"v":') or string.sub(id, 1, #tag) ~= tag
  if foreign and redis.call('SISMEMBER', adopted, id) == 0 then
    redis.call('HINCRBY', counters, 'accepted:' .. lane, 1)
  end
end

local function forget(lane)
  redis.call('SREM', adopted, id)
  redis.call('SREM', cancelled, id)
  redis.call('HDEL', lapses, id)
  if redis.call('HDEL', effects, id) == 1 then
    redis.call('HINCRBY', counters, 'uncertain:' .. lane, 1)
  end
  redis.call('DEL', 'arq:job:' .. id, 'arq:retry:' .. id, 'arq:result:' .. id)
  redis.call('DEL', 'momentus:' .. tag .. ':history:' .. id)
  redis.call('HINCRBY', counters, event .. ':' .. lane, 1)
end

local function stop(leased)
  if event == 'discarded' then
    return 'running'
  elseif not leased then
    return 'foreign'
  end
  return redis.call('SADD', cancelled, id) == 1 and 'stopping' or 'told'
end

local function take_out(lane, queue, leases, retrying, dead, wake)
  if redis.call('ZSCORE', dead, id) then
    if event == 'cancelled' then
      return 'dead'
    end
    redis.call('ZREM', dead, id)
    forget(lane)
    return 'gone'
  elseif not redis.call('ZSCORE', queue, id) then
    return
  end
  local deadline = redis.call('ZSCORE', leases, id)
  local leased = deadline and tonumber(deadline) > now
  if leased or redis.call('EXISTS', 'arq:in-progress:' .. id) == 1 then
    return stop(leased)
  end
  adopt(lane)
  redis.call('ZREM', queue, id)
  redis.call('ZREM', leases, id)
  redis.call('SREM', retrying, id)
  forget(lane)
  queue_next(lane, queue, wake)
  return 'gone'
end

for at = 4, #ARGV do
  local n = 7 + (at - 4) * 5
  local what = take_out(ARGV[at], KEYS[n], KEYS[n + 1], KEYS[n + 2], KEYS[n + 3], KEYS[n + 4])
  if what then
    return {what, ARGV[at]}
  end
end
return {'unknown', ''}
