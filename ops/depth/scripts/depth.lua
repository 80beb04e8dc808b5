-- Count the jobs of one lane group. It only reads, and takes the same time for queues of any length.
--
-- KEYS[1]  momentus:{group}:counters  HASH  counts in all, <event>:<lane>
-- KEYS[2]  momentus:{group}:workers   ZSET  worker id -> last report (ms)
-- KEYS[3]  momentus:{group}:holds     HASH  "lane:<lane>" -> JSON {until_ms, reason}
-- KEYS[4]  momentus:{group}:dataset   HASH  after a loss of data: losses, lost_ms, lost_jobs
-- KEYS[5…] five per lane, in the order of ARGV:
--            arq:queue:{group}:<lane>          ZSET  job id -> due time, or lease deadline while it runs (ms)
--            momentus:{group}:leases:<lane>    ZSET  running job id -> lease deadline (ms)
--            momentus:{group}:retrying:<lane>  SET   waiting job ids that failed before
--            momentus:{group}:dead:<lane>      ZSET  job ids that were given up
--            momentus:{group}:parked:<lane>    HASH  waiting jobs that no worker may take yet
-- ARGV[1]  hash tag, braces included
-- ARGV[2…] the lanes
--
-- Also reads, with the same tag: momentus:{group}:worker:<id>, momentus:{group}:minute:<n>.
--
-- Returns  {now (µs), workers, losses, lane, lane, …}
--          workers: id, last report (ms), JSON, three for each that is alive; at most a thousand of them
--          losses: number of data losses, the last one (ms), unfinished jobs that were lost with it
--          lane: ready, leased, scheduled, retrying, parked, dead, oldest due time (ms, -1: none is ready),
--                accepted, done, suppressed, discarded, vanished, cancelled, expired, uncertain,
--                in during the last full minute, in during the running one, out likewise,
--                the lane's hold as it stands ("" for none; it may be over)
--
-- Invariant: one instant. A job that waits is counted once: ready (due, or its lease has lapsed), leased, or
-- scheduled; the three add up to the queue's length.

local counters, workers, holds = KEYS[1], KEYS[2], KEYS[3]
local tag = ARGV[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local minute = math.floor(now / 60000)

local function numbers(key, fields)
  local values = redis.call('HMGET', key, unpack(fields))
  for at = 1, #fields do
    values[at] = tonumber(values[at] or 0) or 0
  end
  return values
end

local function alive()
  local found = {}
  local ids = redis.call('ZREVRANGE', workers, 0, 999, 'WITHSCORES')
  for at = 1, #ids, 2 do
    local facts = redis.call('GET', 'momentus:' .. tag .. ':worker:' .. ids[at])
    if facts then -- it expires when its worker is silent
      found[#found + 1], found[#found + 2], found[#found + 3] = ids[at], tonumber(ids[at + 1]), facts
    end
  end
  return found
end

local function count(lane, queue, leases, retrying, dead, parked)
  local ready = redis.call('ZCOUNT', queue, '-inf', now)
  local leased = redis.call('ZCOUNT', leases, '(' .. now, '+inf')
  local row = {ready, leased, redis.call('ZCARD', queue) - ready - leased}
  row[4], row[5] = redis.call('SCARD', retrying), redis.call('HLEN', parked)
  row[6], row[7] = redis.call('ZCARD', dead), -1
  if ready > 0 then
    row[7] = tonumber(redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')[2])
  end
  local events = {'accepted:', 'done:', 'suppressed:', 'discarded:', 'vanished:', 'cancelled:', 'expired:', 'uncertain:'}
  for at = 1, #events do
    events[at] = events[at] .. lane
  end
  for _, number in ipairs(numbers(counters, events)) do
    row[#row + 1] = number
  end
  local flow = {'in:' .. lane, 'out:' .. lane}
  local before = numbers('momentus:' .. tag .. ':minute:' .. (minute - 1), flow)
  local running = numbers('momentus:' .. tag .. ':minute:' .. minute, flow)
  row[16], row[17], row[18], row[19] = before[1], running[1], before[2], running[2]
  row[20] = redis.call('HMGET', holds, 'lane:' .. lane)[1] or ''
  return row
end

local losses = numbers(KEYS[4], {'losses', 'lost_ms', 'lost_jobs'})
local reply = {clock[1] * 1000000 + clock[2], alive(), losses}
for at = 2, #ARGV do
  local first = 5 + (at - 2) * 5
  reply[at + 2] = count(ARGV[at], KEYS[first], KEYS[first + 1], KEYS[first + 2], KEYS[first + 3], KEYS[first + 4])
end
return reply
