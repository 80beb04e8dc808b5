-- What limits let through in one claim. A part of claim.lua, which the loader puts before it and which is run where
-- some limit is defined; limits.lua, blocked.lua and turns.lua stand before this.
--
-- momentus:{group}:limits            HASH  "lane:<lane>" -> JSON {keys, urgent}: the jobs of the lane need one of these
-- momentus:{group}:limited           HASH  job id -> the limit that it names itself
-- momentus:{group}:blocked:<key>     ZSET  "<lane> <id>" of those that found it used up, by their first due time
-- momentus:{group}:held_back:<lane>  SET   the same jobs by lane
-- momentus:{group}:short             SET   lanes that wait for a place
--
-- A job needs room in one of its lane's limits, the first that has any, and in its own. One that names one of its
-- lane's limits insists on that.
--
-- Invariant: a lane without room leaves its jobs where they are, and a job without room in its own limit is moved
-- out of the others' way: no claim looks at the same jobs again and again.

local rules = {}
local limits, blocked, turns = require_limits(), require_blocked(), require_turns()
local MOST = 256 -- jobs moved out of the way in one claim
local LOOK_AGAIN, LOOK_STEP = 60000, 60 -- when a blocked job is looked at unasked: so much (ms), and more for each one
local LOOK_BEHIND = 100 -- when a lane looks again that left its place to another (ms)
local it, alternatives, is_alternative -- the claim; the lane's limits in order, nil where it needs none
local limited, held_back -- how many moved out of the way
local chosen -- what the job at hand takes from, its lane's limit first
local left -- how many places are other lanes'

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
    redis.call('SCARD', name(set)) -- fails before anything is leased when it holds something else
  end
  limited = redis.call('HLEN', name('limited')) > 0 and name('limited') or nil
  local binding = read_binding()
  local keys = {limits = name('limits'), buckets = name('buckets'), holds = it.holds}
  limits.open(it.tag, it.now, keys, binding and binding.urgent == true)
  if binding and #binding.keys == 0 then
    return
  end
  alternatives = {}
  for n, key in ipairs(binding and binding.keys or {}) do -- a binding that cannot be read gives nothing
    alternatives[n] = limits.look(key)
    is_alternative[key] = true
  end
  it.urgent, it.is_alternative = limits.urgent, is_alternative
  left = turns.open(it, rules.room(), limits, blocked)
end

-- How many more the lane's own limits let through.
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

-- Whether enough jobs were moved out of the way for one claim.
function rules.is_enough()
  return held_back >= MOST
end

local function hold_back(id, own, due)
  local line, member = name('blocked:' .. own.key), it.lane .. ' ' .. id
  redis.call('ZADD', line, 'NX', due, member)
  redis.call('SADD', name('held_back:' .. it.lane), id)
  local at = it.now + LOOK_AGAIN
  if redis.call('ZRANGE', line, 0, 0)[1] == member then
    at = math.min(at, math.max(it.now + 1, limits.free_at(own)))
  else
    at = at + LOOK_STEP * redis.call('ZCARD', line)
  end
  redis.call('ZADD', it.queue, at, id)
  held_back = held_back + 1
end

-- Whether a due job may be taken; one whose own limit is used up is moved out of the others' way.
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

-- The job that was let through is taken: the key of the limit that it counts against, "" for none.
function rules.take(id, own_key)
  for _, one in ipairs(chosen) do
    limits.take(one, id)
  end
  if own_key then
    blocked.release(it.tag, it.lane, id, own_key)
  end
  return chosen[1] and chosen[1].key or ''
end

-- Whether it found too little room for what is due is known; it is not asked any more.
function rules.end_turn(taken, is_short)
  if alternatives then
    turns.close(taken, is_short)
  end
end

-- Write down what was taken; the next of each limit that jobs name hears when its turn is.
function rules.close()
  limits.commit()
  for key, one in pairs(limits.known) do
    if limited and #one.ids > 0 then
      local at = one.room >= 1 and it.now or limits.free_at(one)
      if at < math.huge then
        blocked.promote(it.tag, key, math.max(1, math.min(one.room, MOST)), at)
      end
    end
  end
end

-- When the lane's own limits give one more, while they give nothing.
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
