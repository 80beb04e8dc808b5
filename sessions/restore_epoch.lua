-- restore_epoch: raise a user's epoch to its highest known value.
--
-- KEYS[1]  epoch integer  momentus:{s:<tag>}:epoch:<user>
-- ARGV[1]  the known epoch
--
-- Returns  1 when it was lower, else 0
-- Keeps    an epoch never decreases: a session that was ended before Redis lost its last writes stays ended.

if tonumber(redis.call('GET', KEYS[1]) or '0') >= tonumber(ARGV[1]) then
    return 0
end
redis.call('SET', KEYS[1], ARGV[1])
return 1
