-- revoke: end one session (log out).
--
-- KEYS[1]  session HASH   momentus:{s:<tag>}:session:<digest>
-- KEYS[2]  prefix         momentus:{s:<tag>}:   of the user's other keys, in the same slot (see load)
-- ARGV[1]  digest: SHA-256 of the token, hex
--
-- Returns  1 when this ended the session, 0 when it had ended already
-- Keeps    the session and its entry among the user's sessions are removed together; a token in its grace ends the
--          session that it opens, even if later rotations gave it further tokens.

local key, digest = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local record = redis.call('HMGET', key, 'u', 'e', 'a')
while not record[1] do -- as in load; the pointers are deleted too
    local pointer = redis.call('HMGET', key, 'n', 'g')
    if not pointer[1] or (pointer[2] and now >= tonumber(pointer[2])) then
        return 0
    end
    redis.call('DEL', key)
    digest = pointer[1]
    key = KEYS[2] .. 'session:' .. digest
    record = redis.call('HMGET', key, 'u', 'e', 'a')
end

local epoch = redis.call('GET', KEYS[2] .. 'epoch:' .. record[1]) or '0'
redis.call('ZREM', KEYS[2] .. 'user:' .. record[1], digest)
redis.call('DEL', key)
return record[2] == epoch and now < tonumber(record[3]) and 1 or 0
