-- Put jobs of one lane into the queue, all of them or none.
--
-- KEYS[1]  arq:queue:{group}:<lane>       ZSET   job id -> due time (ms)
-- KEYS[2]  momentus:{group}:wake:<lane>   LIST   at most one token
-- KEYS[3]  momentus:{group}:counters      HASH
-- ARGV[1]  lane
-- ARGV[2]  hash tag, braces included
-- ARGV[3…] seven per job: id, payload, due, key ("" for none), fingerprint, window of the key (ms), limit ("" for none)
--          due: delay (ms), or "@" and the instant (ms) from which it may run; a past instant means now.
--          After it, if the job expires after a time: " x<ms>", counted from now, or " l<ms>", counted from then
--          limit: key of a limit that the job counts against
--
-- Also touches, all with the same tag: arq:job:<id>, momentus:{group}:unique:<key>, momentus:{group}:minute:<n>,
-- momentus:{group}:limited, momentus:{group}:keyed.
--
-- Returns  {"queued", index from 0, known id, index, known id, …}: the duplicates, in any order; the others were
--          queued
--          {"conflict", index from 0, known id}: a key is in use for other content; nothing was written
-- Raises   for a due of another form, and for a key of another type; nothing was written
--
-- Invariant: a job id is in the queue if and only if its payload exists; payloads have no time to live. A key has none
-- either until its job is over, and stands for its window at least (unique.lua). What is counted from now is written
-- into the payload as an instant of this clock: "x", its deadline, and "q", from when its age counts, unless the
-- producer's clock shows the same.

local call, match, sub = redis.call, string.match, string.sub
local queue, wake, counters = KEYS[1], KEYS[2], KEYS[3]
local lane, tag = ARGV[1], ARGV[2]
local FIELDS = 7
local limited, keyed = 'momentus:' .. tag .. ':limited', 'momentus:' .. tag .. ':keyed'
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- What a command that only looks says of a key; one that holds something else is refused before anything is written.
local function look(command, key)
  local reply = redis.pcall(command, key)
  if type(reply) == 'table' and reply.err then
    if not string.find(reply.err, 'WRONGTYPE', 1, true) then
      error(reply) -- the caller may not look, say
    end
    error({err = 'WRONGTYPE ' .. key .. ' holds something else; nothing was queued'})
  end
  return reply
end

local LATEST, CALENDAR_END = 2 ^ 52, 253402300799999 -- (ms); the latter is the last that an envelope may name

-- From when it may run, and its deadline if it is to expire after a time.
local function read_due(id, text)
  local soon = tonumber(text)
  if soon and soon >= 0 and soon < LATEST then
    return now + soon -- as nearly always
  end
  local first, from, span = match(text, '^(%S+) ([xl])(%d+)$')
  local due = first or text
  local delay, instant = tonumber(due), match(due, '^@(%d+)$')
  if delay and delay >= 0 and delay < LATEST then
    due = now + delay
  elseif instant then
    due = math.max(tonumber(instant), now)
  else
    local words = ' is neither a delay nor @ and an instant, with x or l and a time behind it or nothing'
    error({err = 'ERR job ' .. id .. ': due ' .. text .. words .. '; nothing was queued'})
  end
  return due, span and math.min((from == 'x' and now or due) + span, CALENDAR_END)
end

local function is_envelope(payload)
  return sub(payload, 1, 5) == '{"v":' and string.byte(payload, -1) == 125
end

local SAME = 1000 -- (ms) clocks that are as near as that count as one, and the payload is not copied

-- Whether the age of a job is right by what its producer wrote: "et" at the end of an envelope, nearly always the last
-- field; jobs of one call mostly share it.
local on_time
local function is_on_time(payload)
  local tail = sub(payload, -19)
  if tail == on_time then
    return true
  end
  local last = match(tail, '^"et":(%d+)}$')
  local asked = last or match(sub(payload, -96), '"et":(%d+)[%w,":]*}$')
  local is_near = asked and math.abs(now - asked) <= SAME
  on_time = last and is_near and tail or on_time
  return is_near
end

-- A payload of ours with the instants that count by this clock; one with a deadline was seen to be ours.
local function stamped(payload, due, deadline)
  if deadline then
    return sub(payload, 1, -2) .. string.format(',"q":%d,"x":%d}', math.min(due, CALENDAR_END), deadline)
  elseif is_on_time(payload) or not is_envelope(payload) then
    return payload
  end
  return sub(payload, 1, -2) .. string.format(',"q":%d}', math.min(due, CALENDAR_END))
end

-- A key that waits for the end of a job which is gone unseen, as a stock arq worker ends them: it stands for the rest
-- of its window, if there is any.
local function standing(unique, key, entry, id)
  if call('PTTL', unique) ~= -1 or call('EXISTS', 'arq:job:' .. id) == 1 then
    return entry
  end
  local row = call('HGET', keyed, id)
  for until_ms, one in string.gmatch(row or '', '%f[^%s%z](%d+) (%S+)') do
    if one == key then
      call('PEXPIREAT', unique, until_ms)
      if match(row, '^%d+ %S+$') then
        call('HDEL', keyed, id)
      end
      return call('GET', unique)
    end
  end
  call('DEL', unique)
end

look('ZCARD', queue)
look('HLEN', counters)
local tokens, is_limited, is_keyed = look('LLEN', wake), nil, nil

-- By key: what stands there, its name in Redis, and where the first job of this call begins.
local known, unique, opened = {}, {}, {}
local due, deadline = {}, {}

for at = 3, #ARGV, FIELDS do
  local key, fingerprint = ARGV[at + 3], ARGV[at + 4]
  due[at], deadline[at] = read_due(ARGV[at], ARGV[at + 2])
  if deadline[at] and not is_envelope(ARGV[at + 1]) then
    error({err = 'ERR job ' .. ARGV[at] .. ': its payload is no envelope and cannot expire; nothing was queued'})
  end
  if ARGV[at + 6] ~= '' then
    is_limited = is_limited or look('HLEN', limited)
  end
  if key ~= '' then
    is_keyed = is_keyed or look('HLEN', keyed)
    local entry = known[key]
    if not entry then
      unique[key] = 'momentus:' .. tag .. ':unique:' .. key
      entry = look('GET', unique[key])
      entry = entry and standing(unique[key], key, entry, sub(entry, #fingerprint + 2))
    end
    if not entry then
      known[key], opened[key] = fingerprint .. ' ' .. ARGV[at], at
    elseif sub(entry, 1, #fingerprint) ~= fingerprint then
      return {'conflict', (at - 3) / FIELDS, sub(entry, #fingerprint + 2)}
    else
      known[key] = entry
    end
  end
end

-- What a command may be given of a long list at a time: Lua's stack has room for some 8,000 values.
local PIECE = 4000

-- A command with all of the list behind its key, if it has one; the sum of the replies that are numbers.
local function in_pieces(command, key, list)
  local sum = 0
  for from = 1, #list, PIECE do
    local reply
    if key then
      reply = call(command, key, unpack(list, from, math.min(from + PIECE - 1, #list)))
    else
      reply = call(command, unpack(list, from, math.min(from + PIECE - 1, #list)))
    end
    sum = sum + (tonumber(reply) or 0)
  end
  return sum
end

local reply, names, new = {'queued'}, {}, {} -- new: where the jobs begin that are not known by their key
local taken, distinct = false, {} -- taken: whether some of the ids may be known, or one comes twice
for at = 3, #ARGV, FIELDS do
  local id, key = ARGV[at], ARGV[at + 3]
  if key == '' or opened[key] == at then
    names[#names + 1], new[#new + 1] = 'arq:job:' .. id, at
    taken, distinct[id] = taken or distinct[id], true
  else
    reply[#reply + 1], reply[#reply + 2] = (at - 3) / FIELDS, sub(known[key], #ARGV[at + 4] + 2)
  end
end

-- The payloads of many all at once, as nearly always; one by one when some of the ids are known.
taken = taken or #names == 1 or in_pieces('EXISTS', nil, names) > 0
local payloads, scores, uniques, rows, added = {}, {}, {}, {}, 0
for n, at in ipairs(new) do
  local id, key = ARGV[at], ARGV[at + 3]
  local payload = stamped(ARGV[at + 1], due[at], deadline[at])
  if taken and not call('SET', names[n], payload, 'NX') then
    reply[#reply + 1], reply[#reply + 2] = (at - 3) / FIELDS, id
  else
    added = added + 1
    payloads[2 * added - 1], payloads[2 * added] = names[n], payload
    scores[2 * added - 1], scores[2 * added] = due[at], id
    if key ~= '' then
      uniques[#uniques + 1], uniques[#uniques + 2] = unique[key], known[key]
      rows[#rows + 1], rows[#rows + 2] = id, string.format('%d %s', now + ARGV[at + 5], key)
    end
    if ARGV[at + 6] ~= '' then
      call('HSET', limited, id, ARGV[at + 6])
    end
  end
end
if not taken then
  in_pieces('MSET', nil, payloads)
end
in_pieces('ZADD', queue, scores)
if #rows > 0 then
  in_pieces('MSET', nil, uniques)
  in_pieces('HSET', keyed, rows)
end

if added > 0 then
  local minute = 'momentus:' .. tag .. ':minute:' .. math.floor(now / 60000)
  call('HINCRBY', counters, 'accepted:' .. lane, added)
  if redis.pcall('HINCRBY', minute, 'in:' .. lane, added) == added then -- a statistic; it must not reject the job
    call('PEXPIRE', minute, 3600000)
  end
  if tokens == 0 then
    call('LPUSH', wake, '1')
  end
end
return reply
