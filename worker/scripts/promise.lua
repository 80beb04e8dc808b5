-- Judge the minutes since the last call: was a promise of service kept in them? Any worker may call it, at any pace.
--
-- KEYS[1]  momentus:{group}:promises  HASH  of each promise: limit (ms), target, the last minute that was judged,
--          the last one in which it was seen broken, and the numbers of minutes kept and broken in all
-- KEYS[2]  what it is about: the queue of a lane (ZSET), or a stored report (HASH with _meta)
-- ARGV[1]  the promise's name
-- ARGV[2]  the largest age that keeps it (ms)
-- ARGV[3]  its target, the part of the minutes
-- ARGV[4]  "lane" or "report"
--
-- Also writes, with the same tag: KEYS[1]:h<hour> and KEYS[1]:d<day>, HASHES of minutes kept and broken in that hour
-- and day since 1970, with a TTL of 8 hours and 32 days.
--
-- Returns the number of minutes judged.
--
-- Invariant: each minute is judged once, whoever calls. While no worker ran, the age that is found now tells since
-- when the promise has been broken: the oldest ready job was as old then as it is now, less the time between.

local state, name, limit = KEYS[1], ARGV[1], tonumber(ARGV[2])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local minute = math.floor(now / 60000)

local function of_lane() -- since when it has been broken (ms), or nil
  local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2]) + limit
end

local function of_report()
  local readable, meta = pcall(cjson.decode, redis.call('HGET', KEYS[2], '_meta') or '')
  if not readable or type(meta) ~= 'table' or type(meta.verified_us) ~= 'number' then
    return 0 -- never computed, or unreadable
  end
  local offset = type(meta.clock_offset_us) == 'number' and meta.clock_offset_us or 0
  return (meta.verified_us - offset) / 1000 + limit
end

local since = ARGV[4] == 'lane' and of_lane() or ARGV[4] ~= 'lane' and of_report() or nil
local known = redis.call('HMGET', state, name .. ':minute', name .. ':seen')
local last, seen = tonumber(known[1] or minute), tonumber(known[2] or -1)
redis.call('HSET', state, name .. ':limit', ARGV[2], name .. ':target', ARGV[3], name .. ':minute', math.max(last, minute))
if since and since <= now then
  redis.call('HSET', state, name .. ':seen', minute)
end
local gap = math.min(minute - last, 43200)
if gap <= 0 then
  return 0
end
local broken = 0
if since and since <= now then
  broken = math.min(gap, math.max(0, minute - math.floor(since / 60000)))
end
if broken == 0 and seen >= last then
  broken = 1
end
local buckets = {[state] = 0, [state .. ':h' .. math.floor(minute / 60)] = 28800}
buckets[state .. ':d' .. math.floor(minute / 1440)] = 2764800
for key, life in pairs(buckets) do
  redis.call('HINCRBY', key, name .. ':kept', gap - broken)
  redis.call('HINCRBY', key, name .. ':broken', broken)
  if life > 0 then
    redis.call('EXPIRE', key, life)
  end
end
return gap
