-- create: a new session for a user.
--
-- KEYS[1]  session HASH   momentus:{s:<tag>}:session:<digest>
-- KEYS[2]  user ZSET      momentus:{s:<tag>}:user:<user>
-- KEYS[3]  epoch integer  momentus:{s:<tag>}:epoch:<user>
-- ARGV[1]  digest: SHA-256 of the token, hex
-- ARGV[2]  user id
-- ARGV[3]  idle limit, milliseconds
-- ARGV[4]  absolute limit, milliseconds
-- ARGV[5]  label
-- ARGV[6]  data, JSON
-- ARGV[7]  how many sessions the user may have at a time, this one included; 0 for any number
-- ARGV[8]  prefix          momentus:{s:<tag>}:   of the user's other sessions, in the same slot
-- ARGV[9]  how many sessions the user may have before this one is refused; 0 or absent for any number
--
-- Returns  {v, u, e, c, a, i, t, l, d}, or {'full'}: refused by ARGV[9], nothing was written
-- Keeps    above the cap the sessions that would end first are ended now; cap and limit count live sessions only.
--          Every session stores the user's epoch at its creation; the user's ZSET holds no session past its absolute
--          end and expires with the last of them.

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local idle, absolute = tonumber(ARGV[3]), now + tonumber(ARGV[4])
local epoch = redis.call('GET', KEYS[3]) or '0'
local moment, ends = string.format('%.0f', now), string.format('%.0f', absolute)

local cap, limit = tonumber(ARGV[7]), tonumber(ARGV[9] or '0')

redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', moment)
if cap > 0 or limit > 0 then -- idle-expired sessions and those of earlier epochs do not count
    for _, digest in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
        if redis.call('HGET', ARGV[8] .. 'session:' .. digest, 'e') ~= epoch then
            redis.call('ZREM', KEYS[2], digest)
        end
    end
end
local again = redis.call('HGET', KEYS[1], 'v') -- this same call, sent twice by a client that lost the reply
if limit > 0 and not again and redis.call('ZCARD', KEYS[2]) >= limit then
    return { 'full' }
end

redis.call('HSET', KEYS[1], 'v', '1', 'u', ARGV[2], 'e', epoch, 'c', moment, 'a', ends, 'i', ARGV[3],
           't', moment, 'l', ARGV[5], 'd', ARGV[6])
redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.min(idle, absolute - now)))

redis.call('ZADD', KEYS[2], ends, ARGV[1])
while cap > 0 and redis.call('ZCARD', KEYS[2]) > cap do
    local oldest = redis.call('ZRANGE', KEYS[2], 0, 1)
    local ended = oldest[1] == ARGV[1] and oldest[2] or oldest[1]
    redis.call('ZREM', KEYS[2], ended)
    redis.call('DEL', ARGV[8] .. 'session:' .. ended)
end
local last = redis.call('ZRANGE', KEYS[2], -1, -1, 'WITHSCORES')
redis.call('PEXPIREAT', KEYS[2], string.format('%.0f', tonumber(last[2])))

return redis.call('HMGET', KEYS[1], 'v', 'u', 'e', 'c', 'a', 'i', 't', 'l', 'd')
