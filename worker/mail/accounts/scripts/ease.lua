#!lua flags=allow-oom
-- After a quiet time, let an account that was slowed down go a little faster.
-- Runs at the memory limit too: it adds nothing.
--
-- KEYS[1]  momentus:{mail}:account:<account>  HASH  the breaker; see fault.lua
-- ARGV[1]  how long it must have been quiet (ms)
--
-- Returns  {pace, rate}: the share of its limit that is to count from now on, "" when that does not change; the mails a
--          minute that were learned, "" for none and "0" when they count no more: told at each call, for a worker that
--          begins with another limit
--
-- Invariant: slower by a factor, faster by a sum, and one step for each quiet time, however many workers ask.

local FASTER, FREE = 0.1, 2 -- shares of what it was when it was told to slow down
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'pace', 'pace_ms', 'rate', 'top')
local pace, rate, top = tonumber(known[1]), tonumber(known[3]), tonumber(known[4]) or 1
local quiet = now - tonumber(known[2] or 0) >= tonumber(ARGV[1])
if not (pace or rate) or not quiet then
  return {'', known[3] or ''}
end
local told = {'', ''}
redis.call('HSET', KEYS[1], 'pace_ms', now)
if pace then
  pace = pace + FASTER
  told[1] = pace < 1 and tostring(pace) or '1'
  redis.call('HSET', KEYS[1], 'pace', pace)
end
if rate then
  rate = math.ceil(rate + FASTER * top)
  if rate < FREE * top then
    told[2] = tostring(rate)
    redis.call('HSET', KEYS[1], 'rate', rate)
  else
    told[2] = '0'
    redis.call('HDEL', KEYS[1], 'rate', 'top')
  end
end
if told[1] ~= '' and tonumber(told[1]) >= 1 then
  redis.call('HDEL', KEYS[1], 'pace')
end
return told
