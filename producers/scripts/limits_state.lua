-- Read limits: their definitions, and their room at this instant. The loader puts limits.lua before this.
--
-- KEYS[1]  momentus:{group}:limits   HASH  see limits.lua
-- KEYS[2]  momentus:{group}:buckets  HASH
-- KEYS[3]  momentus:{group}:holds    HASH
-- ARGV[1]  hash tag, braces included
-- ARGV[2]  "1" to look as an urgent lane does
-- ARGV[3…] keys of limits; none: all that are defined
--
-- Returns  {now (ms), then nine per limit: key, definition ("" for none), pace (the share of it that counts), hold
--          ("" for none; it may be over), room (-1: no bound), when it has room (ms, -1: for others to say), how
--          many jobs it holds back, how many places are taken, 1 when it gives nothing because it cannot be read}
--
-- Invariant: it changes nothing. Places of jobs whose lease lapsed count as taken until a claim looks for room.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local limits = require_limits()
limits.only_looks = true
limits.open(ARGV[1], now, {limits = KEYS[1], buckets = KEYS[2], holds = KEYS[3]}, ARGV[2] == '1')

local function defined()
  local keys = {}
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if string.sub(field, 1, 5) ~= 'lane:' and string.sub(field, 1, 5) ~= 'slow:' then
      keys[#keys + 1] = field
    end
  end
  table.sort(keys)
  return keys
end

local function number(value)
  return value < math.huge and value or -1
end

-- Nothing for a key that holds something else.
local function size(command, key)
  local found = redis.pcall(command, key)
  return type(found) == 'number' and found or 0
end

local reply = {now}
local keys = #ARGV > 2 and {unpack(ARGV, 3)} or defined()
limits.look_all(keys)
for _, key in ipairs(keys) do
  local it, n = limits.look(key), #reply
  local free_at = it.room >= 1 and now or limits.free_at(it)
  reply[n + 1], reply[n + 2] = key, it.definition or ''
  reply[n + 3] = redis.call('HGET', KEYS[1], 'slow:' .. key) or '1'
  reply[n + 4] = redis.call('HGET', KEYS[3], 'limit:' .. key) or ''
  reply[n + 5], reply[n + 6] = number(it.room), number(free_at)
  reply[n + 7] = size('ZCARD', 'momentus:' .. ARGV[1] .. ':blocked:' .. key)
  reply[n + 8] = size('SCARD', 'momentus:' .. ARGV[1] .. ':occupying:' .. key)
  reply[n + 9] = it.unreadable and 1 or 0
end
return reply
