-- list: the live sessions of a user, for display to the user.
--
-- KEYS[1]  user ZSET      momentus:{s:<tag>}:user:<user>
-- KEYS[2]  prefix         momentus:{s:<tag>}:   of the sessions, in the same slot (see load)
-- KEYS[3]  epoch integer  momentus:{s:<tag>}:epoch:<user>
--
-- Returns  {digest, v, u, e, c, a, i, t, l, d, digest, …}, at most 100 sessions, the latest absolute end first
-- Keeps    the only write is the removal of digests of ended sessions, which do not count towards the 100;
--          listing is not a use of a session. t is as in load.

local epoch = redis.call('GET', KEYS[3]) or '0'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local reply, found, ended, at = {}, 0, {}, 0
repeat
    local digests = redis.call('ZRANGE', KEYS[1], at, at + 99, 'REV')
    for _, digest in ipairs(digests) do
        local key = KEYS[2] .. 'session:' .. digest
        local record = redis.call('HMGET', key, 'v', 'u', 'e', 'c', 'a', 'i', 't', 'l', 'd')
        if not record[1] or record[3] ~= epoch or now >= tonumber(record[5]) then
            ended[#ended + 1] = digest
        elseif found < 100 then
            found = found + 1
            local touched = math.max(tonumber(record[7]), now + redis.call('PTTL', key) - tonumber(record[6]))
            record[7] = string.format('%.0f', touched)
            reply[#reply + 1] = digest
            for _, value in ipairs(record) do
                reply[#reply + 1] = value
            end
        end
    end
    at = at + 100
until #digests < 100 or found == 100
for _, digest in ipairs(ended) do
    redis.call('ZREM', KEYS[1], digest)
end
return reply
