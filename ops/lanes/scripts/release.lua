#!lua flags=allow-oom
-- Release a held lane.
-- Also runs at the memory limit: the lane's jobs may be what fills the memory.
--
-- KEYS[1]  momentus:{group}:holds        HASH  "lane:<lane>" -> JSON {until_ms, reason}
-- KEYS[2]  momentus:{group}:wake:<lane>  LIST  at most one token
-- ARGV[1]  lane
--
-- Returns  1: it was held and is released; 0: it was not held
--
-- Invariant: a worker that waits for the lane hears of its release at once.

if redis.call('HDEL', KEYS[1], 'lane:' .. ARGV[1]) == 0 then
  return 0
end
if redis.call('LLEN', KEYS[2]) == 0 then
  redis.call('LPUSH', KEYS[2], '1')
end
return 1
