-- revoke: end one session (log out).
--
-- KEYS[1]  session HASH   momentus:{s:<tag>}:session:<digest>
-- KEYS[2]  prefix         momentus:{s:<tag>}:   of the user's other keys, in the same slot (see load)
-- ARGV[1]  digest: SHA-256 of the token, hex
--
-- Returns  1 when this ended the session, 0 when it had ended already
-- Keeps    the session and its entry among the user's sessions go together; the old token of a session that was
--          just given a new one ends it too.

local key, digest = KEYS[1], ARGV[1]
local following = redis.call('HGET', key, 'n')
if following then
    redis.call('DEL', key)
    key, digest = KEYS[2] .. 'session:' .. following, following
end
local record = redis.call('HMGET', key, 'u', 'e')
if not record[1] then
    return 0
end

local epoch = redis.call('GET', KEYS[2] .. 'epoch:' .. record[1]) or '0'
redis.call('ZREM', KEYS[2] .. 'user:' .. record[1], digest)
redis.call('DEL', key)
return record[2] == epoch and 1 or 0
