-- Detection of refusals of many recipients at once, which are the server's fault; a part of suppress.lua.
--
-- A name is what the recipients have in common: their `domain:<domain>`, or the `account:<account>` that sent to them.
-- A name is in doubt if, within one minute or ten, many of its recipients were refused (FLOORS) and there was at least
-- one refusal for every four accepted recipients.
--
-- Reads    momentus:{mail}:taken:<hour>      HASH  "<minute> <name>" -> recipients that were taken
-- Keeps    momentus:{mail}:refused:<name>    ZSET  digest -> when it was refused (ms)
--          momentus:{mail}:believed:<name>   ZSET  digest -> the same, of those whose refusal counted
--          momentus:{mail}:doubts            HASH  name -> JSON {since_ms, last_ms, refused, taken}
--
-- Invariant: each costs the same whatever is kept. What counted shortly before a doubt began is taken back, FEW at
-- a time, by the refusals that follow.

local MINUTE, WINDOW, DAY, FEW = 60000, 10, 86400000, 20
local FLOORS = {domain = 5, account = 10}
local doubt = {}

local function count(name, at, minutes)
  local last = math.floor(at / MINUTE)
  local first = last - minutes + 1
  local refused = redis.call('ZCOUNT', 'momentus:{mail}:refused:' .. name, first * MINUTE, (last + 1) * MINUTE - 1)
  local taken = 0
  for minute = first, last do
    local key = 'momentus:{mail}:taken:' .. math.floor(minute / 60)
    taken = taken + (tonumber(redis.call('HGET', key, minute .. ' ' .. name) or 0) or 0)
  end
  return refused, taken
end

local function note(name, refused, taken, now)
  local key = 'momentus:{mail}:doubts'
  local known = redis.call('HGET', key, name)
  local readable, entry = pcall(cjson.decode, known or '')
  if not readable or type(entry) ~= 'table' or now - (tonumber(entry.last_ms) or 0) > WINDOW * MINUTE then
    entry = {since_ms = now}
  end
  entry.last_ms, entry.refused, entry.taken = now, refused, taken
  redis.call('HSET', key, name, cjson.encode(entry))
  redis.call('PEXPIRE', key, DAY)
end

-- Put a refusal beside the others of a name; whether the name is in doubt.
function doubt.is_in(name, digest, at, now)
  local key = 'momentus:{mail}:refused:' .. name
  redis.call('ZADD', key, at, digest)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - DAY)
  redis.call('PEXPIRE', key, DAY)
  for _, minutes in ipairs({1, WINDOW}) do
    local refused, taken = count(name, at, minutes)
    if refused >= FLOORS[string.match(name, '^%l+')] and refused * 4 >= taken then
      note(name, refused, taken, now)
      return true
    end
  end
  return false
end

-- Remember that a refusal counted.
function doubt.believe(name, digest, at, now)
  local key = 'momentus:{mail}:believed:' .. name
  redis.call('ZADD', key, at, digest)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - DAY)
  redis.call('PEXPIRE', key, DAY)
end

-- Some of the digests whose refusals counted in the time that is in doubt, each returned once; and when that began.
function doubt.take_back(name, at)
  local key = 'momentus:{mail}:believed:' .. name
  local since = at - WINDOW * MINUTE
  local found = redis.call('ZRANGEBYSCORE', key, since, at + MINUTE, 'LIMIT', 0, FEW)
  if #found > 0 then
    redis.call('ZREM', key, unpack(found))
  end
  return found, since
end

return doubt
