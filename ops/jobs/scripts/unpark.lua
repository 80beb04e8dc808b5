#!lua flags=allow-oom
-- Return a parked job to its queue: it is due now.
-- Also runs at the memory limit: it only moves existing data.
--
-- KEYS[1…] three per lane, in the order of ARGV:
--            momentus:{group}:parked:<lane>  HASH  job id -> JSON {why, needs, reason}
--            arq:queue:{group}:<lane>        ZSET  job id -> due time (ms)
--            momentus:{group}:wake:<lane>    LIST  at most one token
-- ARGV[1]  hash tag, braces included
-- ARGV[2]  id
-- ARGV[3…] the lanes
--
-- Also touches, with the same tag: momentus:{group}:history:<id>.
--
-- Returns  {"unparked", lane} or {"not parked", ""}
--
-- Invariant: a job that does not wait is not queued: a note that outlived its job is removed, and that is all.

local tag, id = ARGV[1], ARGV[2]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function unpark(parked, queue, wake)
  if redis.call('HDEL', parked, id) == 0 or not redis.call('ZSCORE', queue, id) then
    return false
  end
  redis.call('ZADD', queue, 'XX', now, id)
  local history = 'momentus:' .. tag .. ':history:' .. id
  redis.call('RPUSH', history, cjson.encode({at_ms = now, attempt = 0, outcome = 'unparked', reason = ''}))
  redis.call('LTRIM', history, -50, -1)
  if redis.call('LLEN', wake) == 0 then
    redis.call('LPUSH', wake, '1')
  end
  return true
end

for at = 3, #ARGV do
  local first = 1 + (at - 3) * 3
  if unpark(KEYS[first], KEYS[first + 1], KEYS[first + 2]) then
    return {'unparked', ARGV[at]}
  end
end
return {'not parked', ''}
