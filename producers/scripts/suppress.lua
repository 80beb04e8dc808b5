-- Put one reason not to write to an address on the list, count a failure towards it, or take reasons off it.
--
-- KEYS[1]  momentus:{mail}:suppression      HASH  digest of an address -> JSON, see below
-- KEYS[2]  momentus:{mail}:suppression:log  LIST  JSON, newest last: who changed what
-- KEYS[3]  momentus:{mail}:failures:<digest> ZSET  day since 1970 -> the last failure of that day (ms); only "count"
-- ARGV[1]  "add", "remove", or "count": add if the address failed on so many days
-- ARGV[2]  digest: SHA-256 in hex of the address in lower case
-- ARGV[3]  reason; "" with "remove": all of them
-- ARGV[4]  scope: "all" or "stream:<name>"; "" with "remove": all of them
-- ARGV[5]  life in ms, "" for ever
-- ARGV[6]  who
-- ARGV[7]  evidence: a job's id or a report's; may be ""
-- ARGV[8]  the address's domain, for people
-- ARGV[9]  how many lines of the log are kept
-- ARGV[10] with "count": on how many days
-- ARGV[11] with "count": within how many ms
--
-- Returns  how many reasons were added or removed; 0: it stood so already
--
-- A value is {"domain", "reasons": {"<reason> <scope>": {"at_ms", "until_ms", "by", "evidence"}}}; no until_ms: for ever.
--
-- Invariant: a reason is never shortened by adding it again; every change is in the log; an address without reasons
-- is not on the list.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local action, digest, reason, scope, by, evidence = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[6], ARGV[7]
local known = redis.call('HGET', KEYS[1], digest)
local readable, entry = pcall(cjson.decode, known or '')
if not readable or type(entry) ~= 'table' or type(entry.reasons) ~= 'table' then
  entry = {domain = ARGV[8], reasons = {}} -- a value written by hand; one that nobody can read is replaced
  if known and action == 'remove' then
    return redis.call('HDEL', KEYS[1], digest)
  end
end

local function note(name)
  local line = {at_ms = now, action = action == 'remove' and 'remove' or 'add', digest = digest, reason = name, by = by, evidence = evidence}
  redis.call('RPUSH', KEYS[2], cjson.encode(line))
  redis.call('LTRIM', KEYS[2], -tonumber(ARGV[9]), -1)
end

local function alive(one)
  return not one.until_ms or one.until_ms > now
end

local function add()
  local name = reason .. ' ' .. scope
  local until_ms = ARGV[5] ~= '' and now + tonumber(ARGV[5]) or nil
  local before = entry.reasons[name]
  if before and alive(before) and (not before.until_ms or (until_ms and before.until_ms >= until_ms)) then
    return 0
  end
  entry.reasons[name] = {at_ms = now, until_ms = until_ms, by = by, evidence = evidence}
  note(name)
  return 1
end

local function remove()
  local removed = 0
  for name in pairs(entry.reasons) do
    local its_reason, its_scope = string.match(name, '^(%S+) (.+)$')
    if (reason == '' or reason == its_reason) and (scope == '' or scope == its_scope) then
      entry.reasons[name] = nil
      note(name)
      removed = removed + 1
    end
  end
  return removed
end

-- Whether this failure, with those of other days, is enough.
local function failed_too_often()
  local window = tonumber(ARGV[11])
  redis.call('ZADD', KEYS[3], now, math.floor(now / 86400000))
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now - window)
  redis.call('PEXPIRE', KEYS[3], window)
  return redis.call('ZCARD', KEYS[3]) >= tonumber(ARGV[10])
end

local changed = 0
if action == 'remove' then
  changed = remove()
elseif action == 'add' or failed_too_often() then
  changed = add()
end
if changed == 0 then
  return 0
end
if next(entry.reasons) == nil then
  redis.call('HDEL', KEYS[1], digest)
else
  redis.call('HSET', KEYS[1], digest, cjson.encode(entry))
end
return changed
