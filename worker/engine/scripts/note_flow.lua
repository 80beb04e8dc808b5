-- Note how many jobs have left each lane and how many are in it, for forecasts. Any worker may call it, at any pace.
--
-- KEYS[1]  momentus:{group}:counters        HASH  counts in all, <event>:<lane>
-- KEYS[2…] arq:queue:{group}:<lane>         ZSET  of each lane, in the order of ARGV
-- ARGV[1]  hash tag, braces included
-- ARGV[2]  shortest time between two notes of a lane (ms)
-- ARGV[3]  number of notes that are kept
-- ARGV[4…] the lanes
--
-- Also writes, with the same tag: momentus:{group}:flow:<lane>  LIST  "<now (ms)> <left> <size> <waiting>", the newest
-- first: jobs that have ended or died, jobs in the queue, and those of them that are due or held back by a limit.
--
-- Also reads, with the same tag: momentus:{group}:held_back:<lane>.
--
-- Returns the number of lanes that were noted.
--
-- Invariant: notes of a lane are at least ARGV[2] apart, however many workers call. They are a statistic: a key of
-- another type is left alone.

local tag, every, kept = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local noted = 0

local function left(lane)
  local events = {'done:', 'suppressed:', 'dead:', 'vanished:', 'expired:'}
  for at = 1, #events do
    events[at] = events[at] .. lane
  end
  local sum = 0
  for _, count in ipairs(redis.call('HMGET', KEYS[1], unpack(events))) do
    sum = sum + (tonumber(count or 0) or 0)
  end
  return sum
end

for at = 4, #ARGV do
  local lane, queue = ARGV[at], KEYS[at - 2]
  local flow = 'momentus:' .. tag .. ':flow:' .. lane
  local last = redis.pcall('LINDEX', flow, 0)
  local age = type(last) == 'string' and now - (tonumber(string.match(last, '^%d+')) or 0) or every
  if type(last) ~= 'table' and (age >= every or age < 0) then -- below 0: the clock was set back
    local size, waiting = redis.call('ZCARD', queue), redis.call('ZCOUNT', queue, '-inf', now)
    waiting = waiting + redis.call('SCARD', 'momentus:' .. tag .. ':held_back:' .. lane)
    redis.call('LPUSH', flow, string.format('%.0f %.0f %d %d', now, left(lane), size, waiting))
    redis.call('LTRIM', flow, 0, kept - 1)
    redis.call('PEXPIRE', flow, 3600000)
    noted = noted + 1
  end
end
return noted
