-- revoke_user: end all sessions of a user at once.
--
-- KEYS[1]  epoch integer  momentus:{s:<tag>}:epoch:<user>
-- KEYS[2]  user ZSET      momentus:{s:<tag>}:user:<user>
-- ARGV[1]  the least that the new epoch may be; 0 or absent for one more than it was
--
-- Returns  the new epoch
-- Keeps    a session lives only in the epoch of its birth, so this is O(1) and true even for a session that the ZSET
--          has lost. The records themselves are deleted when next met, or by their idle limit. The epoch has no TTL:
--          if it could start again from 0, a number would be used twice.

redis.call('UNLINK', KEYS[2])
local epoch = redis.call('INCR', KEYS[1])
local least = tonumber(ARGV[1] or '0')
if epoch < least then
    epoch = least
    redis.call('SET', KEYS[1], string.format('%.0f', least))
end
return epoch
