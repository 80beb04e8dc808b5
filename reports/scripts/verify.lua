-- Record that a stored set is still true. Only verified_us, clock_offset_us and proved_snapshot change in _meta.
--
-- KEYS[1]  momentus:{reports}:snapshot:<tenant>:<report>  HASH
-- ARGV[1]  generation that was proved
-- ARGV[2]  instant for which it was proved (microseconds, the database's clock)
-- ARGV[3]  valid_until_us of that generation; empty: time alone changes nothing
-- ARGV[4]  the database's clock minus Redis's at that instant (microseconds); empty: not known, the former stays
-- ARGV[5]  pg_current_snapshot() of that instant: each change it sees is in the set, or does not affect it; empty:
--          not known, the former stays
--
-- Returns  1: moved forward; 0: another generation is stored, or verified_us is already as late
--
-- Invariant: verified_us never goes back, never past valid_until_us, and belongs to the generation beside it.
-- The number is replaced in the text: Lua's own JSON encoder would round it to the precision of a double.

local stored = redis.call('HMGET', KEYS[1], '_gen', '_meta')
if stored[1] ~= ARGV[1] or not stored[2] then
  return 0
end
local verified = tonumber(ARGV[2])
if ARGV[3] ~= '' then
  verified = math.min(verified, tonumber(ARGV[3]))
end
local former = tonumber(string.match(stored[2], '"verified_us":(%d+)'))
if not former or verified <= former then
  return 0
end
local function put(meta, field, pattern, value)
  local renewed, found = string.gsub(meta, '"' .. field .. '":' .. pattern, '"' .. field .. '":' .. value, 1)
  return found == 1 and renewed or string.sub(meta, 1, -2) .. ',"' .. field .. '":' .. value .. '}'
end

local meta = put(stored[2], 'verified_us', '%d+', string.format('%.0f', verified))
if ARGV[4] ~= '' then
  meta = put(meta, 'clock_offset_us', '[%w-]+', ARGV[4])
end
if ARGV[5] ~= '' then
  meta = put(meta, 'proved_snapshot', '"[%d:,]*"', '"' .. ARGV[5] .. '"')
end
redis.call('HSET', KEYS[1], '_meta', meta)
return 1
