-- Put jobs of one lane into the queue, all of them or none.
--
-- KEYS[1]  arq:queue:{group}:<lane>       ZSET   job id -> due time (ms)
-- KEYS[2]  momentus:{group}:wake:<lane>   LIST   at most one token
-- KEYS[3]  momentus:{group}:counters      HASH
-- ARGV[1]  lane
-- ARGV[2]  hash tag, braces included
-- ARGV[3…] seven per job: id, payload, due, key ("" for none), fingerprint, window of the key (ms), limit ("" for none)
--          due: how long to wait (ms), or "@" and the instant (ms) from which it may run; one that has passed is now
--          limit: the key of a limit that it counts against
--
-- Also touches, all with the same tag: arq:job:<id>, momentus:{group}:unique:<key>, momentus:{group}:minute:<n>,
-- momentus:{group}:limited.
--
-- Returns  {"queued", index from 0, known id, index, known id, …}: those that were there before, in any order; the
--          others were queued
--          {"conflict", index from 0, known id}: a key is taken by other content; nothing was written
-- Raises   for a due that is neither, and for a key that holds something else; nothing was written
--
-- Invariant: a job id is in the queue if and only if its payload exists; payloads have no time to live.

local queue, wake, counters = KEYS[1], KEYS[2], KEYS[3]
local lane, tag = ARGV[1], ARGV[2]
local FIELDS = 7
local limited = 'momentus:' .. tag .. ':limited'
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- What cannot be is refused before anything is written, and named.
local function check_type(command, key)
  local reply = redis.pcall(command, key)
  if type(reply) == 'table' and reply.err then
    error({err = 'WRONGTYPE ' .. key .. ' holds something else; nothing was queued'})
  end
end

local function due_at(id, due)
  local delay, instant = tonumber(due), tonumber(string.match(due, '^@(%d+)$'))
  if instant then
    return math.max(instant, now)
  elseif delay and delay >= 0 and delay < 2 ^ 52 then
    return now + delay
  end
  error({err = 'ERR job ' .. id .. ': due ' .. due .. ' is neither a delay nor @ and an instant; nothing was queued'})
end

check_type('ZCARD', queue)
check_type('HLEN', counters)
check_type('LLEN', wake)
check_type('HLEN', limited)

local known, due = {}, {}

for at = 3, #ARGV, FIELDS do
  local key, fingerprint = ARGV[at + 3], ARGV[at + 4]
  due[at] = due_at(ARGV[at], ARGV[at + 2])
  if key ~= '' then
    local unique = 'momentus:' .. tag .. ':unique:' .. key
    check_type('STRLEN', unique)
    local entry = known[key] or redis.call('GET', unique)
    if entry then
      if string.sub(entry, 1, #fingerprint) ~= fingerprint then
        return {'conflict', (at - 3) / FIELDS, string.sub(entry, #fingerprint + 2)}
      end
      known[key] = entry
    else
      known[key] = fingerprint .. ' ' .. ARGV[at]
    end
  end
end

-- What a command may be given of a long list at a time: Lua's stack has room for some 8,000 values.
local PIECE = 4000

local function in_pieces(list, call)
  for from = 1, #list, PIECE do
    call(unpack(list, from, math.min(from + PIECE - 1, #list)))
  end
end

local reply, names, new = {'queued'}, {}, {} -- new: where the jobs begin that are not known by their key
for at = 3, #ARGV, FIELDS do
  local key, first = ARGV[at + 3], ARGV[at]
  if key ~= '' then
    first = string.sub(known[key], #ARGV[at + 4] + 2)
  end
  if first == ARGV[at] then
    names[#names + 1], new[#new + 1] = 'arq:job:' .. first, at
  else
    reply[#reply + 1], reply[#reply + 2] = (at - 3) / FIELDS, first
  end
end

-- The payloads all at once, as nearly always; one by one when some of the ids are known, or one comes twice.
local taken, distinct = 0, {}
in_pieces(names, function(...)
  taken = taken + redis.call('EXISTS', ...)
end)
for _, name in ipairs(names) do
  taken = taken + (distinct[name] and 1 or 0)
  distinct[name] = true
end
local payloads, scores, added = {}, {}, 0
for n, at in ipairs(new) do
  local id, payload, key = ARGV[at], ARGV[at + 1], ARGV[at + 3]
  if taken > 0 and not redis.call('SET', names[n], payload, 'NX') then
    reply[#reply + 1], reply[#reply + 2] = (at - 3) / FIELDS, id
  else
    added = added + 1
    payloads[2 * added - 1], payloads[2 * added] = names[n], payload
    scores[2 * added - 1], scores[2 * added] = due[at], id
    if key ~= '' then
      redis.call('SET', 'momentus:' .. tag .. ':unique:' .. key, known[key], 'PX', ARGV[at + 5])
    end
    if ARGV[at + 6] ~= '' then
      redis.call('HSET', limited, id, ARGV[at + 6])
    end
  end
end
if taken == 0 then
  in_pieces(payloads, function(...)
    redis.call('MSET', ...)
  end)
end
in_pieces(scores, function(...)
  redis.call('ZADD', queue, ...)
end)

if added > 0 then
  local minute = 'momentus:' .. tag .. ':minute:' .. math.floor(now / 60000)
  redis.call('HINCRBY', counters, 'accepted:' .. lane, added)
  if redis.pcall('HINCRBY', minute, 'in:' .. lane, added) == added then -- a figure for people; it refuses no job
    redis.call('PEXPIRE', minute, 3600000)
  end
  if redis.call('LLEN', wake) == 0 then
    redis.call('LPUSH', wake, '1')
  end
end
return reply
