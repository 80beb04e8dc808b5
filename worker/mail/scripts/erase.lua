#!lua flags=allow-oom
-- Replace a dead job's payload by a tombstone, and mask the addresses in its history.
-- Runs at the memory limit too: it frees memory.
--
-- KEYS[1]  momentus:{mail}:dead:<lane>   ZSET    job id -> time at which it was given up (ms)
-- KEYS[2]  arq:job:<id>                  STRING  the payload
-- KEYS[3]  momentus:{mail}:history:<id>  LIST    JSON
-- KEYS[4]  arq:result:<id>               STRING  the job's result, which repeats the last reason
-- ARGV[1]  id
-- ARGV[2]  SHA-1 in hex of the payload that was read
-- ARGV[3]  the tombstone
-- ARGV[4]  erase only if given up at this time (ms) or earlier
--
-- Also writes the keys that unique.lua names, which the loader puts before this.
--
-- Returns  1 erased; 0 if the job is not dead, died later, or was edited meanwhile
--
-- Invariant: only dead jobs are erased, and they stay dead; outcome and times are kept, addresses are not.

local given_up = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not given_up or tonumber(given_up) > tonumber(ARGV[4]) then
  return 0
elseif redis.sha1hex(redis.call('GET', KEYS[2]) or '') ~= ARGV[2] then
  return 0
end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
-- The frontier (%f) matches a run of characters only from its first one, so that a long line costs linear time. NUL is
-- excluded from runs because Lua sees one before the first character of a line.
local address = "%f[^%z%s<>\"'%(%),;:%[%]][^%z%s<>\"'%(%),;:%[%]]+@[^%z%s<>\"'%(%),;:%[%]\\]+"
for at, line in ipairs(redis.call('LRANGE', KEYS[3], 0, -1)) do
  local masked, found = string.gsub(line, address, '[erased]')
  if found > 0 then
    redis.call('LSET', KEYS[3], at - 1, masked)
  end
end
redis.call('SET', KEYS[2], ARGV[3])
require_unique().release('{mail}', {ARGV[1]}) -- it can no longer be revived
redis.call('DEL', KEYS[4])
redis.call('RPUSH', KEYS[3], cjson.encode({at_ms = now, attempt = 0, outcome = 'erased', reason = ''}))
redis.call('LTRIM', KEYS[3], -50, -1)
return 1
