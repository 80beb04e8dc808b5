-- rotate: give a living session a new token; the old one goes on for a moment, for requests that are under way.
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
-- Keeps    one session, one record: the old key becomes a pointer (field n) to the new digest, without data, and lives no
--          longer than the grace. A pointer is never rotated, so two requests at once cannot make two sessions.
--          Limits are not moved.

local fields = { 'v', 'u', 'e', 'c', 'a', 'i', 't', 'l', 'd' }
local record = redis.call('HMGET', KEYS[1], unpack(fields))
if not record[1] then
    return { redis.call('HEXISTS', KEYS[1], 'n') == 1 and 'already' or 'gone' }
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local epoch = redis.call('GET', KEYS[2] .. 'epoch:' .. record[2]) or '0'
if record[3] ~= epoch or now >= tonumber(record[5]) or now >= tonumber(record[7]) + tonumber(record[6]) then
    return { 'gone' }
end

local life = redis.call('PTTL', KEYS[1])
redis.call('RENAME', KEYS[1], KEYS[3])
local grace = math.min(tonumber(ARGV[3]), life)
if grace > 0 then
    redis.call('HSET', KEYS[1], 'n', ARGV[2])
    redis.call('PEXPIRE', KEYS[1], grace)
end
local user = KEYS[2] .. 'user:' .. record[2]
redis.call('ZREM', user, ARGV[1])
redis.call('ZADD', user, record[5], ARGV[2])
redis.call('PEXPIREAT', user, string.format('%.0f', tonumber(redis.call('ZRANGE', user, -1, -1, 'WITHSCORES')[2])))
return { 'rotated', unpack(record) }
