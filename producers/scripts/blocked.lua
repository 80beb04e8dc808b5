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

-- A job is held back no more: it runs, or has left.
function blocked.release(tag, lane, id, key)
  if redis.pcall('ZREM', 'momentus:' .. tag .. ':blocked:' .. key, lane .. ' ' .. id) == 1 then
    redis.pcall('SREM', 'momentus:' .. tag .. ':held_back:' .. lane, id)
  end
end

-- Have the first `count` of a limit looked at at an instant (ms), or sooner where they are to be anyway.
-- Those that are gone are forgotten, and others stand in for them.
function blocked.promote(tag, key, count, at)
  local gone = 0
  for _, member in ipairs(members('ZRANGE', 'momentus:' .. tag .. ':blocked:' .. key, 0, count - 1)) do
    local lane, id = string.match(member, '^(%S+) (.*)$')
    local queue = 'arq:queue:' .. tag .. ':' .. lane
    local score = redis.call('ZSCORE', queue, id)
    if not score then
      blocked.release(tag, lane, id, key)
      gone = gone + 1
    elseif tonumber(score) > at then
      redis.call('ZADD', queue, 'XX', at, id)
      blocked.wake(tag, lane)
    end
  end
  if gone > 0 then
    blocked.promote(tag, key, gone, at)
  end
end

-- Running jobs gave back their places, by limit: others may have them.
function blocked.give_back(tag, places, now)
  local is_any_free = false
  for key, ids in pairs(places) do
    local freed = redis.pcall('SREM', 'momentus:' .. tag .. ':occupying:' .. key, unpack(ids))
    if type(freed) == 'number' and freed > 0 then -- else it holds something else, or the limit counts no places
      blocked.promote(tag, key, freed, now)
      is_any_free = true
    end
  end
  if not is_any_free then
    return
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
  blocked.release(tag, lane, id, key)
  redis.pcall('SREM', 'momentus:' .. tag .. ':occupying:' .. key, id)
  blocked.promote(tag, key, 1, now)
end

return blocked
