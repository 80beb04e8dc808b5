-- rotate: give a live session a new token; the old one stays valid for the grace, for concurrent requests.
--
-- KEYS[1]  session HASH      momentus:{s:<tag>}:session:<digest>, of the old token
-- KEYS[2]  prefix            momentus:{s:<tag>}:   of the user's other keys, in the same slot (see load)
-- KEYS[3]  new session HASH  momentus:{s:<tag>}:session:<new digest>
-- ARGV[1]  digest of the old token
-- ARGV[2]  digest of the new token
-- ARGV[3]  grace, milliseconds: how long the old token still opens the session
--
-- Returns  {'rotated', v, u, e, c, a, i, t, l, d}; {'already'}: another request has just given it a new token;
--          {'gone'}: it has ended
-- Keeps    one session, one record: the old key becomes a pointer (n) to the new digest, without data, that opens
--          until its own end (g). A pointer is never rotated, so two requests at once cannot make two sessions.
--          Earlier tokens in grace point to the old key, so none of them outlives the grace of a later rotation.
--          Limits are not moved. The new token is fresh, so a session under it is the work of this same call, sent
--          twice by a client that lost the reply: it gets the reply once more.

local fields = { 'v', 'u', 'e', 'c', 'a', 'i', 't', 'l', 'd' }
local key = KEYS[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local record = redis.call('HMGET', KEYS[3], unpack(fields))
local again = record[1]
if again then
    key = KEYS[3]
else
    record = redis.call('HMGET', key, unpack(fields))
end
while not record[1] do -- as in load
    local pointer = redis.call('HMGET', key, 'n', 'g')
    if not pointer[1] or (pointer[2] and now >= tonumber(pointer[2])) then
        return { 'gone' }
    end
    key = KEYS[2] .. 'session:' .. pointer[1]
    record = redis.call('HMGET', key, unpack(fields))
end

local epoch = redis.call('GET', KEYS[2] .. 'epoch:' .. record[2]) or '0'
local life = redis.call('PTTL', key)
local idle_over = now >= tonumber(record[7]) + tonumber(record[6]) and life < 0
if record[3] ~= epoch or now >= tonumber(record[5]) or idle_over then
    return { 'gone' }
end
if again then
    return { 'rotated', unpack(record) }
end
if key ~= KEYS[1] then
    return { 'already' }
end

redis.call('RENAME', KEYS[1], KEYS[3])
local grace = math.min(tonumber(ARGV[3]), life)
if grace > 0 then
    redis.call('HSET', KEYS[1], 'n', ARGV[2], 'g', string.format('%.0f', now + grace))
    redis.call('PEXPIRE', KEYS[1], grace)
end
local user = KEYS[2] .. 'user:' .. record[2]
redis.call('ZREM', user, ARGV[1])
redis.call('ZADD', user, record[5], ARGV[2])
redis.call('PEXPIREAT', user, string.format('%.0f', tonumber(redis.call('ZRANGE', user, -1, -1, 'WITHSCORES')[2])))
return { 'rotated', unpack(record) }
