#!lua flags=allow-oom
-- Record how jobs of one lane ended. Refused for every job whose lease is no longer the caller's.
-- Runs at the memory limit too: finishing jobs is what frees memory.
--
-- KEYS[1]  arq:queue:{group}:<lane>          ZSET  job id -> due time, or lease deadline while it runs (ms)
-- KEYS[2]  momentus:{group}:leases:<lane>    ZSET  running job id -> lease deadline (ms)
-- KEYS[3]  momentus:{group}:wake:<lane>      LIST  at most one token
-- KEYS[4]  momentus:{group}:counters         HASH
-- KEYS[5]  momentus:{group}:retrying:<lane>  SET   waiting job ids that failed before
-- KEYS[6]  momentus:{group}:lapses           HASH  job id -> leases lost so far
-- KEYS[7]  momentus:{group}:effects          HASH  job id -> attempt whose effect has begun
-- KEYS[8]  momentus:{group}:dead:<lane>      ZSET  job ids that were given up
-- KEYS[9]  momentus:{group}:next             HASH  job id -> "<due ms> <payload>" to queue when the run ends
-- KEYS[10] momentus:{group}:adopted          SET   jobs of stock arq producers that were counted as accepted
-- KEYS[11] momentus:{group}:cancelled        SET   running jobs that are to be stopped
-- ARGV[1]  lane
-- ARGV[2]  hash tag, braces included
-- ARGV[3…] seven per job: id, token, outcome, delay (ms), result ("" for none), result's life (ms), reason
--          outcome: "done"; "retry" (counts as an attempt); "defer" (does not: shutdown, hold, unknown kind);
--          "dead"; "cancelled" (somebody asked for it to be stopped); a "+" behind it says that the effect began and its outcome is unknown
--
-- Also touches, with the same tag: arq:job:<id>, arq:in-progress:<id>, arq:retry:<id>, arq:result:<id>,
-- momentus:{group}:history:<id>, momentus:{group}:minute:<n>.
--
-- Returns  one number per job: 1 recorded, 0 refused (the lease was lost)
--
-- Invariant: accepted = done + discarded + vanished + cancelled (the counters) + ZCARD of dead + ZCARD of the queue (waiting
-- and leased), for every lane, after every call.

local queue, leases, wake, counters = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local retrying, lapses, effects, dead, following = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local adopted, cancelled = KEYS[10], KEYS[11]
local lane, tag = ARGV[1], ARGV[2]
local FIELDS = 7
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local reply, ended, ready = {}, {done = 0, dead = 0, cancelled = 0}, false
local settled, leaving, forgotten = {}, {}, {} -- ids whose lease ends, ids that leave the queue, keys to delete
local has_following = redis.call('HLEN', following) > 0

local function remember(id, attempt, outcome, reason)
  local history = 'momentus:' .. tag .. ':history:' .. id
  redis.call('RPUSH', history, cjson.encode({at_ms = now, attempt = attempt, outcome = outcome, reason = reason}))
  redis.call('LTRIM', history, -50, -1)
end

local function leave(id, outcome, result, life)
  leaving[#leaving + 1] = id
  forgotten[#forgotten + 1] = 'arq:retry:' .. id
  if result ~= '' then
    redis.call('SET', 'arq:result:' .. id, result, 'PX', life)
  end
  ended[outcome] = ended[outcome] + 1
end

local function wait(id, delay)
  redis.call('ZADD', queue, now + delay, id)
  ready = true
end

local finish = {}

local function forget(id)
  forgotten[#forgotten + 1] = 'arq:job:' .. id
  forgotten[#forgotten + 1] = 'momentus:' .. tag .. ':history:' .. id
end

function finish.done(id, _, _, result, life)
  leave(id, 'done', result, life)
  forget(id)
end

function finish.cancelled(id, _, _, result, life)
  leave(id, 'cancelled', result, life)
  forget(id)
end

function finish.dead(id, attempt, _, result, life, reason)
  remember(id, attempt, 'dead', reason)
  leave(id, 'dead', result, life)
  redis.call('ZADD', dead, now, id)
end

function finish.retry(id, attempt, delay, _, _, reason)
  remember(id, attempt, 'retry', reason)
  redis.call('SET', 'arq:retry:' .. id, attempt)
  redis.call('SADD', retrying, id)
  wait(id, delay)
end

function finish.defer(id, attempt, delay, _, _, reason)
  if reason ~= '' then
    remember(id, attempt, 'deferred', reason)
  end
  if attempt > 1 then
    redis.call('SADD', retrying, id)
  end
  wait(id, delay)
end

local function settle(at)
  local id, token, outcome = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local attempt = tonumber(string.match(token, '%d+$'))
  settled[#settled + 1] = id
  forgotten[#forgotten + 1] = 'arq:in-progress:' .. id
  if string.sub(outcome, -1) == '+' then
    outcome = string.sub(outcome, 1, -2)
    redis.call('HINCRBY', counters, 'uncertain:' .. lane, 1)
    remember(id, attempt, 'uncertain', 'the effect began and its outcome is unknown')
  end
  finish[outcome](id, attempt, tonumber(ARGV[at + 3]), ARGV[at + 4], ARGV[at + 5], ARGV[at + 6])
end

-- A recompute that was asked for while this one ran is queued now.
local function queue_next(id)
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
  ready = true
end

local running = {}
for at = 3, #ARGV, FIELDS do
  running[#running + 1] = 'arq:in-progress:' .. ARGV[at]
end
local tokens = redis.call('MGET', unpack(running))
for n, token in ipairs(tokens) do
  local at = 3 + (n - 1) * FIELDS
  reply[n] = token == ARGV[at + 1] and 1 or 0
  if reply[n] == 1 then
    settle(at)
  end
end

if #settled > 0 then
  redis.call('DEL', unpack(forgotten))
  redis.call('ZREM', leases, unpack(settled))
  for _, hash in ipairs({lapses, effects}) do
    if redis.call('HLEN', hash) > 0 then
      redis.call('HDEL', hash, unpack(settled))
    end
  end
end
if #leaving > 0 then
  redis.call('ZREM', queue, unpack(leaving))
  if redis.call('SCARD', adopted) > 0 then
    redis.call('SREM', adopted, unpack(leaving))
  end
  if redis.call('SCARD', cancelled) > 0 then
    redis.call('SREM', cancelled, unpack(leaving))
  end
  if has_following then
    for _, id in ipairs(leaving) do
      queue_next(id)
    end
  end
  local minute = 'momentus:' .. tag .. ':minute:' .. math.floor(now / 60000)
  redis.call('HINCRBY', minute, 'out:' .. lane, #leaving)
  redis.call('PEXPIRE', minute, 3600000)
end
for outcome, count in pairs(ended) do
  if count > 0 then
    redis.call('HINCRBY', counters, outcome .. ':' .. lane, count)
  end
end
if ready and redis.call('LLEN', wake) == 0 then
  redis.call('LPUSH', wake, '1')
end
return reply
