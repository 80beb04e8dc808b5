-- load: the live session of a token; extends its idle limit.
--
-- KEYS[1]  session HASH   momentus:{s:<tag>}:session:<digest>
-- KEYS[2]  prefix         momentus:{s:<tag>}:   of the user's other keys, in the same slot. The user is stored in the
--                         record only, so the epoch's key is built here: one round trip instead of two.
-- ARGV[1]  digest: SHA-256 of the token, hex
--
-- Returns  {v, u, e, c, a, i, t, l, d, digest}, or nil: absent, past a limit, or of another epoch than the user's;
--          digest is that of the session's key: different from ARGV[1] after a rotation
-- Keeps    an ended session is deleted when it is found. At most one write per session and minute (or thirtieth
--          of the idle limit, if shorter): reading a session at every request costs no replication, no AOF.
--          The idle limit is the key's time to live. A reader, which may not write t, extends only that, so t is
--          computed from the time to live if that gives a later time.

local fields = { 'v', 'u', 'e', 'c', 'a', 'i', 't', 'l', 'd' }
local key, digest = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local record = redis.call('HMGET', key, unpack(fields))
while not record[1] do -- a token in its grace points to the next token, by n, until g
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
