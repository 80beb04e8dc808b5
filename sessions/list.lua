-- list: the living sessions of a user, for the user to see.
--
-- KEYS[1]  user ZSET      momentus:{s:<tag>}:user:<user>
-- KEYS[2]  prefix         momentus:{s:<tag>}:   of the sessions, in the same slot (see load)
-- KEYS[3]  epoch integer  momentus:{s:<tag>}:epoch:<user>
--
-- Returns  {digest, v, u, e, c, a, i, t, l, d, digest, …}, at most 100 sessions, the one that lives longest first
-- Keeps    nothing is written but the removal of digests whose session has ended; looking is no use of a session.

local epoch = redis.call('GET', KEYS[3]) or '0'
local reply = {}
for _, digest in ipairs(redis.call('ZRANGE', KEYS[1], 0, 99, 'REV')) do
    local record = redis.call('HMGET', KEYS[2] .. 'session:' .. digest, 'v', 'u', 'e', 'c', 'a', 'i', 't', 'l', 'd')
    if record[1] and record[3] == epoch then
        reply[#reply + 1] = digest
        for _, value in ipairs(record) do
            reply[#reply + 1] = value
        end
    else
        redis.call('ZREM', KEYS[1], digest)
    end
end
return reply
