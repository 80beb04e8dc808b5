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
-- Limits are read together, once a claim. Jobs without room are moved back together, at the end of each round of the
-- claim, and more of them are searched for than it came to, so that a flood of one limit is out of the way soon. Both
-- are bounded: other clients wait for the length of a call.
--
-- Invariant: a lane without room leaves its jobs in place, and a job without room in its own limit is moved behind
-- the others, so that claims do not read the same jobs repeatedly.

local rules = {}
local limits, blocked, turns = require_limits(), require_blocked(), nil -- turns: of a lane with limits only
local MOST = 128 -- jobs moved back in one claim, and looked at for that alone: about a millisecond of Redis
local MOST_BROUGHT = 256 -- blocked jobs of a limit that are to be looked at after a claim
local LOOK_AGAIN, LOOK_STEP = 60000, 60 -- delay (ms) of the next try of a blocked job, and its increase per job
local LOOK_BEHIND = 100 -- delay (ms) of the next try of a lane that left its place to another
local it, alternatives, is_alternative -- the claim; the lane's limits in order, nil if it needs none
local limited -- key of the jobs' own limits, if any
local held_back, searched -- numbers of jobs moved back, and of those looked at for that alone
local aside, running -- by limit, jobs of this round: {own, ids, line} without room; ids that leave its line
local chosen, also -- the limits that the current job takes from, its lane's limit first; nil for none
local left -- number of places reserved for other lanes

local function name(what)
  return 'momentus:' .. it.tag .. ':' .. what
end

local function read_binding()
  local needed = redis.call('HGET', name('limits'), 'lane:' .. it.lane)
  local readable, binding = pcall(cjson.decode, needed or '{"keys":[]}')
  return readable and type(binding) == 'table' and type(binding.keys) == 'table' and binding or nil
end

-- Begin a claim: {tag, lane, queue, holds, cancelled, now, wanted}; cancelled: nil if nothing is.
function rules.open(claim)
  it, alternatives, is_alternative, left = claim, nil, {}, 0
  held_back, searched, aside, running = 0, 0, {}, {}
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
  turns = turns or require_turns()
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
  local keys = limited and redis.call('HMGET', limited, unpack(ids)) or {}
  limits.look_all(keys)
  return keys
end

-- True if enough jobs were moved back for one claim.
function rules.is_enough()
  return held_back >= MOST
end

local function hold_back(id, own, due)
  local jobs = aside[own.key] or {own = own, ids = {}, line = {}}
  local n = #jobs.ids + 1
  aside[own.key], jobs.ids[n] = jobs, id
  jobs.line[2 * n - 1], jobs.line[2 * n] = due, it.lane .. ' ' .. id
end

-- True if a due job may be taken; a job whose own limit is used up is moved back.
function rules.let_through(id, own_key, due)
  local own = own_key and limits.look(own_key) or nil
  chosen, also = own, nil
  if own and own.room < 1 then
    hold_back(id, own, due)
    return false
  elseif not alternatives or (own and is_alternative[own_key]) then
    return true
  end
  for _, one in ipairs(alternatives) do
    if one.room >= 1 then
      chosen, also = one, own
      return true
    end
  end
  return false
end

-- Take a job that was let through. Returns the key of the limit that it counts against, "" for none.
function rules.take(id, own_key)
  if chosen then
    limits.take(chosen, id)
  end
  if also then
    limits.take(also, id)
  end
  if own_key and limits.known[own_key].blocked ~= 0 then
    running[own_key] = running[own_key] or {}
    table.insert(running[own_key], id)
  end
  return chosen and chosen.key or ''
end

-- Put the jobs of one limit into its line. The first of that is looked at when there is room, the others in turn.
local function line_up(jobs, scores)
  local own, line = jobs.own, name('blocked:' .. jobs.own.key)
  local before = own.blocked or redis.call('ZCARD', line)
  local after = before + redis.call('ZADD', line, 'NX', unpack(jobs.line))
  local first, later = redis.call('ZRANGE', line, 0, 0)[1], it.now + LOOK_AGAIN
  for n, id in ipairs(jobs.ids) do
    local at = later + LOOK_STEP * math.min(before + n, after)
    if jobs.line[2 * n] == first then
      at = math.min(later, math.max(it.now + 1, limits.free_at(own)))
    end
    scores[#scores + 1], scores[#scores + 2] = at, id
  end
  own.blocked = after
  return jobs.ids
end

-- Move back the jobs that found no room, all at once. Returns their number.
local function move_back()
  local scores, moved, set = {}, 0, name('held_back:' .. it.lane)
  for _, jobs in pairs(aside) do
    redis.call('SADD', set, unpack(line_up(jobs, scores)))
    moved = moved + #jobs.ids
  end
  if moved > 0 then
    redis.call('ZADD', it.queue, unpack(scores))
  end
  aside, held_back = {}, held_back + moved
  return moved
end

-- Of jobs whose limit has no room, those that are over all the same and are to be found at their turn: cancelled, or
-- without a payload.
local function over(ids)
  local payloads, found = {}, {}
  for n, id in ipairs(ids) do
    payloads[n] = 'arq:job:' .. id
  end
  if #ids == 0 or (not it.cancelled and redis.call('EXISTS', unpack(payloads)) == #ids) then
    return found
  end
  for n, id in ipairs(ids) do
    found[id] = redis.call('EXISTS', payloads[n]) == 0 or (it.cancelled and redis.call('SISMEMBER', it.cancelled, id) == 1)
  end
  return found
end

-- Look at the next due jobs only to move back those without room. Returns the number of these.
local function search(foreign, count)
  local due = redis.call('ZRANGE', it.queue, '-inf', it.now, 'BYSCORE', 'LIMIT', foreign, count, 'WITHSCORES')
  local ids, without_room = {}, {}
  for at = 1, #due, 2 do
    ids[#ids + 1] = due[at]
  end
  local named = #ids > 0 and rules.named(ids) or {}
  for n, id in ipairs(ids) do
    if named[n] and limits.known[named[n]].room < 1 then
      without_room[#without_room + 1] = id
    end
  end
  local is_over = over(without_room)
  for n, id in ipairs(ids) do
    if named[n] and limits.known[named[n]].room < 1 and not is_over[id] then
      hold_back(id, limits.known[named[n]], due[2 * n])
    end
  end
  return move_back()
end

-- End a round: what runs has left its line, and what found no room is moved back. As many more are looked at as there
-- are likely to be, so that a flood of one limit leaves the way in a few claims.
function rules.end_round(foreign)
  for key, ids in pairs(running) do
    local own = limits.known[key]
    local released = blocked.release(it.tag, it.lane, ids, key)
    own.blocked = own.blocked and own.blocked - released
  end
  running = {}
  local moved = move_back()
  while moved > 0 and searched < MOST and held_back < MOST do
    local count = math.min(8 * moved, MOST - searched, MOST - held_back)
    searched, moved = searched + count, search(foreign, count)
  end
end

-- End the lane's turn, with the number of taken jobs and whether limits held back due ones.
function rules.end_turn(taken, is_short)
  if alternatives then
    turns.close(taken, is_short)
  end
end

-- Have the next blocked jobs of a limit looked at: as many as one claim takes; more if none of these is of this lane.
local function bring_next(one, at)
  local room = math.max(1, math.min(one.room, MOST_BROUGHT))
  local near = math.min(room, it.wanted)
  local lanes = blocked.promote(it.tag, one.key, near, at)
  if near < room and not lanes[it.lane] then
    blocked.promote(it.tag, one.key, room, at)
  end
end

-- Record the use of limits, and schedule the next blocked jobs of each limit that jobs name.
function rules.close()
  limits.commit()
  for _, one in pairs(limits.known) do
    if limited and one.taken > 0 and one.blocked ~= 0 then
      local at = one.room >= 1 and it.now or limits.free_at(one)
      if at < math.huge then
        bring_next(one, at)
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
