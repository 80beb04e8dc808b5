-- Find the jobs of one lane that a filter matches, among some places of a zset. It only reads.
--
-- KEYS[1]  the zset in which the jobs stand: the lane's queue, leases or dead, or the group's uncertain
-- KEYS[2]  momentus:{group}:leases:<lane>     ZSET  running job id -> lease deadline (ms)
-- KEYS[3]  momentus:{group}:retrying:<lane>   SET   waiting job ids that failed before
-- KEYS[4]  momentus:{group}:parked:<lane>     HASH  waiting jobs that are not to run yet -> JSON {why, needs, reason}
-- KEYS[5]  momentus:{group}:held_back:<lane>  SET   waiting jobs that the limit they name keeps from running
-- ARGV[1]  hash tag, braces included
-- ARGV[2]  the state: "ready", "scheduled", "retrying", "parked", "limited", "leased", "dead" or "uncertain"
-- ARGV[3], ARGV[4]  the first and the last place
-- ARGV[5]  "REV" if places count from the highest score, else ""
-- ARGV[6]  a kind, "" for any
-- ARGV[7]  a recipient's domain, as the payload has it; "" for any
-- ARGV[8]  a text within the reason of the history's last entry, in lower case; "" for any
-- ARGV[9]  "ids" for the ids alone
--
-- Also reads, with the same tag: arq:job:<id>, momentus:{group}:history:<id>.
--
-- Returns  the ids; or five per job: its place, id, score (ms), the head of its payload, its note if it is parked, else the last
--          entry of its history ("" for none)
--
-- Invariant: the time grows with the number of places alone, since no more of a payload than its head is read; the
-- caller gives few places, so that other clients wait for less than 2 ms.

local HEAD = 383 -- the last byte of the head; it holds the kind and the first recipient
local LONGER = 2047 -- that of a mail with a long sender
local source, leases, retrying, parked, held_back = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local tag, state, first, last = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local kind, domain, text = ARGV[6], '@' .. ARGV[7] .. '"', ARGV[8]
local ids_alone = ARGV[9] == 'ids'
local any_kind, any_domain, any_text = kind == '', ARGV[7] == '', text == ''
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local plain = not string.find(text, '["\\/%c\128-\255]') -- such a text stands in JSON as it is
local histories = 'momentus:' .. tag .. ':history:'

local function is_running(id)
  local deadline = redis.call('ZSCORE', leases, id)
  return deadline and tonumber(deadline) > now
end

local function is_in_state(id)
  if is_running(id) then
    return state == 'leased'
  elseif state == 'leased' then
    return false
  elseif state == 'ready' then
    return true
  elseif redis.call('HEXISTS', parked, id) == 1 then
    return state == 'parked'
  elseif redis.call('SISMEMBER', held_back, id) == 1 then
    return state == 'limited'
  end
  return state == (redis.call('SISMEMBER', retrying, id) == 1 and 'retrying' or 'scheduled')
end

-- The first bytes of a payload; "" if the key holds something else.
local function head_of(id)
  local head = redis.pcall('GETRANGE', 'arq:job:' .. id, 0, HEAD)
  if type(head) ~= 'string' then
    return ''
  elseif #head > HEAD and not string.find(head, '"to":', 1, true) then
    return redis.call('GETRANGE', 'arq:job:' .. id, 0, LONGER)
  end
  return head
end

-- The recipients are the first addresses after "to"; the sender stands before it.
local function goes_there(head)
  local at = string.find(head, domain, 1, true)
  if not at then
    return false
  end
  local to = string.find(head, '"to":', 1, true)
  return to and string.find(head, domain, to, true)
end

local function last_event(id)
  if state == 'parked' then
    return redis.call('HGET', parked, id) or ''
  end
  local found = redis.pcall('LINDEX', histories .. id, -1) -- the key may hold something else
  return type(found) == 'string' and found or ''
end

local function says(event)
  if plain and not string.find(string.lower(event), text, 1, true) then
    return false
  end
  local readable, entry = pcall(cjson.decode, event)
  local reason = readable and type(entry) == 'table' and entry.reason
  return type(reason) == 'string' and string.find(string.lower(reason), text, 1, true)
end

local all_in_state = state == 'dead' or state == 'uncertain'
local reply = {}

local function add_matching(place, id)
  if not (all_in_state or is_in_state(id)) then
    return
  end
  local event = not any_text and last_event(id)
  if event and not says(event) then
    return
  end
  local head = ids_alone and any_domain and any_kind and '' or head_of(id)
  if not any_domain and not goes_there(head) then
    return
  elseif not any_kind and string.match(head, '"f":%s*"([^"\\]*)"') ~= kind then
    return
  end
  if ids_alone then
    reply[#reply + 1] = id
    return
  end
  local n, score = #reply, redis.call('ZSCORE', source, id)
  reply[n + 1], reply[n + 2], reply[n + 3], reply[n + 4], reply[n + 5] =
    place, id, tonumber(score), head, event or last_event(id)
end

local found = ARGV[5] == 'REV' and redis.call('ZRANGE', source, first, last, 'REV')
  or redis.call('ZRANGE', source, first, last)
for at = 1, #found do
  add_matching(first + at - 1, found[at])
end
return reply
