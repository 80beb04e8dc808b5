-- The order of the lanes of a group that share a limit with too little room. A part of claim.lua, after limits.lua.
--
-- momentus:{group}:turns  HASH  <lane> -> "<seen> <since>": the time (ms) of the lane's last claim by a worker with a
--                               free slot, and the time since which limits gave it too little room (0: they did not);
--                               "row" -> number of jobs of urgent lanes since the last job of another lane
--
-- An urgent lane comes first, but every fifth place goes to a waiting lane that is not urgent. Among lanes of the same
-- urgency, the lane with the longest wait comes first. A lane leaves one place to each lane that comes before it, shares
-- one of its limits and has a due job that a worker would claim now. The reserve of urgent lanes is not left to others.
--
-- Invariant: no place is kept for a lane without workers, or for due jobs that were passed over although there was room.

local turns = {}
local ATTENDED = 5000 -- (ms) a lane that was looked at so lately has a worker
local NOTED_EACH = 1000 -- (ms) so old a note may be
local IN_A_ROW = 4
local limits, blocked -- the modules of this claim
local it, key, row, mine -- the claim, the hash, and what it says

local function read(note)
  local seen, since = string.match(note or '', '^(%d+) (%d+)$')
  return {seen = tonumber(seen or 0), since = tonumber(since or 0)}
end

local function read_binding(lane)
  local readable, binding = pcall(cjson.decode, redis.call('HGET', limits.keys.limits, 'lane:' .. lane) or '')
  return readable and type(binding) == 'table' and type(binding.keys) == 'table' and binding or {keys = {}}
end

local function shares(binding)
  for _, one in ipairs(binding.keys) do
    if it.is_alternative[one] then
      return true
    end
  end
end

-- Since when a lane has had a due job that found no room, or that nobody has looked at yet; nothing when it has none.
local function waits_since(lane, note)
  if it.now - note.seen > ATTENDED then
    return nil
  end
  local due = redis.call('ZRANGE', 'arq:queue:' .. it.tag .. ':' .. lane, '-inf', it.now, 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
  local at = tonumber(due[2])
  if not at then
    return nil
  end
  return note.since > 0 and note.since or (at >= note.seen and at or nil)
end

local function comes_before(urgent, since)
  if urgent ~= it.urgent then
    return urgent == (row < IN_A_ROW)
  end
  return since < (mine.since > 0 and mine.since or it.now)
end

-- Begin a claim: {tag, lane, now, wanted, urgent, is_alternative}; how many of the room are to be left to others.
-- Without bounds nothing is read.
function turns.open(claim, room, limits_module, blocked_module)
  it, limits, blocked = claim, limits_module, blocked_module
  mine, row, it.left = nil, 0, {}
  if room == math.huge or claim.wanted < 1 then
    return 0
  end
  key = 'momentus:' .. it.tag .. ':turns'
  local notes = redis.call('HGETALL', key)
  local others = {}
  for at = 1, #notes, 2 do
    if notes[at] == 'row' then
      row = tonumber(notes[at + 1]) or 0
    elseif notes[at] == it.lane then
      mine = read(notes[at + 1])
    else
      others[notes[at]] = read(notes[at + 1])
    end
  end
  mine = mine or read()
  for lane, note in pairs(others) do
    local since = room >= 1 and waits_since(lane, note)
    local binding = since and read_binding(lane)
    if since and shares(binding) and comes_before(binding.urgent == true, since) then
      it.left[#it.left + 1] = lane
    end
  end
  local common = #it.left > 0 and it.urgent and limits.common_room(it.is_alternative) or room
  return math.min(#it.left, math.max(0, common))
end

-- Those to whom something was left are to take it.
function turns.hand_on()
  for _, lane in ipairs(it.left) do
    blocked.wake(it.tag, lane)
  end
end

-- End: how many were taken, and whether one that is due found no room.
function turns.close(taken, is_short)
  if not mine then
    return
  end
  -- A lane that got a place waits anew, behind one that began to wait in the same millisecond and got none.
  local began = taken > 0 and it.now + 1 or (mine.since > 0 and mine.since or it.now)
  local since = is_short and began or 0
  if since ~= mine.since or it.now - mine.seen > NOTED_EACH then
    redis.call('HSET', key, it.lane, string.format('%.0f %.0f', it.now, since))
  end
  local after = it.urgent and math.min(row + taken, IN_A_ROW) or (taken > 0 and 0 or row)
  if after ~= row then
    redis.call('HSET', key, 'row', after)
  end
end

return turns
