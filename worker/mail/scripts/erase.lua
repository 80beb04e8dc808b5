#!lua flags=allow-oom
-- Put a tombstone in the place of a dead job's payload, and take addresses out of its history.
-- Runs at the memory limit too: it frees memory.
--
-- KEYS[1]  momentus:{mail}:dead:<lane>   ZSET    job id -> when it was given up (ms)
-- KEYS[2]  arq:job:<id>                  STRING  the payload
-- KEYS[3]  momentus:{mail}:history:<id>  LIST    JSON
-- KEYS[4]  arq:result:<id>               STRING  its result, which repeats the last reason
-- ARGV[1]  id
-- ARGV[2]  SHA-1 in hex of the payload that was read
-- ARGV[3]  the tombstone
-- ARGV[4]  given up at this instant (ms) or earlier
--
-- Also touches what unique.lua names, which stands before this.
--
-- Returns  1 erased; 0 it is not dead (any more), not as long as that, or was edited meanwhile
--
-- Invariant: only what is dead is erased, and stays dead; how it ended is kept, of whom it spoke is not.

local given_up = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not given_up or tonumber(given_up) > tonumber(ARGV[4]) then
  return 0
elseif redis.sha1hex(redis.call('GET', KEYS[2]) or '') ~= ARGV[2] then
  return 0
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
-- Its frontier (%f) tries a run of characters from the first one only, so that a long line costs linear time. A NUL
-- ends a run: before the first character of a line Lua sees one.
local address = "%f[^%z%s<>\"'%(%),;:%[%]][^%z%s<>\"'%(%),;:%[%]]+@[^%z%s<>\"'%(%),;:%[%]\\]+"
for at, line in ipairs(redis.call('LRANGE', KEYS[3], 0, -1)) do
  local masked, found = string.gsub(line, address, '[erased]')
  if found > 0 then
    redis.call('LSET', KEYS[3], at - 1, masked)
  end
end
redis.call('SET', KEYS[2], ARGV[3])
require_unique().release('{mail}', {ARGV[1]}) -- it cannot be revived any more
redis.call('DEL', KEYS[4])
redis.call('RPUSH', KEYS[3], cjson.encode({at_ms = now, attempt = 0, outcome = 'erased', reason = ''}))
redis.call('LTRIM', KEYS[3], -50, -1)
return 1
