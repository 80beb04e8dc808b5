-- Add one item to the pending digest under its key, or open a new digest. The caller composed the mail of all items
-- from the digest that it saw, so it is written only if that digest is still pending unchanged.
--
-- KEYS[1]  arq:queue:{group}:<lane>            ZSET   job id -> due time (ms)
-- KEYS[2]  momentus:{group}:wake:<lane>        LIST   at most one token
-- KEYS[3]  momentus:{group}:counters           HASH
-- KEYS[4]  momentus:{group}:digest:<collapse>  HASH   id, due (ms), count, items (bytes of the caller), last
-- ARGV[1]  lane
-- ARGV[2]  hash tag, braces included
-- ARGV[3]  id of the digest as the caller saw it ("" for none)
-- ARGV[4]  its count of items (0 for none)
-- ARGV[5]  id: the one that was seen, to join it; another one, to open a digest
-- ARGV[6]  payload: the mail of all items
-- ARGV[7]  window (ms) of a digest that is opened
-- ARGV[8]  count of items, with this one
-- ARGV[9]  items, with this one
-- ARGV[10] key ("" for none)
-- ARGV[11] fingerprint of this item
-- ARGV[12] window of the key (ms)
-- ARGV[13] how long it is worth sending once the window has ended (ms; "" or absent: for ever)
-- ARGV[14] text that no other call has ("" or absent: none), kept as last: the same call, sent twice by a client that
--          lost the reply, adds its item once
--
-- Also touches, with the same tag: arq:job:<id>, momentus:{group}:unique:<key>, momentus:{group}:keyed,
-- momentus:{group}:minute:<n>.
--
-- Returns  {"queued", id}      a digest was opened
--          {"gathered", id}    the item joined
--          {"duplicate", id}   the item is in already, by its key
--          {"conflict", id}    the key is taken by other content; nothing was written
--          {"other", id, ms left, count, items}  something else waits (or "", 0, 0, ""); nothing was written
--
-- Invariant: a digest is joined only while it waits for its window to end, so never once a worker may have it: its
-- score is still the time at which it was to go out, and that time has not come. Payloads have no time to live. The keys
-- of its items stand as long as the digest, and for their window at least (unique.lua).

local queue, wake, counters, digest = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local lane, tag, seen, seen_count = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local id, payload, window, count, items = ARGV[5], ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
local key, fingerprint, key_window, life = ARGV[10], ARGV[11], ARGV[12], tonumber(ARGV[13] or '')
local unique, keyed = 'momentus:' .. tag .. ':unique:' .. key, 'momentus:' .. tag .. ':keyed'
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function waiting()
  local held = redis.call('HMGET', digest, 'id', 'due', 'count', 'items')
  if not held[1] then
    return '', now, 0, ''
  end
  local due, score = tonumber(held[2]), redis.call('ZSCORE', queue, held[1])
  if due <= now or not score or tonumber(score) ~= due then
    return '', now, 0, ''
  end
  return held[1], due, tonumber(held[3]), held[4]
end

if key ~= '' then
  local entry = redis.call('GET', unique)
  if entry then
    local same = string.sub(entry, 1, #fingerprint) == fingerprint
    return {same and 'duplicate' or 'conflict', string.sub(entry, #fingerprint + 2)}
  end
end

local this = ARGV[14] or ''
if this ~= '' and redis.call('HGET', digest, 'last') == this then
  return {id == seen and 'gathered' or 'queued', id}
end

local held, due, held_count, held_items = waiting()
if held ~= seen or held_count ~= seen_count then
  return {'other', held, due - now, held_count, held_items}
end

-- The payload with the instants that count by this clock: from when its age counts, and its deadline.
local function stamped(from)
  if string.sub(payload, 1, 5) ~= '{"v":' or string.byte(payload, -1) ~= 125 then
    return payload
  end
  local deadline = life and string.format(',"x":%d', from + life) or ''
  return string.sub(payload, 1, -2) .. string.format(',"q":%d', from) .. deadline .. '}'
end

local state = 'gathered'
if id == held then
  redis.call('SET', 'arq:job:' .. id, stamped(due))
  redis.call('HSET', digest, 'count', count, 'items', items, 'last', this)
else
  state = 'queued'
  redis.call('SET', 'arq:job:' .. id, stamped(now + window))
  redis.call('ZADD', queue, now + window, id)
  redis.call('HSET', digest, 'id', id, 'due', string.format('%d', now + window), 'count', count, 'items', items,
             'last', this)
  redis.call('PEXPIRE', digest, window)
  local minute = 'momentus:' .. tag .. ':minute:' .. math.floor(now / 60000)
  redis.call('HINCRBY', counters, 'accepted:' .. lane, 1)
  if redis.pcall('HINCRBY', minute, 'in:' .. lane, 1) == 1 then -- a statistic; it must not reject the job
    redis.call('PEXPIRE', minute, 3600000)
  end
  if redis.call('LLEN', wake) == 0 then
    redis.call('LPUSH', wake, '1')
  end
end
if key ~= '' then
  local others = redis.call('HGET', keyed, id)
  redis.call('SET', unique, fingerprint .. ' ' .. id)
  redis.call('HSET', keyed, id, (others and others .. ' ' or '') .. string.format('%d %s', now + key_window, key))
end
return {state, id}
