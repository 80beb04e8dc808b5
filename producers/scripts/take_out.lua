#!lua flags=allow-oom
-- Remove one job for good, from any lane of its group.
-- Runs at the memory limit too, because removing jobs frees memory.
--
-- KEYS[1]  momentus:{group}:counters   HASH
-- KEYS[2]  momentus:{group}:lapses     HASH  job id -> leases lost so far
-- KEYS[3]  momentus:{group}:effects    HASH  job id -> attempt whose effect has begun
-- KEYS[4]  momentus:{group}:adopted    SET   unfinished jobs of stock arq producers that were counted as accepted
-- KEYS[5]  momentus:{group}:next       HASH  job id -> "<due ms> <payload>" to queue when the run ends
-- KEYS[6]  momentus:{group}:cancelled  SET   running jobs that are to be stopped
-- KEYS[7]  momentus:{group}:progress   HASH job id -> JSON
-- ARGV[1]  hash tag, braces included
-- ARGV[2]  id
-- ARGV[3]  "discarded": a dead or waiting job; "cancelled": a waiting job, or a running one, whose stop is requested
-- ARGV[4…] the lanes to search; without any, all lanes of the group that ever accepted a job, for a caller that
--          does not know the lane
--
-- Also touches, with the same tag: arq:job:<id>, arq:in-progress:<id>, arq:retry:<id>, arq:result:<id>,
-- momentus:{group}:history:<id>, and of each lane arq:queue:{group}:<lane> and momentus:{group}:<what>:<lane>,
-- what being leases, retrying, dead, parked and wake; and what blocked.lua, unique.lua, uncertain.lua and ledger.lua
-- name, which stand before this.
--
-- Returns  {what, lane}, where what is
--            "gone"      it was taken out and counted under ARGV[3]
--            "stopping"  it runs; its worker stops it at its next renewal and counts it as cancelled
--            "told"      the same, and the stop had been requested before
--            "running"   refused: a running job cannot be discarded
--            "foreign"   refused: a stock arq worker runs it, which does not listen
--            "dead"      refused: a dead job cannot be cancelled
--            "unknown"   it is not waiting, running or dead; lane is ""
--
-- Invariant: what leaves the queue or the dead is counted once, as discarded or cancelled, so that
-- accepted = done + suppressed + discarded + vanished + cancelled + expired + dead + queue stays true. An effect that began without a
-- known outcome is counted as uncertain. A recompute that was asked for meanwhile is queued in its place.

local counters, lapses, effects = KEYS[1], KEYS[2], KEYS[3]
local adopted, following, cancelled, progress = KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local tag, id, event = ARGV[1], ARGV[2], ARGV[3]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local has_ledger -- known before anything is written

-- A recompute that was asked for while this one ran.
local function queue_next(lane, queue, wake)
  local entry = redis.call('HGET', following, id)
  if not entry then
    return
  end
  redis.call('HDEL', following, id)
  local due, payload = string.match(entry, '^(%d+) (.*)$')
  if not due then
    return -- nothing that anybody asked for
  end
  redis.call('SET', 'arq:job:' .. id, payload)
  redis.call('ZADD', queue, due, id)
  redis.call('HINCRBY', counters, 'accepted:' .. lane, 1)
  if redis.call('LLEN', wake) == 0 then
    redis.call('LPUSH', wake, '1')
  end
end

-- A waiting job of a stock arq producer is counted when first claimed; this one never will be.
local function adopt(lane)
  local payload = redis.pcall('GETRANGE', 'arq:job:' .. id, 0, 4)
  local foreign = (type(payload) == 'string' and payload ~= '' and payload ~= '{"v":') or string.sub(id, 1, #tag) ~= tag
  if foreign and redis.call('SISMEMBER', adopted, id) == 0 then
    redis.call('HINCRBY', counters, 'accepted:' .. lane, 1)
  end
end

local function forget(lane, note)
  redis.call('SREM', adopted, id)
  redis.call('SREM', cancelled, id)
  redis.call('HDEL', lapses, id)
  redis.call('HDEL', progress, id)
  require_blocked().leave(tag, lane, id, now)
  local is_uncertain = redis.call('HDEL', effects, id) == 1
  if is_uncertain then
    require_uncertain().list(tag, id, now)
    redis.call('HINCRBY', counters, 'uncertain:' .. lane, 1)
  end
  local attempt = redis.pcall('GET', 'arq:retry:' .. id)
  note(id, {state = event, attempt = type(attempt) == 'string' and attempt or 0, uncertain = is_uncertain, at_ms = now})
  redis.call('DEL', 'arq:job:' .. id, 'arq:retry:' .. id, 'arq:result:' .. id)
  require_unique().release(tag, {id})
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

local function take_out(lane)
  local function of_lane(what)
    return 'momentus:' .. tag .. ':' .. what .. ':' .. lane
  end
  local queue, leases, dead = 'arq:queue:' .. tag .. ':' .. lane, of_lane('leases'), of_lane('dead')
  if redis.call('ZSCORE', dead, id) then
    if event == 'cancelled' then
      return 'dead'
    end
    redis.call('ZREM', dead, id)
    forget(lane, function(...) return require_ledger().note_dead(tag, ...) end)
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
  redis.call('SREM', of_lane('retrying'), id)
  redis.call('HDEL', of_lane('parked'), id)
  forget(lane, function(...) return has_ledger and require_ledger().note(tag, ...) end)
  queue_next(lane, queue, of_lane('wake'))
  return 'gone'
end

local function lanes()
  if #ARGV >= 4 then
    return {unpack(ARGV, 4)}
  end
  local found = {}
  for _, count in ipairs(redis.call('HKEYS', counters)) do
    found[#found + 1] = string.match(count, '^accepted:(.+)$')
  end
  return found
end

has_ledger = require_ledger().is_used(tag)
if redis.call('HEXISTS', effects, id) == 1 then
  require_uncertain().check(tag)
end
for _, lane in ipairs(lanes()) do
  local what = take_out(lane)
  if what then
    return {what, lane}
  end
end
return {'unknown', ''}
