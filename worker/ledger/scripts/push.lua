-- Queue jobs of the ledger, all of one lane; those that Redis knows stay as they are.
--
-- KEYS[1]  arq:queue:{group}:<lane>          ZSET  job id -> due time (ms)
-- KEYS[2]  momentus:{group}:wake:<lane>      LIST  at most one token
-- KEYS[3]  momentus:{group}:counters         HASH
-- KEYS[4]  momentus:{group}:ledger           HASH  id of a live job of the ledger -> day of its row
-- KEYS[5]  momentus:{group}:ended            HASH  id of one that ended -> JSON, until Postgres has it
-- KEYS[6]  momentus:{group}:effects          HASH  job id -> attempt whose effect has begun, and a note
-- KEYS[7]  momentus:{group}:retrying:<lane>  SET   waiting job ids that failed before
-- ARGV[1]  lane
-- ARGV[2]  hash tag, braces included
-- ARGV[3…] nine per job: id, payload, instant (ms) from which it may run, key ("" for none), fingerprint, window of the
--          key (ms), limit ("" for none), day of its row, mark ("" for none): the last attempt whose effect began, and
--          after a space its note
--
-- Also touches, all with the same tag: arq:job:<id>, arq:result:<id>, arq:retry:<id>, momentus:{group}:unique:<key>,
-- momentus:{group}:keyed, momentus:{group}:limited, momentus:{group}:minute:<n>. Before it stands ledger.lua.
--
-- Returns  three per job that was not queued: its index from 0, what it is, an id or a mark:
--            "known"      it is live or has ended: by an earlier call, or it was queued before its row was staged. In place
--                         of the id stands its mark, "" for none: made before that, it may be in no other store
--            "duplicate"  its key is in use by the job of this id, with the same content
--            "conflict"   the same with other content; the id is "" if the key's name in Redis holds something else
-- Raises   for a key of the lane or the group with another type; nothing was written
--
-- Invariant: a job is in the ledger's hash or in that of the ended once this returned, unless it is a duplicate or a
-- conflict. A mark makes the next claim count the effect as uncertain. A worker whose mark comes after this hears of the row
-- (begin_effect.lua).

local call, match, sub = redis.call, string.match, string.sub
local queue, wake, counters, live, ended = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local effects, retrying = KEYS[6], KEYS[7]
local lane, tag = ARGV[1], ARGV[2]
local FIELDS = 9
local limited, keyed = 'momentus:' .. tag .. ':limited', 'momentus:' .. tag .. ':keyed'
local clock = call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

call('ZCARD', queue)
call('SCARD', retrying)
local tokens = call('LLEN', wake)
for _, hash in ipairs({counters, live, ended, effects, limited, keyed}) do
  call('HLEN', hash)
end

local ids, names = {}, {}
for at = 3, #ARGV, FIELDS do
  ids[#ids + 1] = ARGV[at]
  names[#names + 1], names[#names + 2] = 'arq:job:' .. ARGV[at], 'arq:result:' .. ARGV[at]
end
local is_live, has_ended = call('HMGET', live, unpack(ids)), call('HMGET', ended, unpack(ids))
local some_queued = call('EXISTS', unpack(names)) > 0

local reply = {}
local function tell(n, what, id)
  local last = #reply
  reply[last + 1], reply[last + 2], reply[last + 3] = n - 1, what, id
end

-- A job that was queued by its producer has no day in its envelope, by which its mark and its end find its row. A run that
-- goes on has the former envelope.
local function add_day(id, day)
  local payload = redis.pcall('GET', 'arq:job:' .. id)
  if type(payload) == 'string' and sub(payload, 1, 5) == '{"v":' and not match(sub(payload, -128), '"l":%d+[%w,":]*}$') then
    call('SET', 'arq:job:' .. id, sub(payload, 1, -2) .. ',"l":' .. day .. '}')
  end
end

-- A result says how a job ended that was queued and ran before its row was seen. A dead one may be revived.
local function note_earlier_end(id, day)
  local readable, result = pcall(cjson.decode, redis.pcall('GET', 'arq:result:' .. id))
  result = readable and type(result) == 'table' and result or {}
  local told = type(result.r) == 'table' and result.r or {reply = result.r}
  require_ledger().write(tag, id, day, {state = result.o or (result.s == false and 'dead' or 'done'), attempt = result.t,
    account = told.account, reply = told.reply or told.reason, at_ms = now})
  add_day(id, day)
end

-- True if the job was queued before its row was staged, as after a timeout that hid the reply.
local function was_queued(id, day)
  if call('EXISTS', 'arq:result:' .. id) == 1 then
    note_earlier_end(id, day)
    return true
  elseif call('EXISTS', 'arq:job:' .. id) == 1 then
    call('HSET', live, id, day)
    add_day(id, day)
    return true
  end
end

-- Who has a key: "free", "own", "over" (its own job, which has ended), or "duplicate" or "conflict" and the id.
local function standing(name, fingerprint, id)
  local entry = redis.pcall('GET', name)
  if type(entry) == 'table' then
    if not string.find(entry.err, 'WRONGTYPE', 1, true) then
      error(entry) -- the caller may not look, say
    end
    return 'conflict', ''
  elseif not entry then
    return 'free'
  end
  local holder = match(entry, ' (%S+)$') or ''
  if holder == id then
    return call('PTTL', name) == -1 and 'own' or 'over'
  elseif call('PTTL', name) == -1 and call('EXISTS', 'arq:job:' .. holder) == 0 then
    return 'free' -- its job was lost
  end
  return sub(entry, 1, #fingerprint + 1) == fingerprint .. ' ' and 'duplicate' or 'conflict', holder
end

-- A job's age counts from what its producer wrote, unless that lies ahead of this clock.
local function stamped(payload)
  local asked = tonumber(match(sub(payload, -160), '"et":(%d+)[%w,":]*}$'))
  if asked and asked > now + 1000 and sub(payload, 1, 5) == '{"v":' then
    return sub(payload, 1, -2) .. string.format(',"q":%d}', now)
  end
  return payload
end

local payloads, scores, rows, added = {}, {}, {}, 0
local first = {} -- key -> id and fingerprint of the first job of this call with it

local function take(at, name)
  local id, day, mark = ARGV[at], ARGV[at + 7], ARGV[at + 8]
  added = added + 1
  payloads[2 * added - 1], payloads[2 * added] = 'arq:job:' .. id, stamped(ARGV[at + 1])
  scores[2 * added - 1], scores[2 * added] = math.max(now, tonumber(ARGV[at + 2])), id
  rows[2 * added - 1], rows[2 * added] = id, day
  if name then
    call('SET', name, ARGV[at + 4] .. ' ' .. id)
    call('HSET', keyed, id, string.format('%d %s', now + ARGV[at + 5], ARGV[at + 3]))
  end
  if ARGV[at + 6] ~= '' then
    call('HSET', limited, id, ARGV[at + 6])
  end
  if mark ~= '' then
    call('SET', 'arq:retry:' .. id, match(mark, '^%d+'))
    call('SADD', retrying, id)
    call('HSET', effects, id, mark)
  end
end

local function push(n, at)
  local id, key, fingerprint = ARGV[at], ARGV[at + 3], ARGV[at + 4]
  if is_live[n] or has_ended[n] or (some_queued and was_queued(id, ARGV[at + 7])) then
    return tell(n, 'known', not has_ended[n] and call('HGET', effects, id) or '')
  elseif key == '' then
    return take(at)
  end
  local name = 'momentus:' .. tag .. ':unique:' .. key
  local state, holder = standing(name, fingerprint, id)
  if first[key] then
    return tell(n, first[key].fingerprint == fingerprint and 'duplicate' or 'conflict', first[key].id)
  elseif state == 'over' then
    note_earlier_end(id, ARGV[at + 7])
    return tell(n, 'known', '')
  elseif holder then
    return tell(n, state, holder)
  end
  first[key] = {id = id, fingerprint = fingerprint}
  take(at, name)
end

for n = 1, #ids do
  push(n, 3 + (n - 1) * FIELDS)
end

if added > 0 then
  call('MSET', unpack(payloads))
  call('ZADD', queue, unpack(scores))
  call('HSET', live, unpack(rows))
  local minute = 'momentus:' .. tag .. ':minute:' .. math.floor(now / 60000)
  call('HINCRBY', counters, 'accepted:' .. lane, added)
  if redis.pcall('HINCRBY', minute, 'in:' .. lane, added) == added then -- a statistic; it must not reject the jobs
    call('PEXPIRE', minute, 3600000)
  end
  if tokens == 0 then
    call('LPUSH', wake, '1')
  end
end
return reply
