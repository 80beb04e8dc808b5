#!lua flags=allow-oom
-- Change limits and wake the jobs that wait for them. The loader puts blocked.lua before this.
-- Runs at the memory limit too: a new limit may stop the growth, and the end of one may free memory.
--
-- KEYS[1]  momentus:{group}:limits  HASH  see limits.lua
-- KEYS[2]  momentus:{group}:holds   HASH  "limit:<key>" -> JSON {until_ms, reason}; until_ms null: until released
-- ARGV[1]  hash tag, braces included
-- ARGV[2]  "set"; "keep": fields that are there stay as they are
-- ARGV[3…] two per change: field of KEYS[1], "hold:<key>" for a hold; and its content, "" for none.
--          Of a hold: "<for how long (ms), or nothing for until released> <reason>", "@<instant (ms)> <reason>"
--
-- Returns  for each change 1 when something is another than before, else 0
--
-- Invariant: a job that waits for a limit which may have room now becomes due now.

local blocked = require_blocked()
local definitions, holds = KEYS[1], KEYS[2]
local tag, keep = ARGV[1], ARGV[2] == 'keep'
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local FIRST = 100 -- of those that a limit holds back; each that is taken brings the next

local function change(hash, field, content)
  local before = redis.call('HGET', hash, field)
  if content == (before or '') or (before and keep) then
    return 0
  elseif content == '' then
    return redis.call('HDEL', hash, field)
  end
  redis.call('HSET', hash, field, content)
  return 1
end

local function written_hold(content)
  local instant, time, reason = string.match(content, '^(@?)(%d*) ?(.*)$')
  if content == '' then
    return ''
  end
  local until_ms = tonumber(time)
  if until_ms and instant == '' then
    until_ms = now + until_ms
  end
  return cjson.encode({until_ms = until_ms or cjson.null, reason = reason})
end

-- Lanes with limits of their own may go on.
local function wake_lanes()
  for _, field in ipairs(redis.call('HKEYS', definitions)) do
    local lane = string.match(field, '^lane:(.+)$')
    if lane then
      blocked.wake(tag, lane)
    end
  end
end

local reply, is_changed = {}, false
for at = 3, #ARGV, 2 do
  local field, content = ARGV[at], ARGV[at + 1]
  local held = string.match(field, '^hold:(.+)$')
  local changed = held and change(holds, 'limit:' .. held, written_hold(content)) or change(definitions, field, content)
  if changed == 1 then
    blocked.promote(tag, held or string.match(field, '^slow:(.+)$') or field, FIRST, now)
    is_changed = true
  end
  reply[#reply + 1] = changed
end
if is_changed then
  wake_lanes()
end
return reply
