#!lua flags=allow-oom
-- Renew permits, or let them expire soon.
-- Runs at the memory limit too: it adds nothing.
--
-- KEYS[1]  momentus:{mail}:permits:<account>  ZSET  permit -> expiry unless renewed (ms)
-- ARGV[1]  time from now until they expire (ms): their lease time, or the time in which a server notices a closed
--          connection
-- ARGV[2…] permits
--
-- Returns  number of permits that still existed
--
-- Invariant: an expired permit is not restored, because another worker may hold its place.

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
