#!lua flags=allow-oom
-- Put dead jobs back into their queue, ready now, as if never tried; their history stays.
-- Also runs at the memory limit: it only moves existing data.
--
-- KEYS[1]  momentus:{group}:counters  HASH
-- KEYS[2]  momentus:{group}:adopted   SET   unfinished jobs of stock arq producers that were counted as accepted
-- KEYS[3…] three per lane, in the order of the lanes in ARGV:
--            momentus:{group}:dead:<lane>  ZSET  job id -> when it was given up (ms)
--            arq:queue:{group}:<lane>      ZSET  job id -> due time (ms)
--            momentus:{group}:wake:<lane>  LIST  at most one token
-- ARGV[1]  hash tag, braces included
-- ARGV[2]  0 if jobs of the ledger stay dead, because the caller cannot change their rows; else 1
-- ARGV[3]  how many lanes
-- ARGV[4…] the lanes, then the ids
--
-- Also touches, with the same tag: arq:job:<id>, arq:result:<id>, momentus:{group}:history:<id>, momentus:{group}:limited,
-- and what unique.lua and ledger.lua name, which stand before this.
--
-- Returns  two per id: "revived", "vanished" (its payload is gone), "erased" (its content was erased: it stays dead) or
--          "needs_ledger" (it stays dead, see ARGV[2]), and the lane; or "not dead" and ""
--
-- Invariant: every id that was dead, has content and may leave is no longer dead. Dead minus one is queue plus one, or `vanished` plus one,
-- so that accepted = done + suppressed + discarded + vanished + cancelled + expired + dead + queue stays true. `revived` counts for
-- operators only. A job of a stock arq producer was counted as accepted, and is marked so, lest the next claim
-- count it again.

local counters, adopted = KEYS[1], KEYS[2]
local tag, has_ledger, lanes = ARGV[1], ARGV[2] == '1', tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function bring_back(id, lane, queue, wake)
  local history = 'momentus:' .. tag .. ':history:' .. id
  redis.call('DEL', 'arq:result:' .. id)
  if redis.call('EXISTS', 'arq:job:' .. id) == 0 then
    redis.call('DEL', history)
    redis.call('HDEL', 'momentus:' .. tag .. ':limited', id)
    require_unique().release(tag, {id})
    redis.call('HINCRBY', counters, 'vanished:' .. lane, 1)
    return 'vanished'
  end
  if redis.pcall('GETRANGE', 'arq:job:' .. id, 0, 4) ~= '{"v":' or string.sub(id, 1, #tag) ~= tag then
    redis.call('SADD', adopted, id)
  end
  require_ledger().revive(tag, id)
  redis.call('ZADD', queue, now, id)
  redis.call('RPUSH', history, cjson.encode({at_ms = now, attempt = 0, outcome = 'revived', reason = ''}))
  redis.call('LTRIM', history, -50, -1)
  redis.call('HINCRBY', counters, 'revived:' .. lane, 1)
  if redis.call('LLEN', wake) == 0 then
    redis.call('LPUSH', wake, '1')
  end
  return 'revived'
end

local TOMBSTONE = 4096 -- bytes; what is left of an erased payload is a few hundred

-- In the bytes of a payload, where no text can hold it: a quote in a text has a backslash before it. A long payload
-- is not read, since copying 256 KiB takes longer than reviving the job.
local function is_erased(id)
  local length = redis.pcall('STRLEN', 'arq:job:' .. id)
  if type(length) ~= 'number' or length > TOMBSTONE then
    return false
  end
  local payload = redis.pcall('GET', 'arq:job:' .. id)
  return type(payload) == 'string' and string.find(payload, '"erased":true', 1, true)
end

local function revive(id)
  for n = 1, lanes do
    local first = 3 * n
    local lane = ARGV[3 + n]
    if redis.call('ZSCORE', KEYS[first], id) and is_erased(id) then
      return 'erased', lane
    elseif not has_ledger and redis.call('ZSCORE', KEYS[first], id) and require_ledger().day(id) then
      return 'needs_ledger', lane
    elseif redis.call('ZREM', KEYS[first], id) == 1 then
      return bring_back(id, lane, KEYS[first + 1], KEYS[first + 2]), lane
    end
  end
  return 'not dead', ''
end

require_ledger().is_used(tag)
local reply = {}
for at = 4 + lanes, #ARGV do
  reply[#reply + 1], reply[#reply + 2] = revive(ARGV[at])
end
return reply
