#!lua flags=allow-oom
-- Give mails that wait for a closed account to another one that may send for their sender. The loader puts blocked.lua
-- before this. Runs at the memory limit too: sending these mails frees memory.
--
-- KEYS[1]  momentus:{mail}:routed   HASH  job id -> "<lane> <limit> <limit> …": the accounts that may send it, in order
-- KEYS[2]  momentus:{mail}:limited  HASH  job id -> the limit of the account that it waits for
-- KEYS[3]  momentus:{mail}:holds    HASH  "limit:<key>" -> JSON {until_ms, reason}
-- ARGV[1]  hash tag, braces included
-- ARGV[2]  number of mails examined, drawn at random
--
-- Returns  number of mails that got another account
--
-- Invariant: a job that runs, or is bound for another reason, is not changed; a job that has left is removed here.

local blocked = require_blocked()
local routed, limited, holds, tag = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local closed = {} -- by limit; a cache of this call

local function is_closed(key)
  if closed[key] == nil then
    local hold = redis.call('HGET', holds, 'limit:' .. key)
    local readable, content = pcall(cjson.decode, hold or '')
    local until_ms = readable and type(content) == 'table' and tonumber(content.until_ms)
    closed[key] = hold ~= false and (not until_ms or until_ms > now)
  end
  return closed[key]
end

-- Return the first open limit of them, or nil.
local function first_open(keys)
  for key in string.gmatch(keys, '%S+') do
    if not is_closed(key) then
      return key
    end
  end
end

-- Move a job only if its limit blocks it: then it certainly does not run.
local function move(id, lane, before, after)
  if redis.call('ZSCORE', 'momentus:' .. tag .. ':blocked:' .. before, lane .. ' ' .. id) then
    blocked.release(tag, lane, {id}, before)
    redis.call('HSET', limited, id, after)
    redis.call('ZADD', 'arq:queue:' .. tag .. ':' .. lane, 'XX', now, id)
    blocked.wake(tag, lane)
    return 1
  end
  return 0
end

local moved = 0
local drawn = redis.call('HRANDFIELD', routed, ARGV[2], 'WITHVALUES')
for at = 1, #drawn, 2 do
  local id, lane, keys = drawn[at], string.match(drawn[at + 1], '^(%S+) (.+)$')
  local key = redis.call('HGET', limited, id)
  if not key or not lane then
    redis.call('HDEL', routed, id)
  elseif is_closed(key) then
    local other = first_open(keys)
    moved = moved + (other and move(id, lane, key, other) or 0)
  end
end
return moved
