#!lua flags=allow-oom
-- Lease up to k due jobs of one lane to a worker.
-- Runs at the memory limit too: taking jobs out is what frees memory.
--
-- KEYS[1]  arq:queue:{group}:<lane>          ZSET  job id -> due time, or lease deadline while it runs (ms)
-- KEYS[2]  momentus:{group}:leases:<lane>    ZSET  running job id -> lease deadline (ms)
-- KEYS[3]  momentus:{group}:wake:<lane>      LIST  at most one token
-- KEYS[4]  momentus:{group}:counters         HASH
-- KEYS[5]  momentus:{group}:retrying:<lane>  SET   waiting job ids that failed before
-- KEYS[6]  momentus:{group}:lapses           HASH  job id -> leases lost so far
-- KEYS[7]  momentus:{group}:effects          HASH  job id -> attempt whose effect has begun
-- KEYS[8]  momentus:{group}:dead:<lane>      ZSET  job ids that were given up
-- KEYS[9]  momentus:{group}:adopted          SET   jobs of stock arq producers that were counted as accepted
-- KEYS[10] momentus:{group}:next             HASH  job id -> "<due ms> <payload>" to queue when the run ends
-- KEYS[11] momentus:{group}:holds            HASH  "lane:<lane>" -> JSON {until_ms, reason}; no until_ms: for ever
-- KEYS[12] momentus:{group}:cancelled        SET   running jobs that are to be stopped
-- ARGV[1]  lane
-- ARGV[2]  hash tag, braces included
-- ARGV[3]  worker id
-- ARGV[4]  k
-- ARGV[5]  lease (ms)
-- ARGV[6]  lost leases after which a job is dead with reason crash_loop
--
-- Also touches, with the same tag: arq:job:<id>, arq:in-progress:<id>, arq:retry:<id>, momentus:{group}:history:<id>.
--
-- Returns  {now, next, id, payload, attempt, due, effect, …}: the time (ms), the time at which the next job
--          is due or a lease lapses (-1: none), then five per job; effect is the attempt whose effect began
--          and was never heard of again, or 0.
--
-- arq:retry:<id> counts the attempts that failed or were lost, so that a first attempt that succeeds writes none.
--
-- Invariant: a job has at most one live lease. Its token is "<worker>:<attempt>" and is the value of
-- arq:in-progress:<id>, which a stock arq worker respects too; it expires a millisecond before the deadline, so
-- that it is gone when the job is claimable. A lapsed lease is claimable because its
-- deadline is its score: recovery needs no sweep.

local queue, leases, wake, counters = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local retrying, lapses, effects, dead, adopted = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local following, holds, cancelled = KEYS[10], KEYS[11], KEYS[12]
local lane, tag, worker = ARGV[1], ARGV[2], ARGV[3]
local wanted, lease, crash_limit = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- Until when the lane is held (-1: until somebody releases it), or nothing.
local function held_until()
  local hold = redis.call('HGET', holds, 'lane:' .. lane)
  if not hold then
    return
  end
  local readable, content = pcall(cjson.decode, hold)
  local until_ms = readable and type(content) == 'table' and content.until_ms
  if type(until_ms) ~= 'number' then
    return -1 -- a hold that cannot be read holds: nobody meant the lane to run
  elseif until_ms > now then
    return until_ms
  end
  redis.call('HDEL', holds, 'lane:' .. lane)
end

local held = held_until()
if held then
  return {now, held}
end

local function remember(id, entry)
  entry.at_ms = now
  redis.call('RPUSH', 'momentus:' .. tag .. ':history:' .. id, cjson.encode(entry))
end

-- The attempt whose effect began without an outcome, counted once; 0 for none.
local function unknown_effect(id)
  local attempt = redis.call('HGET', effects, id)
  if not attempt then
    return 0
  end
  redis.call('HDEL', effects, id)
  redis.call('HINCRBY', counters, 'uncertain:' .. lane, 1)
  remember(id, {attempt = tonumber(attempt), outcome = 'uncertain', reason = 'lease lost'})
  return tonumber(attempt)
end

-- A recompute that was asked for while this one ran is queued now, in its place.
local function supersede(id)
  local entry = redis.call('HGET', following, id)
  if not entry then
    return
  end
  redis.call('HDEL', following, id)
  local due, payload = string.match(entry, '^(%d+) (.*)$')
  redis.call('SET', 'arq:job:' .. id, payload)
  redis.call('ZADD', queue, due, id)
  redis.call('HINCRBY', counters, 'accepted:' .. lane, 1)
  if redis.call('ZREM', dead, id) == 1 then
    redis.call('HINCRBY', counters, 'discarded:' .. lane, 1)
  end
end

local function bury(id, attempt)
  unknown_effect(id)
  redis.call('ZREM', queue, id)
  redis.call('ZREM', leases, id)
  redis.call('HDEL', lapses, id)
  redis.call('SREM', retrying, id)
  redis.call('SREM', adopted, id)
  redis.call('DEL', 'arq:retry:' .. id, 'arq:in-progress:' .. id)
  redis.call('ZADD', dead, now, id)
  remember(id, {attempt = attempt, outcome = 'dead', reason = 'crash_loop'})
  redis.call('HINCRBY', counters, 'dead:' .. lane, 1)
  supersede(id)
end

-- A stock arq producer does not count what it brings; it is counted when first seen here.
local function adopt(id)
  if redis.call('SADD', adopted, id) == 1 then
    redis.call('HINCRBY', counters, 'accepted:' .. lane, 1)
  end
end

-- A payload that is gone: arq gives its payloads a day to live, ours have for ever.
local function vanish(id)
  if string.sub(id, 1, #tag) ~= tag then
    adopt(id)
  end
  redis.call('ZREM', queue, id)
  redis.call('ZREM', leases, id)
  redis.call('SREM', retrying, id)
  redis.call('SREM', adopted, id)
  redis.call('SREM', cancelled, id)
  redis.call('HINCRBY', counters, 'vanished:' .. lane, 1)
end

-- The lease that lapsed was an attempt. True when it was the last that the job may take down.
local function lapsed_once_too_often(id, attempt)
  redis.call('HINCRBY', counters, 'lapsed:' .. lane, 1)
  if redis.call('HINCRBY', lapses, id, 1) >= crash_limit then
    bury(id, attempt)
    return true
  end
  redis.call('SET', 'arq:retry:' .. id, attempt)
  return false
end

-- A job that was to be stopped and lost its worker before: it ends here.
local function end_cancelled(id)
  redis.call('ZREM', queue, id)
  redis.call('ZREM', leases, id)
  redis.call('SREM', cancelled, id)
  redis.call('SREM', retrying, id)
  redis.call('SREM', adopted, id)
  redis.call('HDEL', lapses, id)
  unknown_effect(id)
  redis.call('DEL', 'arq:job:' .. id, 'arq:retry:' .. id, 'momentus:' .. tag .. ':history:' .. id)
  redis.call('HINCRBY', counters, 'cancelled:' .. lane, 1)
  supersede(id)
end

local reply = {now, -1}
local taken, foreign = 0, 0
local has_effects = redis.call('HLEN', effects) > 0
local has_cancelled = redis.call('SCARD', cancelled) > 0

local function keys_of(prefix, due)
  local keys = {}
  for at = 1, #due, 2 do
    keys[#keys + 1] = prefix .. due[at]
  end
  return keys
end

-- Lease one due job: its attempt, or nothing when it cannot be leased.
local function take(id, payload, failed, deadline)
  if not payload then
    vanish(id)
    return
  end
  if has_cancelled and redis.call('SISMEMBER', cancelled, id) == 1 then
    end_cancelled(id)
    return
  end
  local attempt = tonumber(failed or 0) + (deadline and 2 or 1)
  if not redis.call('SET', 'arq:in-progress:' .. id, worker .. ':' .. attempt, 'NX', 'PX', lease - 1) then
    foreign = foreign + 1 -- a stock arq worker runs it
    return
  end
  if deadline and lapsed_once_too_often(id, attempt - 1) then
    return
  end
  if string.sub(payload, 1, 5) ~= '{"v":' then
    adopt(id)
  end
  if attempt > 1 then
    redis.call('SREM', retrying, id)
  end
  return attempt
end

repeat
  local window = wanted - taken
  local due = redis.call('ZRANGE', queue, '-inf', now, 'BYSCORE', 'LIMIT', foreign, window, 'WITHSCORES')
  if #due == 0 then
    break
  end
  local ids = keys_of('', due)
  local payloads = redis.call('MGET', unpack(keys_of('arq:job:', due)))
  local failed = redis.call('MGET', unpack(keys_of('arq:retry:', due)))
  local deadlines = redis.call('ZMSCORE', leases, unpack(ids))
  local scores = {}
  for at, id in ipairs(ids) do
    local attempt = take(id, payloads[at], failed[at], deadlines[at])
    if attempt then
      local n = #reply
      reply[n + 1], reply[n + 2], reply[n + 3], reply[n + 4] = id, payloads[at], attempt, due[2 * at]
      reply[n + 5] = has_effects and unknown_effect(id) or 0
      scores[#scores + 1], scores[#scores + 2] = now + lease, id
      taken = taken + 1
    end
  end
  if #scores > 0 then
    redis.call('ZADD', queue, unpack(scores))
    redis.call('ZADD', leases, unpack(scores))
  end
until taken == wanted or #ids < window

local following_one = redis.call('ZRANGE', queue, '-inf', '+inf', 'BYSCORE', 'LIMIT', foreign, 1, 'WITHSCORES')
if following_one[2] then
  reply[2] = math.max(now, tonumber(following_one[2]))
  if reply[2] == now and redis.call('LLEN', wake) == 0 then
    redis.call('LPUSH', wake, '1') -- there is work for another worker
  end
end
return reply
