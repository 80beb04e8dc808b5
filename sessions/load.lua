-- load: the session behind a token, if it still lives; slides its idle limit.
--
-- KEYS[1]  session HASH   momentus:{s:<tag>}:session:<digest>
-- KEYS[2]  prefix         momentus:{s:<tag>}:   of the user's other keys, in the same slot. Whose session it is stands
--                         in the record alone, so the epoch's key is completed here: one round trip instead of two.
-- ARGV[1]  digest: SHA-256 of the token, hex
--
-- Returns  {v, u, e, c, a, i, t, l, d, digest}, or nil: absent, past a limit, or of another epoch than the user's;
--          digest is the one that the session is kept under: another than ARGV[1] after a rotation
-- Keeps    a session that has ended is deleted when it is met. At most one write per session and minute (or thirtieth
--          of the idle limit, if shorter): reading a session at every request costs no replication, no AOF.

local fields = { 'v', 'u', 'e', 'c', 'a', 'i', 't', 'l', 'd' }
local key, digest = KEYS[1], ARGV[1]
local record = redis.call('HMGET', key, unpack(fields))
if not record[1] then
    digest = redis.call('HGET', key, 'n') -- the old token of a session that was just given a new one
    if not digest then
        return false
    end
    key = KEYS[2] .. 'session:' .. digest
    record = redis.call('HMGET', key, unpack(fields))
    if not record[1] then
        return false
    end
end
record[10] = digest

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local absolute, idle, touched = tonumber(record[5]), tonumber(record[6]), tonumber(record[7])
local epoch = redis.call('GET', KEYS[2] .. 'epoch:' .. record[2]) or '0'

if record[3] ~= epoch or now >= absolute or now >= touched + idle then
    redis.call('DEL', key)
    redis.call('ZREM', KEYS[2] .. 'user:' .. record[2], digest)
    return false
end

if now - touched > math.min(60000, idle / 30) then
    record[7] = string.format('%.0f', now)
    redis.call('HSET', key, 't', record[7])
    redis.call('PEXPIRE', key, string.format('%.0f', math.min(idle, absolute - now)))
end
return record
