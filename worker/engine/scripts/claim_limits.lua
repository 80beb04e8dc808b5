-- The number of jobs that limits let through in one claim. A part of claim.lua, before which the loader puts it; it
-- runs if any limit is defined. limits.lua, blocked.lua and turns.lua stand before this.
--
-- momentus:{group}:limits            HASH  "lane:<lane>" -> JSON {keys, urgent}: the jobs of the lane need one of these
-- momentus:{group}:limited           HASH  job id -> the limit that it names itself
-- momentus:{group}:blocked:<key>     ZSET  "<lane> <id>" of jobs that found the limit used up, by first due time
-- momentus:{group}:held_back:<lane>  SET   the same jobs by lane
-- momentus:{group}:short             SET   lanes that wait for a place
--
-- A job needs room in one of its lane's limits, the first that has any, and in its own. A job that names one of its
-- lane's limits needs that one.
--
-- Invariant: a lane without room leaves its jobs in place, and a job without room in its own limit is moved behind
-- the others, so that claims do not read the same jobs repeatedly.

local rules = {}
local limits, blocked, turns = require_limits(), require_blocked(), require_turns()
local MOST = 256 -- largest number of jobs moved back in one claim
local LOOK_AGAIN, LOOK_STEP = 60000, 60 -- delay (ms) of the next try of a blocked job, and its increase per job
local LOOK_BEHIND = 100 -- delay (ms) of the next try of a lane that left its place to another
local it, alternatives, is_alternative -- the claim; the lane's limits in order, nil if it needs none
local limited, held_back -- key of the jobs' own limits, if any; number of jobs moved back
local chosen -- the limits that the current job takes from, its lane's limit first
local left -- number of places reserved for other lanes

local function name(what)
  return 'momentus:' .. it.tag .. ':' .. what
end

local function read_binding()
  local needed = redis.call('HGET', name('limits'), 'lane:' .. it.lane)
  local readable, binding = pcall(cjson.decode, needed or '{"keys":[]}')
  return readable and type(binding) == 'table' and type(binding.keys) == 'table' and binding or nil
end

-- Begin a claim: {tag, lane, queue, holds, now, wanted}.
function rules.open(claim)
  it, alternatives, is_alternative, held_back, left = claim, nil, {}, 0, 0
  for _, set in ipairs({'held_back:' .. it.lane, 'short'}) do
    redis.call('SCARD', name(set)) -- fails before the first lease if the key has a wrong type
  end
  limited = redis.call('HLEN', name('limited')) > 0 and name('limited') or nil
  local binding = read_binding()
  local keys = {limits = name('limits'), buckets = name('buckets'), holds = it.holds}
  limits.open(it.tag, it.now, keys, binding and binding.urgent == true)
  if binding and #binding.keys == 0 then
    return
  end
  alternatives = {}
  for n, key in ipairs(binding and binding.keys or {}) do -- an unreadable binding gives no room
    alternatives[n] = limits.look(key)
    is_alternative[key] = true
  end
  it.urgent, it.is_alternative = limits.urgent, is_alternative
  left = turns.open(it, rules.room(), limits, blocked)
end

-- Number of further jobs that the lane's own limits let through.
function rules.room()
  if not alternatives then
    return math.huge
  end
  local room = 0
  for _, one in ipairs(alternatives) do
    room = room + one.room
  end
  return math.max(0, room - left)
end

-- The limits that these jobs name themselves, false for none.
function rules.named(ids)
  return limited and redis.call('HMGET', limited, unpack(ids)) or {}
end

-- True if enough jobs were moved back for one claim.
function rules.is_enough()
  return held_back >= MOST
end

local function hold_back(id, own, due)
  local line, member = name('blocked:' .. own.key), it.lane .. ' ' .. id
  redis.call('ZADD', line, 'NX', due, member)
  redis.call('SADD', name('held_back:' .. it.lane), id)
  own.blocked = nil -- unknown from here on
  local at = it.now + LOOK_AGAIN
  if redis.call('ZRANGE', line, 0, 0)[1] == member then
    at = math.min(at, math.max(it.now + 1, limits.free_at(own)))
  else
    at = at + LOOK_STEP * redis.call('ZCARD', line)
  end
  redis.call('ZADD', it.queue, at, id)
  held_back = held_back + 1
end

-- True if a due job may be taken; a job whose own limit is used up is moved back.
function rules.let_through(id, own_key, due)
  local own = own_key and limits.look(own_key) or nil
  if own and own.room < 1 then
    hold_back(id, own, due)
    return false
  elseif not alternatives or (own and is_alternative[own_key]) then
    chosen = {own}
    return true
  end
  for _, one in ipairs(alternatives) do
    if one.room >= 1 then
      chosen = {one, own}
      return true
    end
  end
  return false
end

-- Take a job that was let through. Returns the key of the limit that it counts against, "" for none.
function rules.take(id, own_key)
  for _, one in ipairs(chosen) do
    limits.take(one, id)
  end
  if own_key then
    blocked.release(it.tag, it.lane, id, own_key)
  end
  return chosen[1] and chosen[1].key or ''
end

-- End the lane's turn, with the number of taken jobs and whether limits held back due ones.
function rules.end_turn(taken, is_short)
  if alternatives then
    turns.close(taken, is_short)
  end
end

-- Record the use of limits, and schedule the next blocked jobs of each limit that jobs name.
function rules.close()
  limits.commit()
  for key, one in pairs(limits.known) do
    if limited and #one.ids > 0 and one.blocked ~= 0 then
      local at = one.room >= 1 and it.now or limits.free_at(one)
      if at < math.huge then
        blocked.promote(it.tag, key, math.max(1, math.min(one.room, MOST)), at)
      end
    end
  end
end

-- The time at which the lane's own limits, now used up, have room again.
function rules.free_at()
  local at = it.now + LOOK_AGAIN
  for _, one in ipairs(alternatives) do
    at = math.min(at, limits.free_at(one))
    if limits.is_full(one) then
      redis.call('SADD', name('short'), it.lane)
    end
  end
  if left > 0 then
    turns.hand_on()
    redis.call('SADD', name('short'), it.lane)
    return it.now + LOOK_BEHIND
  end
  return at
end

return rules
