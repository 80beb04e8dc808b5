#!lua flags=allow-oom
-- Let a slowed account go a little faster after a quiet time.
-- Runs at the memory limit too: it adds nothing.
--
-- KEYS[1]  momentus:{mail}:account:<account>  HASH  the breaker; see fault.lua
-- ARGV[1]  length of a quiet time (ms)
--
-- Returns  {pace, rate}: pace is the share of its limit that applies from now on, "" if unchanged; rate is the learned
--          mails per minute, "" for none and "0" if the learned limit ends: returned at each call, for a worker that
--          starts with another limit
--
-- Invariant: pace falls by a factor and rises by a sum, one step per quiet time for any number of workers.

local FASTER, FREE = 0.1, 2 -- shares of the pace at which the server asked to slow down
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
