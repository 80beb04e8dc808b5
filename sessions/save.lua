-- save: new data for a session, if nobody else saved it since it was loaded.
--
-- KEYS[1]  session HASH   momentus:{s:<tag>}:session:<digest>
-- KEYS[2]  prefix         momentus:{s:<tag>}:   of the user's other keys, in the same slot (see load)
-- ARGV[1]  the version the caller loaded
-- ARGV[2]  data, JSON
--
-- Returns  {'saved' | 'conflict', v, u, e, c, a, i, t, l, d} with the record as it now is, or {'gone'}
-- Keeps    only a living session is written, so a save that comes after a logout cannot bring the session back;
--          the version grows by one with each save, so no save goes unnoticed. Limits are not moved: load does that.

local fields = { 'v', 'u', 'e', 'c', 'a', 'i', 't', 'l', 'd' }
local record = redis.call('HMGET', KEYS[1], unpack(fields))
if not record[1] then
    return { 'gone' }
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local epoch = redis.call('GET', KEYS[2] .. 'epoch:' .. record[2]) or '0'
if record[3] ~= epoch or now >= tonumber(record[5]) or now >= tonumber(record[7]) + tonumber(record[6]) then
    return { 'gone' }
end

local verdict = 'conflict'
if record[1] == ARGV[1] then
    verdict = 'saved'
    redis.call('HINCRBY', KEYS[1], 'v', 1)
    redis.call('HSET', KEYS[1], 'd', ARGV[2])
end
return { verdict, unpack(redis.call('HMGET', KEYS[1], unpack(fields))) }
