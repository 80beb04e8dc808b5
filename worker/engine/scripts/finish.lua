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
-- ARGV[1]  lane
-- ARGV[2]  hash tag, braces included
-- ARGV[3…] seven per job: id, token, outcome, delay (ms), result ("" for none), result's life (ms), reason
--          outcome: "done"; "retry" (counts as an attempt); "defer" (does not: shutdown, hold, unknown kind);
--          "dead"; a "+" behind it says that the effect began and its outcome is unknown
--
-- Also touches, with the same tag: arq:job:<id>, arq:in-progress:<id>, arq:retry:<id>, arq:result:<id>,
-- momentus:{group}:history:<id>, momentus:{group}:minute:<n>.
--
-- Returns  one number per job: 1 recorded, 0 refused (the lease was lost)
--
-- Invariant: accepted = done + discarded + vanished (the counters) + ZCARD of dead + ZCARD of the queue (waiting
-- and leased), for every lane, after every call.

local queue, leases, wake, counters = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local retrying, lapses, effects, dead, following = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local adopted = KEYS[10]
local has_adopted = redis.call('SCARD', adopted) > 0
local lane, tag = ARGV[1], ARGV[2]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local reply, ended, ready = {}, {done = 0, dead = 0}, false

local function remember(id, outcome, reason)
  local history = 'momentus:' .. tag .. ':history:' .. id
  local attempt = tonumber(redis.call('GET', 'arq:retry:' .. id) or 0)
  redis.call('RPUSH', history, cjson.encode({at_ms = now, attempt = attempt, outcome = outcome, reason = reason}))
  redis.call('LTRIM', history, -50, -1)
end

local function leave(id, outcome, result, life)
  redis.call('ZREM', queue, id)
  if has_adopted then
    redis.call('SREM', adopted, id)
  end
  if result ~= '' then
    redis.call('SET', 'arq:result:' .. id, result, 'PX', life)
  end
  ended[outcome] = ended[outcome] + 1
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

local finish = {}

function finish.done(id, _, result, life)
  leave(id, 'done', result, life)
  redis.call('DEL', 'arq:job:' .. id, 'arq:retry:' .. id, 'momentus:' .. tag .. ':history:' .. id)
  queue_next(id)
end

function finish.dead(id, _, result, life, reason)
  remember(id, 'dead', reason)
  leave(id, 'dead', result, life)
  redis.call('DEL', 'arq:retry:' .. id)
  redis.call('ZADD', dead, now, id)
  queue_next(id)
end

function finish.retry(id, delay, _, _, reason)
  remember(id, 'retry', reason)
  redis.call('SADD', retrying, id)
  redis.call('ZADD', queue, now + delay, id)
  ready = true
end

function finish.defer(id, delay, _, _, reason)
  if reason ~= '' then
    remember(id, 'deferred', reason)
  end
  if redis.call('DECR', 'arq:retry:' .. id) < 1 then
    redis.call('DEL', 'arq:retry:' .. id)
  else
    redis.call('SADD', retrying, id)
  end
  redis.call('ZADD', queue, now + delay, id)
  ready = true
end

for at = 3, #ARGV, 7 do
  local id, token, outcome = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if redis.call('GET', 'arq:in-progress:' .. id) == token then
    redis.call('DEL', 'arq:in-progress:' .. id)
    redis.call('ZREM', leases, id)
    redis.call('HDEL', lapses, id)
    redis.call('HDEL', effects, id)
    if string.sub(outcome, -1) == '+' then
      outcome = string.sub(outcome, 1, -2)
      redis.call('HINCRBY', counters, 'uncertain:' .. lane, 1)
      remember(id, 'uncertain', 'the effect began and its outcome is unknown')
    end
    finish[outcome](id, tonumber(ARGV[at + 3]), ARGV[at + 4], ARGV[at + 5], ARGV[at + 6])
    reply[#reply + 1] = 1
  else
    reply[#reply + 1] = 0
  end
end

local out = ended.done + ended.dead
if out > 0 then
  local minute = 'momentus:' .. tag .. ':minute:' .. math.floor(now / 60000)
  redis.call('HINCRBY', minute, 'out:' .. lane, out)
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
