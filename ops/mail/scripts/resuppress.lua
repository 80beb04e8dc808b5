#!lua flags=allow-oom
-- Put back the reasons that a change has removed from the suppression list, where they are not on it again.
-- Also runs at the memory limit: no mail may go out because memory is full.
--
-- KEYS[1]  momentus:{mail}:undo:<number>:suppression  HASH  digest of an address -> its entry with the removed reasons
-- KEYS[2]  momentus:{mail}:suppression                HASH  digest -> JSON, see suppress.lua
-- KEYS[3]  momentus:{mail}:suppression:log            LIST  JSON, newest last
-- ARGV[1]  who does it
-- ARGV[2]  how many lines of the log are kept
--
-- Returns  {reasons that were put back, reasons that are on the list or over by now}
--
-- Invariant: a reason that is on the list stays as it is; each change is in the log.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local back, left = 0, 0

local function read(value)
  local readable, entry = pcall(cjson.decode, value or '')
  return readable and type(entry) == 'table' and type(entry.reasons) == 'table' and entry or nil
end

local function alive(one)
  return type(one) == 'table' and (type(one.until_ms) ~= 'number' or one.until_ms > now)
end

local function note(digest, name, evidence)
  local line = {at_ms = now, action = 'add', digest = digest, reason = name, by = ARGV[1], evidence = evidence}
  redis.call('RPUSH', KEYS[3], cjson.encode(line))
  redis.call('LTRIM', KEYS[3], -tonumber(ARGV[2]), -1)
end

local before = redis.call('HGETALL', KEYS[1])
for at = 1, #before, 2 do
  local digest, former = before[at], read(before[at + 1])
  local entry = read(redis.call('HGET', KEYS[2], digest)) or {domain = former and former.domain, reasons = {}}
  for name, one in pairs(former and former.reasons or {}) do
    if alive(one) and not alive(entry.reasons[name]) then
      entry.reasons[name] = one
      note(digest, name, one.evidence)
      back = back + 1
    else
      left = left + 1
    end
  end
  if next(entry.reasons) ~= nil then
    redis.call('HSET', KEYS[2], digest, cjson.encode(entry))
  end
end
redis.call('DEL', KEYS[1])
return {back, left}
