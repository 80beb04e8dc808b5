-- Put jobs of one lane into the queue, all of them or none.
--
-- KEYS[1]  arq:queue:{group}:<lane>       ZSET   job id -> due time (ms)
-- KEYS[2]  momentus:{group}:wake:<lane>   LIST   at most one token
-- KEYS[3]  momentus:{group}:counters      HASH
-- ARGV[1]  lane
-- ARGV[2]  hash tag, braces included
-- ARGV[3…] six per job: id, payload, delay (ms), key ("" for none), fingerprint, window of the key (ms)
--
-- Also touches, all with the same tag: arq:job:<id>, momentus:{group}:unique:<key>, momentus:{group}:minute:<n>.
--
-- Returns  {"queued", state, id, state, id, …} with state "queued" or "duplicate"
--          {"conflict", index from 0, known id}: a key is taken by other content; nothing was written
--
-- Invariant: a job id is in the queue if and only if its payload exists; payloads have no time to live.

local queue, wake, counters = KEYS[1], KEYS[2], KEYS[3]
local lane, tag = ARGV[1], ARGV[2]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local known = {}

for at = 3, #ARGV, 6 do
  local key, fingerprint = ARGV[at + 3], ARGV[at + 4]
  if key ~= '' then
    local entry = known[key] or redis.call('GET', 'momentus:' .. tag .. ':unique:' .. key)
    if entry then
      if string.sub(entry, 1, #fingerprint) ~= fingerprint then
        return {'conflict', (at - 3) / 6, string.sub(entry, #fingerprint + 2)}
      end
      known[key] = entry
    else
      known[key] = fingerprint .. ' ' .. ARGV[at]
    end
  end
end

local reply, added = {'queued'}, 0

for at = 3, #ARGV, 6 do
  local id, payload, delay, key, window = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3], ARGV[at + 5]
  local first = id
  if key ~= '' then
    first = string.sub(known[key], #ARGV[at + 4] + 2)
  end
  if first == id and redis.call('SET', 'arq:job:' .. id, payload, 'NX') then
    redis.call('ZADD', queue, now + delay, id)
    if key ~= '' then
      redis.call('SET', 'momentus:' .. tag .. ':unique:' .. key, known[key], 'PX', window)
    end
    added = added + 1
    reply[#reply + 1] = 'queued'
  else
    reply[#reply + 1] = 'duplicate'
  end
  reply[#reply + 1] = first
end

if added > 0 then
  local minute = 'momentus:' .. tag .. ':minute:' .. math.floor(now / 60000)
  redis.call('HINCRBY', counters, 'accepted:' .. lane, added)
  if redis.call('HINCRBY', minute, 'in:' .. lane, added) == added then
    redis.call('PEXPIRE', minute, 3600000)
  end
  if redis.call('LLEN', wake) == 0 then
    redis.call('LPUSH', wake, '1')
  end
end
return reply
