#!lua flags=allow-oom
-- Lease up to k due jobs of one lane to a worker, within limits.
-- Runs at the memory limit too: claiming jobs leads to free memory.
--
-- KEYS[1]  arq:queue:{group}:<lane>          ZSET  job id -> due time, or lease deadline while it runs (ms)
-- KEYS[2]  momentus:{group}:leases:<lane>    ZSET  running job id -> lease deadline (ms)
-- KEYS[3]  momentus:{group}:wake:<lane>      LIST  at most one token
-- KEYS[4]  momentus:{group}:counters         HASH
-- KEYS[5]  momentus:{group}:retrying:<lane>  SET   waiting job ids that failed before
-- KEYS[6]  momentus:{group}:lapses           HASH  job id -> leases lost so far, in tenths
-- KEYS[7]  momentus:{group}:effects          HASH  job id -> attempt whose effect has begun
-- KEYS[8]  momentus:{group}:dead:<lane>      ZSET  job ids that were given up
-- KEYS[9]  momentus:{group}:adopted          SET   jobs of stock arq producers that were counted as accepted
-- KEYS[10] momentus:{group}:next             HASH  job id -> "<due ms> <payload>" to queue when the run ends
-- KEYS[11] momentus:{group}:holds            HASH  "lane:<lane>" -> JSON {until_ms, reason}; no until_ms: for ever
-- KEYS[12] momentus:{group}:cancelled        SET   running jobs that are to be stopped
-- KEYS[13] momentus:{group}:parked:<lane>    HASH  waiting jobs that are not to run yet -> JSON {why, needs, reason}
-- KEYS[14] momentus:{group}:progress         HASH  job id -> its progress, in JSON
-- KEYS[15] momentus:{group}:dataset          HASH  id, and counts of losses
-- ARGV[1]  lane
-- ARGV[2]  hash tag, braces included
-- ARGV[3]  worker id
-- ARGV[4]  k; 0: lease no job, but wake another worker if jobs wait
-- ARGV[5]  lease (ms)
-- ARGV[6]  number of lost leases after which a job is dead with reason crash_loop; one that its worker reports later
--          counts as a tenth. A job that would be dead after one more runs beside no other such job of the group
-- ARGV[7]  id of the data that the worker knows, "" for none
-- ARGV[8]  1: end at once if no job is due, without a look at leases and limits; for a claim behind a blocking read
--
-- Also touches, with the same tag: arq:job:<id>, arq:in-progress:<id>, arq:retry:<id>, momentus:{group}:history:<id>,
-- and the keys of claim_limits.lua, limits.lua, blocked.lua, unique.lua, uncertain.lua and ledger.lua, which stand
-- before this.
--
-- Returns  {now, next, id, payload, attempt, due, effect, limit, …}: the time (ms), the time at which the next job
--          is due, a lease lapses or a limit has room again (-1: none), then six per job; effect is the earlier
--          attempt whose effect began with an unknown outcome, or 0; limit is the limit it counts against, or "".
--          {now, -2}: the data has another id than the worker knows; no job was leased
--
-- arq:retry:<id> counts the attempts that failed or were lost, so a successful first attempt needs no write.
--
-- Invariant: a job has at most one live lease. Its token is "<worker>:<attempt>", the value of arq:in-progress:<id>,
-- which a stock arq worker respects too. The key expires a millisecond before the deadline, so that it is gone when
-- the job is claimable. A lapsed lease is claimable because its deadline is its score: recovery needs no sweep.
--
-- A job is leased only if all its limits have room: one of its lane's, the first that has any, and its own. Their use
-- is recorded in this call. A lane whose limits have no room leaves its jobs in place; a job whose own limit has no
-- room is moved behind the other jobs. Neither counts as an attempt.

local queue, leases, wake, counters = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local retrying, lapses, effects, dead, adopted = KEYS[5], KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local following, holds, cancelled, parked, progress = KEYS[10], KEYS[11], KEYS[12], KEYS[13], KEYS[14]
local lane, tag, worker = ARGV[1], ARGV[2], ARGV[3]
local wanted, lease, crash_limit = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- Without the limits that the worker defined, no job may be leased.
if (redis.call('HGET', KEYS[15], 'id') or '') ~= ARGV[7] then
  return {now, -2}
end

-- Most lanes behind a blocking read have nothing: one of them got the token.
if ARGV[8] == '1' then
  local first = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')
  local due = tonumber(first[2] or -1)
  if not first[1] or due > now then
    return {now, math.min(2 ^ 52, due)}
  end
end

-- The end of the lane's hold (-1: until an operator releases it), nil for no hold.
local function held_until()
  local hold = redis.call('HGET', holds, 'lane:' .. lane)
  if not hold then
    return
  end
  local readable, content = pcall(cjson.decode, hold)
  local until_ms = readable and type(content) == 'table' and content.until_ms
  if type(until_ms) ~= 'number' then
    return -1 -- an unreadable hold counts: it was set to stop the lane
  elseif until_ms > now then
    return math.min(until_ms, 2 ^ 52)
  end
  redis.call('HDEL', holds, 'lane:' .. lane)
end

local held = held_until()
if held then
  return {now, held}
end

local function remember(id, entry)
  entry.at_ms = now
  local history, line = 'momentus:' .. tag .. ':history:' .. id, cjson.encode(entry)
  local length = redis.pcall('RPUSH', history, line)
  if type(length) == 'table' then -- the key has a wrong type; replace it rather than fail the job
    redis.call('DEL', history)
    redis.call('RPUSH', history, line)
  end
  redis.call('PERSIST', history) -- an earlier run under the same id may have set an expiry
end

local has_ledger -- known once the types were checked

-- Note the end of a job that no worker ran to its end.
local function note_end(id, state, attempt, reason, effect)
  if has_ledger then
    require_ledger().note(tag, id, {state = state, attempt = attempt, reply = reason, uncertain = effect > 0, at_ms = now})
  end
end

-- Fail before the first write if a key has a wrong type: a partial change could lose a job.
local function check_types()
  for _, key in ipairs({queue, leases, dead}) do
    redis.call('ZCARD', key)
  end
  for _, key in ipairs({retrying, adopted, cancelled}) do
    redis.call('SCARD', key)
  end
  for _, key in ipairs({counters, lapses, effects, following, parked, progress}) do
    redis.call('HLEN', key)
  end
  require_uncertain().check(tag)
  has_ledger = require_ledger().is_used(tag)
  for _, event in ipairs({'accepted:', 'dead:', 'vanished:', 'cancelled:', 'uncertain:', 'discarded:'}) do
    redis.call('HINCRBY', counters, event .. lane, 0)
  end
end

-- The earlier attempt whose effect began with an unknown outcome, counted once; 0 for none.
local function unknown_effect(id)
  local begun = redis.call('HGET', effects, id)
  if not begun then
    return 0
  end
  local attempt, note = string.match(begun, '^(%d+) ?(.*)$')
  attempt, note = attempt or 1, note or ''
  redis.call('HDEL', effects, id)
  redis.call('HINCRBY', counters, 'uncertain:' .. lane, 1)
  require_uncertain().list(tag, id, now)
  remember(id, {attempt = tonumber(attempt), outcome = 'uncertain', reason = note == '' and 'lease lost' or note .. ': lease lost'})
  return tonumber(attempt)
end

local superseded = false -- true if a job was queued that may be due before the ones passed over

-- Queue the next run that was requested while this job ran.
local function supersede(id)
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
  redis.call('ZADD', queue, due, id)
  superseded = true
  redis.call('HINCRBY', counters, 'accepted:' .. lane, 1)
  if redis.call('ZREM', dead, id) == 1 then
    redis.call('HINCRBY', counters, 'discarded:' .. lane, 1)
  end
end

local function forget_waiting(id)
  redis.call('HDEL', parked, id)
  redis.call('HDEL', progress, id)
end

local function bury(id, attempt, reason)
  check_types()
  forget_waiting(id)
  note_end(id, 'dead', attempt, reason, unknown_effect(id))
  redis.call('ZREM', queue, id)
  redis.call('ZREM', leases, id)
  redis.call('HDEL', lapses, id)
  redis.call('SREM', retrying, id)
  redis.call('SREM', adopted, id)
  redis.call('DEL', 'arq:retry:' .. id, 'arq:in-progress:' .. id)
  redis.call('ZADD', dead, now, id)
  remember(id, {attempt = attempt, outcome = 'dead', reason = reason})
  redis.call('HINCRBY', counters, 'dead:' .. lane, 1)
  supersede(id)
  require_blocked().leave(tag, lane, id, now, true)
end

-- Count a job of a stock arq producer as accepted, once: such a producer does not count its jobs.
local function adopt(id)
  if redis.call('SADD', adopted, id) == 1 then
    redis.call('HINCRBY', counters, 'accepted:' .. lane, 1)
  end
end

-- Bury a job with invalid data under one of its keys; the reason names the key.
local function quarantine(id, reason)
  check_types()
  if string.sub(id, 1, #tag) ~= tag then
    adopt(id)
  end
  bury(id, 0, reason)
end

-- End a due job without running it and count the event; a next run that was requested meanwhile is queued.
local function end_unrun(id, event)
  check_types()
  local is_forgotten = event == 'vanished' and has_ledger and require_ledger().forget(tag, id)
  forget_waiting(id)
  redis.call('ZREM', queue, id)
  redis.call('ZREM', leases, id)
  redis.call('SREM', cancelled, id)
  redis.call('SREM', retrying, id)
  redis.call('SREM', adopted, id)
  redis.call('HDEL', lapses, id)
  local attempt = redis.pcall('GET', 'arq:retry:' .. id)
  local effect = unknown_effect(id)
  if event == 'cancelled' then
    note_end(id, event, type(attempt) == 'string' and attempt or 0, 'its worker was lost', effect)
  end
  redis.call('DEL', 'arq:job:' .. id, 'arq:retry:' .. id, 'momentus:' .. tag .. ':history:' .. id)
  if not is_forgotten then -- one that is pushed again keeps its key
    require_unique().release(tag, {id})
  end
  redis.call('HINCRBY', counters, event .. ':' .. lane, 1)
  require_blocked().leave(tag, lane, id, now)
  supersede(id)
end

-- End a job without a payload: arq's payloads expire after a day, those of this project never.
local function vanish(id)
  local holds_instead = redis.call('TYPE', 'arq:job:' .. id).ok
  if holds_instead ~= 'none' then
    return quarantine(id, 'arq:job:' .. id .. ': holds a ' .. holds_instead .. ', must be a payload')
  end
  check_types()
  if string.sub(id, 1, #tag) ~= tag then
    adopt(id)
  end
  end_unrun(id, 'vanished')
end

-- Count a lapsed lease as an attempt. True if the job reached the crash limit.
local function lapsed_once_too_often(id, attempt)
  redis.call('HDEL', progress, id)
  redis.call('HINCRBY', counters, 'lapsed:' .. lane, 1)
  local lost = redis.pcall('HINCRBY', lapses, id, 10) -- finish.lua takes nine of them back
  if type(lost) == 'table' then -- the stored value is not a number: start again at one lapse
    redis.call('HSET', lapses, id, 10)
    lost = 10
  end
  if lost >= 10 * crash_limit then
    bury(id, attempt, 'crash_loop')
    return true
  end
  redis.call('SET', 'arq:retry:' .. id, attempt)
  return false
end

local SUSPECT = 10 * (crash_limit - 1) -- tenths of lost leases, from which the next one is the last
local PAUSE = 1000 -- (ms)
local suspect_runs -- nil until it is asked for

-- True if a job runs that would be dead if it lost its lease. Jobs that lost one are few, unless many workers just died.
local function does_suspect_run()
  if suspect_runs == nil then
    suspect_runs = false
    local all = redis.call('HGETALL', lapses)
    for at = 1, #all, 2 do
      if (tonumber(all[at + 1]) or 0) >= SUSPECT and redis.call('EXISTS', 'arq:in-progress:' .. all[at]) == 1 then
        suspect_runs = true
        break
      end
    end
  end
  return suspect_runs
end

-- True if a job whose lease lapsed is dead after one more. Of jobs that lose their workers together, again and again, one
-- may take them down; so that it takes no other with it at last, each has its last run without the others.
local function is_suspect(id)
  local lost = 10 + (tonumber(redis.call('HGET', lapses, id) or 0) or 0)
  return lost >= SUSPECT and lost < 10 * crash_limit
end

-- Let a lapsed job stay lapsed for a while.
local function postpone(id)
  redis.call('ZADD', queue, now + PAUSE, id)
  redis.call('ZADD', leases, now + PAUSE, id)
end

-- A limit that nobody defined may be held, and jobs may still wait for one that was removed.
local has_limits = redis.call('HLEN', 'momentus:' .. tag .. ':limits') + redis.call('HLEN', 'momentus:' .. tag .. ':limited') > 0
local rules = has_limits and require_claim_limits() or nil
local reply = {now, -1}
local taken, foreign = 0, 0
local has_effects = redis.call('HLEN', effects) > 0
local has_cancelled = redis.call('SCARD', cancelled) > 0
local has_parked = redis.call('HLEN', parked) > 0
if has_effects then
  require_uncertain().check(tag)
end
redis.call('LLEN', wake) -- fails before the first lease if the key has a wrong type
local LATEST = 2 ^ 52 -- (ms); a score may be any number, a reply is a whole number

local function keys_of(prefix, due)
  local keys = {}
  for at = 1, #due, 2 do
    keys[#keys + 1] = prefix .. due[at]
  end
  return keys
end

-- True if an id is well-formed UTF-8 (Unicode 15.0, table 3-7), so that other languages can read it.
local function is_utf8(id)
  if string.find(id, '\224[\128-\159]') or string.find(id, '\237[\160-\191]') then
    return false -- overlong, a surrogate
  elseif string.find(id, '\240[\128-\143]') or string.find(id, '\244[\144-\191]') then
    return false -- overlong, beyond Unicode
  end
  local rest = id
  for _, sequence in ipairs({'[\240-\244][\128-\191][\128-\191][\128-\191]', '[\224-\239][\128-\191][\128-\191]', '[\194-\223][\128-\191]'}) do
    rest = string.gsub(rest, sequence, ' ')
  end
  return not string.find(rest, '[\128-\255]')
end

-- The reason why no worker can run a due job, or nil.
local function fault(id, failed)
  if string.find(id, '[\128-\255]') and not is_utf8(id) then
    return 'id: must be UTF-8'
  elseif failed and (#failed > 9 or not string.find(failed, '^%d+$')) then
    return 'arq:retry:' .. id .. ': must hold a number of attempts'
  end
end

-- Pass over a job that a stock arq worker runs; bury one with a lock that never expires.
local function pass_over(id)
  local lock = 'arq:in-progress:' .. id
  if redis.call('TYPE', lock).ok ~= 'string' or redis.call('PTTL', lock) == -1 then
    return quarantine(id, lock .. ': must hold the token of a worker')
  end
  foreign = foreign + 1
end

-- Lease one due job. Returns its attempt and the key of its limit, nil if it cannot be leased.
local function take(id, payload, failed, deadline, own_key, due)
  if not payload then
    vanish(id)
    return
  end
  if has_cancelled and redis.call('SISMEMBER', cancelled, id) == 1 then
    end_unrun(id, 'cancelled') -- it was cancelled while it ran, and then lost its worker
    return
  end
  local reason = fault(id, failed)
  if reason then
    quarantine(id, reason)
    return
  end
  if rules and not rules.let_through(id, own_key, due) then
    return
  end
  local suspect = deadline and is_suspect(id)
  if suspect and does_suspect_run() then
    postpone(id)
    return
  end
  local attempt = tonumber(failed or 0) + (deadline and 2 or 1)
  if not redis.call('SET', 'arq:in-progress:' .. id, worker .. ':' .. attempt, 'NX', 'PX', lease - 1) then
    pass_over(id)
    return
  end
  if has_parked then
    redis.call('HDEL', parked, id)
  end
  if deadline and lapsed_once_too_often(id, attempt - 1) then
    return
  end
  suspect_runs = suspect or suspect_runs
  if string.sub(payload, 1, 5) ~= '{"v":' then
    adopt(id)
  end
  if attempt > 1 then
    redis.call('SREM', retrying, id)
  end
  return attempt, rules and rules.take(id, own_key) or ''
end

if rules then
  rules.open({tag = tag, lane = lane, queue = queue, holds = holds,
    cancelled = has_cancelled and cancelled or nil, now = now, wanted = wanted})
end
repeat
  local window = rules and math.min(wanted - taken, rules.room()) or wanted - taken
  if window < 1 then
    break
  end
  local due = redis.call('ZRANGE', queue, '-inf', now, 'BYSCORE', 'LIMIT', foreign, window, 'WITHSCORES')
  if #due == 0 then
    break
  end
  local ids = keys_of('', due)
  local payloads = redis.call('MGET', unpack(keys_of('arq:job:', due)))
  local failed = redis.call('MGET', unpack(keys_of('arq:retry:', due)))
  local deadlines = redis.call('ZMSCORE', leases, unpack(ids))
  local named = rules and rules.named(ids) or {}
  local scores = {}
  for at, id in ipairs(ids) do
    local attempt, limit = take(id, payloads[at], failed[at], deadlines[at], named[at], due[2 * at])
    if attempt then
      local n = #reply
      reply[n + 1], reply[n + 2], reply[n + 3], reply[n + 4] = id, payloads[at], attempt, math.max(0, tonumber(due[2 * at]))
      reply[n + 5], reply[n + 6] = has_effects and unknown_effect(id) or 0, limit
      scores[#scores + 1], scores[#scores + 2] = now + lease, id
      taken = taken + 1
    end
  end
  if #scores > 0 then
    redis.call('ZADD', queue, unpack(scores))
    redis.call('ZADD', leases, unpack(scores))
  end
  if rules then
    rules.end_round(foreign)
  end
until taken == wanted or #ids < window or (rules and rules.is_enough())
if rules then
  rules.close()
end

local is_short = false -- true if limits hold back due jobs
local AHEAD = 3600000 -- (ms) beyond now; every lease is shorter

-- A lease that ends that late was taken before the clock was set back. Let it end as if taken now: a live worker
-- renews it, and the jobs of a killed worker wait no longer than a lease.
local function shorten_leases()
  local latest = redis.call('ZRANGE', leases, 0, 0, 'REV', 'WITHSCORES')[2]
  if not latest or tonumber(latest) <= now + AHEAD then
    return
  end
  for _, id in ipairs(redis.call('ZRANGE', leases, now + AHEAD, '+inf', 'BYSCORE', 'LIMIT', 0, 1000)) do
    redis.call('ZADD', leases, now + lease, id)
    redis.call('ZADD', queue, 'XX', now + lease, id)
    redis.call('PEXPIRE', 'arq:in-progress:' .. id, lease - 1)
  end
end

if taken < wanted then -- skipped while there are more jobs than slots
  shorten_leases()
end

local first = superseded and 0 or foreign
local following_one = redis.call('ZRANGE', queue, '-inf', '+inf', 'BYSCORE', 'LIMIT', first, 1, 'WITHSCORES')
if following_one[2] then
  reply[2] = math.min(LATEST, math.max(now, tonumber(following_one[2])))
  if reply[2] == now and rules and rules.room() < 1 then
    reply[2], is_short = rules.free_at(), true
  end
  if reply[2] == now and redis.call('LLEN', wake) == 0 then
    redis.call('LPUSH', wake, '1') -- wake another worker for the remaining jobs
  end
end
if rules then
  rules.end_turn(taken, is_short)
end
return reply
