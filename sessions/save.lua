-- save: new data for a session, if no other request saved it since it was loaded.
--
-- KEYS[1]  session HASH   momentus:{s:<tag>}:session:<digest>
-- KEYS[2]  prefix         momentus:{s:<tag>}:   of the user's other keys, in the same slot (see load)
-- ARGV[1]  the version the caller loaded
-- ARGV[2]  data, JSON
-- ARGV[3]  digest that the session was loaded under
-- ARGV[4]  text that no other call has ("" or absent: none), kept as w: the same call, sent twice by a client that
--          lost the reply, saves once
--
-- Returns  {'saved' | 'conflict', v, u, e, c, a, i, t, l, d, digest} with the record as it now is and the digest that
--          it is kept under, or {'gone'}
-- Keeps    only a live session is written, so a save that comes after a logout cannot restore the session;
--          the version grows by one with each save, so no save goes unnoticed. Limits are not moved: load does that.
--          A rotation since the load does not matter during the old token's grace.

local fields = { 'v', 'u', 'e', 'c', 'a', 'i', 't', 'l', 'd' }
local key, digest = KEYS[1], ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local record = redis.call('HMGET', key, unpack(fields))
while not record[1] do -- as in load
    local pointer = redis.call('HMGET', key, 'n', 'g')
    if not pointer[1] or (pointer[2] and now >= tonumber(pointer[2])) then
        return { 'gone' }
    end
    digest = pointer[1]
    key = KEYS[2] .. 'session:' .. digest
    record = redis.call('HMGET', key, unpack(fields))
end

local epoch = redis.call('GET', KEYS[2] .. 'epoch:' .. record[2]) or '0'
local touched, idle = tonumber(record[7]), tonumber(record[6])
local idle_over = now >= touched + idle and redis.call('PTTL', key) < 0
if record[3] ~= epoch or now >= tonumber(record[5]) or idle_over then
    return { 'gone' }
end

local verdict, call = 'conflict', ARGV[4] or ''
if record[1] == ARGV[1] then
    verdict = 'saved'
    redis.call('HINCRBY', key, 'v', 1)
    redis.call('HSET', key, 'd', ARGV[2], 'w', call)
elseif call ~= '' and redis.call('HGET', key, 'w') == call then
    verdict = 'saved'
end
record = redis.call('HMGET', key, unpack(fields))
record[10] = digest
return { verdict, unpack(record) }
