-- Hold the mail lanes for mode "hold", or release the holds that it made.
--
-- KEYS[1]   momentus:{mail}:holds  HASH  "lane:<lane>" -> JSON {until_ms, reason}
-- KEYS[2…]  momentus:{mail}:wake:<lane>  LIST  at most one token, in the order of the lanes
-- ARGV[1]   "hold" or "release"
-- ARGV[2]   the hold as JSON, always the same bytes, which tell it from a hold by an operator
-- ARGV[3…]  the lanes
--
-- Returns  number of lanes that this call held or released
--
-- Invariant: an operator's hold is neither replaced nor released.

local changed = 0
for at = 3, #ARGV do
  local field = 'lane:' .. ARGV[at]
  if ARGV[1] == 'hold' then
    changed = changed + redis.call('HSETNX', KEYS[1], field, ARGV[2])
  elseif redis.call('HGET', KEYS[1], field) == ARGV[2] then
    changed = changed + redis.call('HDEL', KEYS[1], field)
    if redis.call('LLEN', KEYS[at - 1]) == 0 then
      redis.call('LPUSH', KEYS[at - 1], '1')
    end
  end
end
return changed
