#!lua flags=allow-oom
-- Record the outcomes of jobs of one lane. Refused for every job whose lease the caller has lost.
-- Runs at the memory limit too: finishing jobs frees memory.
--
-- KEYS[1]  arq:queue:{group}:<lane>          ZSET  job id -> due time, or lease deadline while it runs (ms)
-- KEYS[2]  momentus:{group}:leases:<lane>    ZSET  running job id -> lease deadline (ms)
-- KEYS[3]  momentus:{group}:wake:<lane>      LIST  at most one token
-- KEYS[4]  momentus:{group}:counters         HASH
-- KEYS[5]  momentus:{group}:retrying:<lane>  SET   waiting job ids that failed before
-- KEYS[6]  momentus:{group}:lapses           HASH  job id -> leases lost so far, in tenths
-- KEYS[7]  momentus:{group}:effects          HASH  job id -> attempt whose effect has begun
-- KEYS[8]  momentus:{group}:dead:<lane>      ZSET  job ids that were given up
-- KEYS[9]  momentus:{group}:next             HASH  job id -> "<due ms> <payload>" to queue when the run ends
-- KEYS[10] momentus:{group}:adopted          SET   jobs of stock arq producers that were counted as accepted
-- KEYS[11] momentus:{group}:cancelled        SET   running jobs that are to be stopped
-- KEYS[12] momentus:{group}:parked:<lane>    HASH  waiting jobs that are not to run yet -> JSON {why, needs, reason}
-- KEYS[13] momentus:{group}:progress         HASH  job id -> its progress, in JSON
-- ARGV[1]  lane
-- ARGV[2]  hash tag, braces included
-- ARGV[3…] eight per job: id, token, outcome, delay (ms), result ("" for none), result's life (ms), reason, limit
--          (the one it counts against since the claim, "" for none)
--          outcome: "done"; "suppressed" (ended without being carried out, by an earlier request); "retry" (counts as
--          an attempt); "defer" (does not: shutdown, hold); "park" (does not: a kind or version that the worker does
--          not know, or an operator's decision; in place of the result it has its note in JSON); "dead"; "expired"
--          (its deadline passed before it could begin); "cancelled" (stopped by its sender or an operator); an
--          appended "+" means that the effect began and its outcome is unknown
--
-- Also touches, with the same tag: arq:job:<id>, arq:in-progress:<id>, arq:retry:<id>, arq:result:<id>,
-- momentus:{group}:history:<id>, momentus:{group}:minute:<n>, and the keys of unique.lua, blocked.lua,
-- uncertain.lua and ledger.lua, which stand before this.
--
-- Returns  one number per job: 1 recorded, 0 refused (the lease was lost)
-- Raises   for a key of the lane with a wrong type; no outcome was recorded
--
-- The history of a job is kept as long as its result, if there is one; also the history of a job that was cancelled
-- after its effect had begun.
--
-- Invariant: accepted = done + suppressed + discarded + vanished + cancelled + expired (the counters) + ZCARD of dead
-- + ZCARD of the queue (waiting and leased), for every lane, after every call.

local queue, leases, wake, counters = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local retrying, lapses, effects, dead, following = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local adopted, cancelled, parked, progress = KEYS[10], KEYS[11], KEYS[12], KEYS[13]
local lane, tag = ARGV[1], ARGV[2]
local FIELDS = 8
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local reply, ready = {}, false
local settled, leaving, forgotten = {}, {}, {} -- ids whose lease ends, ids that leave the queue, keys to delete
local gone, given_back = {}, {} -- ids that leave for good; by limit, ids that return their place
local counted = {} -- for each of the settled, the limit that it counts against since the claim
local remembered = {} -- histories that expire with the result of their job

-- Before the first write: each of these fails if its key has a wrong type.
local has_following = redis.call('HLEN', following) > 0
local has_adopted = redis.call('SCARD', adopted) > 0
local has_cancelled = redis.call('SCARD', cancelled) > 0
local has_parked = redis.call('HLEN', parked) > 0
local limited = 'momentus:' .. tag .. ':limited'
local has_limited = redis.call('HLEN', limited) > 0
local has_keyed = redis.call('HLEN', 'momentus:' .. tag .. ':keyed') > 0
local has_ledger = redis.call('HLEN', 'momentus:' .. tag .. ':ledger') > 0 and require_ledger().is_used(tag)
local per_job = {} -- non-empty hashes with fields of running jobs only
for _, hash in ipairs({lapses, effects, progress}) do
  if redis.call('HLEN', hash) > 0 then
    per_job[#per_job + 1] = hash
  end
end
redis.call('ZCARD', queue)
redis.call('ZCARD', leases)
redis.call('ZCARD', dead)
redis.call('SCARD', retrying)
redis.call('LLEN', wake)

local function remember(id, attempt, outcome, reason)
  local history = 'momentus:' .. tag .. ':history:' .. id
  local line = cjson.encode({at_ms = now, attempt = attempt, outcome = outcome, reason = reason})
  local length = redis.pcall('RPUSH', history, line)
  if type(length) == 'table' then -- the key has a wrong type; replace it rather than fail the job
    redis.call('DEL', history)
    redis.call('RPUSH', history, line)
  end
  redis.call('LTRIM', history, -50, -1)
  redis.call('PERSIST', history) -- an earlier run under the same id may have set an expiry
end

local function leave(id, result, life)
  leaving[#leaving + 1] = id
  forgotten[#forgotten + 1] = 'arq:retry:' .. id
  if result ~= '' then
    redis.call('SET', 'arq:result:' .. id, result, 'PX', life)
  end
end

local function wait(id, delay)
  redis.call('ZADD', queue, now + delay, id)
  ready = true
end

local function give_back(key, id)
  given_back[key] = given_back[key] or {}
  table.insert(given_back[key], id)
end

-- Return the places of jobs with a limit of their own; delete its name for jobs that leave for good.
local function give_back_own()
  if not has_limited then
    return
  end
  for n, key in ipairs(redis.call('HMGET', limited, unpack(settled))) do
    if key and key ~= counted[n] then
      give_back(key, settled[n])
    end
  end
  if #gone > 0 then
    redis.call('HDEL', limited, unpack(gone))
  end
end

local finish = {}
local uncertain = {} -- ids whose effect began, with an unknown outcome

local function forget(id, result, life)
  local history = 'momentus:' .. tag .. ':history:' .. id
  gone[#gone + 1] = id
  forgotten[#forgotten + 1] = 'arq:job:' .. id
  if result == '' then
    forgotten[#forgotten + 1] = history
  else
    remembered[#remembered + 1], remembered[history] = history, life
  end
end

function finish.done(id, _, _, result, life)
  leave(id, result, life)
  forget(id, result, life)
end

finish.suppressed = finish.done

function finish.cancelled(id, attempt, _, result, life, reason)
  local is_kept = uncertain[id] and tonumber(life) > 0 -- the effect may have happened before it was stopped
  if is_kept then
    remember(id, attempt, 'cancelled', reason)
  end
  leave(id, result, life)
  forget(id, is_kept and 'kept' or result, life)
end

function finish.expired(id, attempt, _, result, life, reason)
  remember(id, attempt, 'expired', reason)
  leave(id, result, life)
  forget(id, result, life)
end

function finish.dead(id, attempt, _, result, life, reason)
  remember(id, attempt, 'dead', reason)
  leave(id, result, life)
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

-- True if the history's last entry has this reason: a worker that cannot run a job may park it again and again.
local function is_noted(id, note)
  local last = redis.pcall('LINDEX', 'momentus:' .. tag .. ':history:' .. id, -1)
  local readable, entry = pcall(cjson.decode, type(last) == 'string' and last or '')
  return readable and entry.outcome == 'parked' and entry.reason == note
end

function finish.park(id, attempt, delay, note, _, reason)
  if not is_noted(id, reason) then
    remember(id, attempt, 'parked', reason)
  end
  if attempt > 1 then
    redis.call('SADD', retrying, id)
  end
  redis.call('HSET', parked, id, note)
  redis.call('ZADD', queue, now + delay, id)
end

local ENDS = {done = true, suppressed = true, dead = true, cancelled = true, expired = true}

-- What the ledger is told of a job's end: by which account, and the last words, which the result has or the reason is.
local function note_end(id, attempt, outcome, at)
  local readable, result = pcall(cjson.decode, ARGV[at + 4])
  local told = readable and type(result) == 'table' and result.r
  local account = type(told) == 'table' and told.account or string.match(ARGV[at + 7], '^account:(.+)$')
    or string.match(redis.call('HGET', effects, id) or '', '^%d+ (.+)$')
  local reply = type(told) == 'table' and (told.reply or told.reason) or ARGV[at + 6]
  require_ledger().note(tag, id, {state = outcome, attempt = attempt, account = account, reply = reply,
    uncertain = uncertain[id], at_ms = now})
end

local function settle(at)
  local id, token, outcome = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local attempt = tonumber(string.match(token, '^.*:(%d+)$'))
  settled[#settled + 1], counted[#settled + 1] = id, ARGV[at + 7]
  if ARGV[at + 7] ~= '' then
    give_back(ARGV[at + 7], id)
  end
  forgotten[#forgotten + 1] = 'arq:in-progress:' .. id
  if string.sub(outcome, -1) == '+' then
    outcome = string.sub(outcome, 1, -2)
    uncertain[id] = true
    local note = string.match(redis.call('HGET', effects, id) or '', '^%d+ (.+)$')
    remember(id, attempt, 'uncertain', (note and note .. ': ' or '') .. 'the effect began and its outcome is unknown')
    require_uncertain().list(tag, id, now)
  end
  if has_ledger and ENDS[outcome] then
    note_end(id, attempt, outcome, at)
  end
  finish[outcome](id, attempt, tonumber(ARGV[at + 3]), ARGV[at + 4], ARGV[at + 5], ARGV[at + 6])
end

-- Queue the next run that was requested while this job ran.
local function queue_next(id)
  local entry = redis.call('HGET', following, id)
  if not entry then
    return
  end
  redis.call('HDEL', following, id)
  local due, payload = string.match(entry, '^(%d+) (.*)$')
  if not due then
    return -- an invalid entry
  end
  redis.call('SET', 'arq:job:' .. id, payload)
  redis.call('PERSIST', 'momentus:' .. tag .. ':history:' .. id)
  redis.call('ZADD', queue, due, id)
  redis.call('HINCRBY', counters, 'accepted:' .. lane, 1)
  if redis.call('ZREM', dead, id) == 1 then
    redis.call('HINCRBY', counters, 'discarded:' .. lane, 1)
  end
  ready = true
end

-- A worker that reports a lost lease is alive and was only delayed: the job has not crashed it. Its report may come
-- before the lapse is counted. A tenth of the lapse stays, so that a job that delays its workers repeatedly ends too.
local function forgive(id)
  local lost = tonumber(redis.call('HGET', lapses, id) or 0)
  if lost and lost >= 0 and redis.call('ZSCORE', leases, id) and redis.call('HINCRBY', lapses, id, -9) == 0 then
    redis.call('HDEL', lapses, id)
  end
end

local running = {}
for at = 3, #ARGV, FIELDS do
  running[#running + 1] = 'arq:in-progress:' .. ARGV[at]
end
local events = {done = 0, suppressed = 0, dead = 0, cancelled = 0, expired = 0, uncertain = 0}
for n, token in ipairs(redis.call('MGET', unpack(running))) do
  local at = 3 + (n - 1) * FIELDS
  reply[n] = token == ARGV[at + 1] and 1 or 0
  local outcome, unknown = string.match(ARGV[at + 2], '^(%a+)(%+?)$')
  if reply[n] == 1 and events[outcome] then
    events[outcome] = events[outcome] + 1
  end
  if reply[n] == 1 and unknown ~= '' then
    events.uncertain = events.uncertain + 1
  end
end

if events.uncertain > 0 then
  require_uncertain().check(tag)
end

-- Counters come first, each tested with an increment of 0: an invalid one must not leave a partial change.
for _, share in ipairs({0, 1}) do
  for event, count in pairs(events) do
    if count > 0 then
      redis.call('HINCRBY', counters, event .. ':' .. lane, count * share)
    end
  end
end
for n, stands in ipairs(reply) do
  if stands == 1 then
    settle(3 + (n - 1) * FIELDS)
  end
end

if #settled > 0 then
  give_back_own()
  redis.call('DEL', unpack(forgotten))
  if has_keyed and #gone > 0 then
    require_unique().release(tag, gone)
  end
  redis.call('ZREM', leases, unpack(settled))
  for _, hash in ipairs(per_job) do
    redis.call('HDEL', hash, unpack(settled))
  end
end
for n, stands in ipairs(reply) do
  if stands == 0 then
    forgive(ARGV[3 + (n - 1) * FIELDS])
  end
end
if #remembered > 0 and redis.call('EXISTS', unpack(remembered)) > 0 then
  for _, history in ipairs(remembered) do
    redis.call('PEXPIRE', history, remembered[history])
  end
end
if #leaving > 0 then
  redis.call('ZREM', queue, unpack(leaving))
  if has_adopted then
    redis.call('SREM', adopted, unpack(leaving))
  end
  if has_cancelled then
    redis.call('SREM', cancelled, unpack(leaving))
  end
  if has_following then
    for _, id in ipairs(leaving) do
      queue_next(id)
    end
  end
  local minute = 'momentus:' .. tag .. ':minute:' .. math.floor(now / 60000)
  if type(redis.pcall('HINCRBY', minute, 'out:' .. lane, #leaving)) == 'number' then -- a statistic that may fail
    redis.call('PEXPIRE', minute, 3600000)
  end
end
if next(given_back) then
  require_blocked().give_back(tag, given_back, now)
end
if ready and redis.call('LLEN', wake) == 0 then
  redis.call('LPUSH', wake, '1')
end
return reply
