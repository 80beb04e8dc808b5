#!lua flags=allow-oom
-- Hold a lane: workers claim none of its jobs; running jobs continue.
-- Also runs at the memory limit: a hold may keep the memory from growing.
--
-- KEYS[1]  momentus:{group}:holds  HASH  "lane:<lane>" -> JSON {until_ms, reason}; until_ms null: until released
-- ARGV[1]  lane
-- ARGV[2]  for how long (ms); "" until released
-- ARGV[3]  reason
--
-- Returns  {what, until (ms)}: what is "held", or "unchanged" if it already had the same hold; until is -1 for
--          "until released"
--
-- Invariant: a lane has at most one hold; the last one counts. A hold for a time is by Redis's clock.

local field = 'lane:' .. ARGV[1]
if ARGV[2] == '' then
  local readable, known = pcall(cjson.decode, redis.call('HGET', KEYS[1], field) or '')
  if readable and type(known) == 'table' and known.until_ms == cjson.null and known.reason == ARGV[3] then
    return {'unchanged', -1}
  end
  redis.call('HSET', KEYS[1], field, cjson.encode({until_ms = cjson.null, reason = ARGV[3]}))
  return {'held', -1}
end
local clock = redis.call('TIME')
local until_ms = clock[1] * 1000 + math.floor(clock[2] / 1000) + tonumber(ARGV[2])
redis.call('HSET', KEYS[1], field, cjson.encode({until_ms = until_ms, reason = ARGV[3]}))
return {'held', until_ms}
