-- Add one reason against an address to the suppression list, count a server's refusal, or remove reasons.
--
-- KEYS[1]  momentus:{mail}:suppression      HASH  digest of an address -> JSON, see below
-- KEYS[2]  momentus:{mail}:suppression:log  LIST  JSON, newest last: who changed what
-- KEYS[3]  momentus:{mail}:failures:<digest> ZSET  day since 1970 -> the last failure of that day (ms)
-- ARGV[1]  "add"; "remove"; or a refusal, unless many are refused at once: "hard" adds, "counted" adds if the address
--          failed on so many days, "none" does neither
-- ARGV[2]  digest: SHA-256 in hex of the address in lower case
-- ARGV[3]  reason; "" with "remove": all of them
-- ARGV[4]  scope: "all" or "stream:<name>"; "" with "remove": all of them
-- ARGV[5]  life in ms, "" for permanent
-- ARGV[6]  source: the program or user
-- ARGV[7]  evidence: a job's id or a report's; may be ""
-- ARGV[8]  the address's domain, for operators
-- ARGV[9]  how many lines of the log are kept
-- ARGV[10] with refusals: on how many days
-- ARGV[11] with refusals: within how many ms
-- ARGV[12] with refusals: the account by which it was written to, "" if that is not known
-- ARGV[13] with refusals: when its mail was handed over (ms), "" for now
--
-- Also touches, with refusals: momentus:{mail}:failures:<digest> of others, and what doubt.lua names, which stands
-- before this.
--
-- Returns  how many reasons were added or removed; 0: it stood so already. -1: the refusal is in doubt, it was one of
--          many, and nothing counts
--
-- A value is {"domain", "reasons": {"<reason> <scope>": {"at_ms", "until_ms", "by", "evidence"}}}; no until_ms: for ever.
--
-- Invariant: a reason is never shortened by adding it again; every change is in the log; an address without reasons
-- is not on the list; a refusal in doubt adds nothing.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local action, digest, reason, scope, by, evidence = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[6], ARGV[7]
local REFUSALS = {hard = 'hard_bounce', counted = 'soft_bounce', none = ''}

local function read(of)
  local known = redis.call('HGET', KEYS[1], of)
  local readable, entry = pcall(cjson.decode, known or '')
  if readable and type(entry) == 'table' and type(entry.reasons) == 'table' then
    return entry, true
  end
  return {domain = ARGV[8], reasons = {}}, not known -- a value written by hand; an unreadable one is replaced
end

local function write(of, entry)
  if next(entry.reasons) == nil then
    redis.call('HDEL', KEYS[1], of)
  else
    redis.call('HSET', KEYS[1], of, cjson.encode(entry))
  end
end

local function note(what, of, name)
  local line = {at_ms = now, action = what, digest = of, reason = name, by = by, evidence = evidence}
  redis.call('RPUSH', KEYS[2], cjson.encode(line))
  redis.call('LTRIM', KEYS[2], -tonumber(ARGV[9]), -1)
end

local function alive(one)
  return not one.until_ms or one.until_ms > now
end

local function add()
  local entry = read(digest)
  local name = reason .. ' ' .. scope
  local until_ms = ARGV[5] ~= '' and now + tonumber(ARGV[5]) or nil
  local before = entry.reasons[name]
  if before and alive(before) and (not before.until_ms or (until_ms and before.until_ms >= until_ms)) then
    return 0
  end
  entry.reasons[name] = {at_ms = now, until_ms = until_ms, by = by, evidence = evidence}
  note('add', digest, name)
  write(digest, entry)
  return 1
end

-- Those of an address that fit and were not added before an instant.
local function remove(of, its_reason, its_scope, since)
  local entry, readable = read(of)
  if not readable then
    return redis.call('HDEL', KEYS[1], of)
  end
  local removed = 0
  for name, one in pairs(entry.reasons) do
    local this_reason, this_scope = string.match(name, '^(%S+) (.+)$')
    local fits = (its_reason == '' or its_reason == this_reason) and (its_scope == '' or its_scope == this_scope)
    local added = type(one) == 'table' and tonumber(one.at_ms) or 0
    if fits and added >= since then
      entry.reasons[name] = nil
      note('remove', of, name)
      removed = removed + 1
    end
  end
  if removed > 0 then
    write(of, entry)
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

local function take_back(doubt, name, at)
  evidence = 'one of many refused at once'
  local found, since = doubt.take_back(name, at)
  for _, of in ipairs(found) do
    remove(of, 'hard_bounce', 'all', since)
    remove(of, 'soft_bounce', 'all', since)
    redis.call('ZREM', 'momentus:{mail}:failures:' .. of, math.floor(now / 86400000))
  end
end

-- A refusal: an account is asked only about those whose domain is not in doubt itself.
local function weigh()
  local doubt = require_doubt()
  local at = tonumber(ARGV[13]) or now
  local names = {'domain:' .. ARGV[8]}
  if ARGV[12] ~= '' then
    names[2] = 'account:' .. ARGV[12]
  end
  for _, name in ipairs(names) do
    if doubt.is_in(name, digest, at, now) then
      take_back(doubt, name, at)
      return -1
    end
  end
  if action == 'none' then
    return 0
  end
  for _, name in ipairs(names) do
    doubt.believe(name, digest, at, now)
  end
  if action == 'hard' or failed_too_often() then
    return add()
  end
  return 0
end

if REFUSALS[action] then
  reason, scope = REFUSALS[action], 'all'
  return weigh()
elseif action == 'remove' then
  return remove(digest, reason, scope, 0)
end
return add()
