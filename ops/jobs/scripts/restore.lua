#!lua flags=allow-oom
-- Bring back jobs that discard.lua has kept aside, as they were.
-- Also runs at the memory limit: it only moves existing data.
--
-- KEYS[1]  momentus:{group}:undo:<number>  LIST  JSON, see discard.lua
-- KEYS[2]  momentus:{group}:counters       HASH
-- KEYS[3]  momentus:{group}:adopted        SET   unfinished jobs of stock arq producers that were counted as accepted
-- KEYS[4]  momentus:{group}:limited        HASH  job id -> the limit that it names
-- KEYS[5]  momentus:{group}:keyed          HASH  job id -> "<until> <key>" …
-- ARGV[1]  hash tag, braces included
-- ARGV[2]  how many at most
--
-- Also touches, with the same tag: arq:job:<id>, arq:retry:<id>, arq:result:<id>, momentus:{group}:history:<id>,
-- momentus:{group}:unique:<key>,
-- momentus:{group}:lapses, momentus:{group}:effects, and of each lane arq:queue:{group}:<lane> and
-- momentus:{group}:<what>:<lane>, what being dead, parked, retrying and wake.
--
-- Returns  one per job: "restored", "taken" (its id or one of its keys is in use again), "vanished" (nothing was kept, or
--          no longer) or "ledger" (its end is in Postgres)
--
-- Invariant: each is restored at most once. A restored job counts as accepted once more, and stays counted as discarded, so
-- that accepted = done + suppressed + discarded + vanished + cancelled + expired + dead + queue stays true and no count
-- ever falls. A job that is alive again is left alone.

local aside, counters, adopted, limited, keyed = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local tag = ARGV[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function of_group(what)
  return 'momentus:' .. tag .. ':' .. what
end

local function is_taken(it)
  for key, value in pairs(it.keys or {}) do
    local held = redis.call('GET', of_group('unique:' .. key))
    if held and held ~= value then
      return true
    end
  end
  return redis.call('EXISTS', 'arq:job:' .. it.id) == 1
    or redis.call('ZSCORE', 'arq:queue:' .. tag .. ':' .. it.lane, it.id)
    or redis.call('ZSCORE', of_group('dead:' .. it.lane), it.id)
end

local function move(from, to)
  if redis.call('EXISTS', from) == 1 then
    redis.call('RENAME', from, to)
    redis.call('PERSIST', to)
  end
end

local function give_back_result(it, result)
  redis.call('DEL', 'arq:result:' .. it.id) -- of another run under the same id, that has ended
  if redis.call('EXISTS', result) == 1 then
    move(result, 'arq:result:' .. it.id)
    if it.result_until then
      redis.call('PEXPIREAT', 'arq:result:' .. it.id, it.result_until)
    end
  end
end

local function give_back_keys(it)
  for key, value in pairs(it.keys or {}) do
    redis.call('SET', of_group('unique:' .. key), value)
  end
  if it.keyed then
    redis.call('HSET', keyed, it.id, it.keyed)
  end
end

local function give_back_notes(it)
  local notes = {[limited] = it.limit, [of_group('lapses')] = it.lapses, [of_group('effects')] = it.effect,
    [of_group('parked:' .. it.lane)] = it.parked}
  for key, value in pairs(notes) do
    redis.call('HSET', key, it.id, value)
  end
  if it.attempts then
    redis.call('SET', 'arq:retry:' .. it.id, it.attempts)
  end
end

local function place(it)
  if it.dead then
    redis.call('ZADD', of_group('dead:' .. it.lane), it.dead, it.id)
    return
  end
  redis.call('ZADD', 'arq:queue:' .. tag .. ':' .. it.lane, it.due, it.id)
  if it.retrying then
    redis.call('SADD', of_group('retrying:' .. it.lane), it.id)
  end
  if it.adopted then
    redis.call('SADD', adopted, it.id)
  end
  local wake = of_group('wake:' .. it.lane)
  if redis.call('LLEN', wake) == 0 then
    redis.call('LPUSH', wake, '1')
  end
end

local function restore(it)
  local job, past, history = aside .. ':job:' .. it.id, aside .. ':history:' .. it.id, of_group('history:' .. it.id)
  local result = aside .. ':result:' .. it.id
  if it.ledger then
    return 'ledger'
  elseif redis.call('EXISTS', job) == 0 then
    return 'vanished'
  elseif is_taken(it) then
    redis.call('DEL', job, past, result)
    return 'taken'
  end
  move(job, 'arq:job:' .. it.id)
  move(past, history)
  give_back_result(it, result)
  give_back_keys(it)
  give_back_notes(it)
  place(it)
  redis.call('HINCRBY', counters, 'accepted:' .. it.lane, 1)
  redis.call('RPUSH', history, cjson.encode({at_ms = now, attempt = 0, outcome = 'restored', reason = ''}))
  redis.call('LTRIM', history, -50, -1)
  return 'restored'
end

local reply = {}
for at, entry in ipairs(redis.call('LRANGE', aside, 0, ARGV[2] - 1)) do
  reply[at] = restore(cjson.decode(entry))
end
redis.call('LTRIM', aside, #reply, -1)
return reply
