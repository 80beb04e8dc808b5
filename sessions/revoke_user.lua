-- revoke_user: end all sessions of a user at once.
--
-- KEYS[1]  epoch integer  momentus:{s:<tag>}:epoch:<user>
-- KEYS[2]  user ZSET      momentus:{s:<tag>}:user:<user>
-- ARGV[1]  minimum of the new epoch; 0 or absent: the old epoch + 1
--
-- Returns  the new epoch
-- Keeps    a session is live only in the epoch of its creation, so this is O(1) and also ends sessions that the ZSET
--          has lost. The records are deleted when next found, or by their idle limit. The epoch has no TTL: if it
--          restarted from 0, a number would be used twice.

redis.call('UNLINK', KEYS[2])
local epoch = redis.call('INCR', KEYS[1])
local least = tonumber(ARGV[1] or '0')
if epoch < least then
    epoch = least
    redis.call('SET', KEYS[1], string.format('%.0f', least))
end
return epoch
