-- Declare the reports of a worker to producers and readers, with the time.
--
-- KEYS[1]  momentus:{reports}:catalogue:<tenant>  HASH  entry of each report
-- KEYS[2]  momentus:{reports}:declared:<tenant>  ZSET  report by when a worker last declared it (ms of this server's
--          clock); negative: by when it was withdrawn
-- ARGV     name, entry of each report
--
-- Returns  the reports that were withdrawn, or were not in the catalogue
--
-- Invariant: no report is removed: another worker may have other reports, for example during a rollout.

local at = redis.call('TIME')
local now_ms = at[1] * 1000 + math.floor(at[2] / 1000)
local fresh = {}
for each = 1, #ARGV, 2 do
  local name, entry = ARGV[each], ARGV[each + 1]
  local former = redis.call('HGET', KEYS[1], name)
  if not former then
    fresh[#fresh + 1] = name
  end
  if former ~= entry then
    redis.call('HSET', KEYS[1], name, entry)
  end
  redis.call('ZADD', KEYS[2], now_ms, name)
end
return fresh
