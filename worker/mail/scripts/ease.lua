#!lua flags=allow-oom
-- After a quiet time, let an account that was slowed down go a little faster.
-- Runs at the memory limit too: it adds nothing.
--
-- KEYS[1]  momentus:{mail}:account:<account>  HASH  the breaker; see fault.lua
-- ARGV[1]  how long it must have been quiet (ms)
--
-- Returns  the share of its limit that is to count from now on, "" when that does not change
--
-- Invariant: slower by a factor, faster by a sum, and one step for each quiet time, however many workers ask.

local FASTER = 0.1
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'pace', 'pace_ms')
if not known[1] or now - tonumber(known[2] or 0) < tonumber(ARGV[1]) then
  return ''
end
local pace = tonumber(known[1]) + FASTER
if pace >= 1 then
  redis.call('HDEL', KEYS[1], 'pace', 'pace_ms')
  return '1'
end
redis.call('HSET', KEYS[1], 'pace', pace, 'pace_ms', now)
return tostring(pace)
