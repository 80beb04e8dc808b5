#!lua flags=allow-oom
-- Renew permits, or let them lapse soon.
-- Runs at the memory limit too: it adds nothing.
--
-- KEYS[1]  momentus:{mail}:permits:<account>  ZSET  permit -> when it lapses unless renewed (ms)
-- ARGV[1]  how long they hold from now (ms): their life, or how long a server may take to notice a closed connection
-- ARGV[2…] permits
--
-- Returns  how many of them were still there
--
-- Invariant: a permit that has lapsed is not brought back, since somebody else may have been given its place.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local kept = 0
for at = 2, #ARGV do
  if redis.call('ZSCORE', KEYS[1], ARGV[at]) then
    redis.call('ZADD', KEYS[1], now + tonumber(ARGV[1]), ARGV[at])
    kept = kept + 1
  end
end
return kept
