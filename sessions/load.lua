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
--          The idle limit is the key's time to live. A reader, which may not write t, slides that alone, so t is
--          never earlier than the time to live says.

local fields = { 'v', 'u', 'e', 'c', 'a', 'i', 't', 'l', 'd' }
local key, digest = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local record = redis.call('HMGET', key, unpack(fields))
while not record[1] do -- a token in its grace leads to the one that followed it, by n, until g
    local pointer = redis.call('HMGET', key, 'n', 'g')
    if not pointer[1] or (pointer[2] and now >= tonumber(pointer[2])) then
        return false
    end
    digest = pointer[1]
    key = KEYS[2] .. 'session:' .. digest
    record = redis.call('HMGET', key, unpack(fields))
end
record[10] = digest

local absolute, idle, touched = tonumber(record[5]), tonumber(record[6]), tonumber(record[7])
local epoch = redis.call('GET', KEYS[2] .. 'epoch:' .. record[2]) or '0'
local due = math.min(60000, idle / 30)
if now - touched > due then
    touched = math.max(touched, now + redis.call('PTTL', key) - idle)
end

if record[3] ~= epoch or now >= absolute or now >= touched + idle then
    redis.call('DEL', key)
    redis.call('ZREM', KEYS[2] .. 'user:' .. record[2], digest)
    return false
end

if now - touched > due then
    touched = now
    redis.call('HSET', key, 't', string.format('%.0f', now))
    redis.call('PEXPIRE', key, string.format('%.0f', math.min(idle, absolute - now)))
end
record[7] = string.format('%.0f', touched)
return record
