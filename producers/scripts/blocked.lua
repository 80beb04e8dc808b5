-- Jobs blocked by the limit that they name, and the places of running jobs. A part of other scripts: the
-- loader puts it before claim.lua, finish.lua, take_out.lua and limits_change.lua.
--
-- momentus:{group}:limited           HASH  job id -> the limit that it names, until it has left for good
-- momentus:{group}:blocked:<key>     ZSET  "<lane> <id>" of those that found it used up, by their first due time
-- momentus:{group}:held_back:<lane>  SET   the same jobs by lane, for operators
-- momentus:{group}:occupying:<key>   SET   ids of running jobs that hold a place
-- momentus:{group}:short             SET   lanes that wait for a place of one of their limits
--
-- A blocked job stays in its queue with a score of a minute or more; any script that frees room of its limit moves
-- the first of them to the front. So claims do not read it repeatedly, and a missed move only delays it.
--
-- Invariant: only scores of jobs that are in a queue change here; nothing enters or leaves one.

local blocked = {}

-- A reply, or an empty one from a key that holds something else: that is not worth a job.
local function members(...)
  local found = redis.pcall(...)
  return found.err and {} or found
end

-- One worker that waits for work of a lane looks again.
function blocked.wake(tag, lane)
  local wake = 'momentus:' .. tag .. ':wake:' .. lane
  if redis.call('LLEN', wake) == 0 then
    redis.call('LPUSH', wake, '1')
  end
end

-- Jobs are held back no more: they run, or have left.
function blocked.release(tag, lane, ids, key)
  local line = {}
  for n, id in ipairs(ids) do
    line[n] = lane .. ' ' .. id
  end
  local released = redis.pcall('ZREM', 'momentus:' .. tag .. ':blocked:' .. key, unpack(line))
  if type(released) ~= 'number' or released == 0 then
    return 0
  end
  redis.pcall('SREM', 'momentus:' .. tag .. ':held_back:' .. lane, unpack(ids))
  return released
end

-- Some of one lane; how many of them are gone.
local function bring_forward(tag, key, lane, ids, at)
  local queue, sooner, gone = 'arq:queue:' .. tag .. ':' .. lane, {}, {}
  -- One at a time by ZSCORE: the rights of a backend, which takes out jobs, have no ZMSCORE.
  local scores = #ids == 1 and {redis.call('ZSCORE', queue, ids[1])} or redis.call('ZMSCORE', queue, unpack(ids))
  for n, id in ipairs(ids) do
    if not scores[n] then
      gone[#gone + 1] = id
    elseif tonumber(scores[n]) > at then
      sooner[#sooner + 1], sooner[#sooner + 2] = at, id
    end
  end
  if #sooner > 0 then
    redis.call('ZADD', queue, 'XX', unpack(sooner))
    blocked.wake(tag, lane)
  end
  if #gone > 0 then
    blocked.release(tag, lane, gone, key)
  end
  return #gone
end

-- Have the first `count` of a limit looked at at an instant (ms), or sooner where they are to be anyway.
-- Those that are gone are forgotten, and others stand in for them. Returns the ids by lane.
function blocked.promote(tag, key, count, at)
  local lanes, gone
  repeat
    lanes, gone = {}, 0
    for _, member in ipairs(members('ZRANGE', 'momentus:' .. tag .. ':blocked:' .. key, 0, count - 1)) do
      local lane, id = string.match(member, '^(%S+) (.*)$')
      lanes[lane] = lanes[lane] or {}
      table.insert(lanes[lane], id)
    end
    for lane, ids in pairs(lanes) do
      gone = gone + bring_forward(tag, key, lane, ids, at)
    end
  until gone == 0
  return lanes
end

-- Whether one of several keys exists; of one the command that is to follow says so.
local function may_exist(tag, what, keys)
  local names = {}
  for n, key in ipairs(keys) do
    names[n] = 'momentus:' .. tag .. ':' .. what .. ':' .. key
  end
  return #keys == 1 or (#keys > 1 and redis.call('EXISTS', unpack(names)) > 0)
end

-- Take the ids off the places of their limits; by limit, how many were there.
local function free_places(tag, places)
  local keys, freed = {}, {}
  for key in pairs(places) do
    keys[#keys + 1] = key
  end
  if not may_exist(tag, 'occupying', keys) then
    return freed, {}
  end
  local of_those = {}
  for _, key in ipairs(keys) do
    local count = redis.pcall('SREM', 'momentus:' .. tag .. ':occupying:' .. key, unpack(places[key]))
    if type(count) == 'number' and count > 0 then -- else it holds something else, or the limit counts no places
      freed[key], of_those[#of_those + 1] = count, key
    end
  end
  return freed, of_those
end

-- Running jobs gave back their places, by limit: others may have them.
function blocked.give_back(tag, places, now)
  local freed, keys = free_places(tag, places)
  if #keys == 0 then
    return
  end
  if may_exist(tag, 'blocked', keys) then
    for key, count in pairs(freed) do
      blocked.promote(tag, key, count, now)
    end
  end
  local short = 'momentus:' .. tag .. ':short'
  for _, lane in ipairs(members('SMEMBERS', short)) do
    blocked.wake(tag, lane)
  end
  redis.call('DEL', short)
end

-- A job left without running to its end: taken out, given up, gone. The next one of its limit is to be looked at.
-- A dead job keeps the name of its limit, because it may be revived.
function blocked.leave(tag, lane, id, now, is_dead)
  local limited = 'momentus:' .. tag .. ':limited'
  local key = redis.call('HGET', limited, id)
  if not key then
    return
  end
  if not is_dead then
    redis.call('HDEL', limited, id)
  end
  blocked.release(tag, lane, {id}, key)
  redis.pcall('SREM', 'momentus:' .. tag .. ':occupying:' .. key, id)
  blocked.promote(tag, key, 1, now)
end

return blocked
