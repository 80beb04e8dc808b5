#!lua flags=allow-oom
-- List a mail of which nobody knows whether an attempt delivered it, and bind it to the account of that attempt.
-- Runs at the memory limit too: a duplicate that nobody can see must not come of a full server.
--
-- KEYS[1]  momentus:{mail}:uncertain  ZSET  job id -> when its last unknown attempt was noted (ms)
-- KEYS[2]  momentus:{mail}:limited    HASH  job id -> the limit that it counts against
-- ARGV[1]  id
-- ARGV[2]  the account's limit; "" where there is only one account
-- ARGV[3]  how many the list keeps, the latest
--
-- Invariant: after the first unknown attempt no other account sends the mail.

local clock = redis.call('TIME')
redis.call('ZADD', KEYS[1], clock[1] * 1000 + math.floor(clock[2] / 1000), ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - tonumber(ARGV[3]))
if ARGV[2] ~= '' then
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
end
return 1
