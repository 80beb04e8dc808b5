-- Withdraw a report that no worker declares: it is then neither listed nor served.
--
-- KEYS[1]  momentus:{reports}:catalogue:<tenant>  HASH
-- KEYS[2]  momentus:{reports}:declared:<tenant>  ZSET, as in declare.lua
-- KEYS[3]  momentus:{reports}:snapshot:<tenant>:<report>  HASH
-- KEYS[4]  momentus:{reports}:withdrawn:<tenant>:<report>  HASH
-- KEYS[5]  momentus:{reports}:wanted:<tenant>:<report>  STRING
-- ARGV[1]  the report's name
-- ARGV[2]  time without a declaration after which it is withdrawn (ms)
--
-- Returns  0: withdrawn by this call; else time since it was withdrawn (ms), at least 1; -1: a worker has declared it
--          since
--
-- Invariant: a report that a worker declares is not withdrawn. Its set is renamed, so that it can be restored; its
-- closed days keep their keys, as readers serve none of a report without a set.

local at = redis.call('TIME')
local now_ms = at[1] * 1000 + math.floor(at[2] / 1000)
local declared = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or 'nan')
if declared ~= declared then -- listed by a version that did not record it: its time begins now
  redis.call('ZADD', KEYS[2], now_ms, ARGV[1])
  return -1
end
if declared > 0 and now_ms - declared < tonumber(ARGV[2]) then
  return -1
end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[5])
if redis.call('HEXISTS', KEYS[3], '_meta') == 1 then
  redis.call('UNLINK', KEYS[4])
  redis.call('RENAME', KEYS[3], KEYS[4])
else -- no set, but perhaps the error of a refresh
  redis.call('UNLINK', KEYS[3])
end
if declared > 0 then
  redis.call('ZADD', KEYS[2], -now_ms, ARGV[1])
  return 0
end
return math.max(1, now_ms + declared) -- 0 would report the withdrawal once more
