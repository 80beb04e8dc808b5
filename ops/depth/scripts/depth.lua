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
-- ARGV[2]  times from now (ms), a JSON array, ascending
-- ARGV[3…] the lanes
--
-- Also reads, with the same tag: momentus:{group}:worker:<id>, momentus:{group}:minute:<n>,
-- momentus:{group}:flow:<lane>, momentus:{group}:held_back:<lane>.
--
-- Returns  {now (µs), workers, losses, lane, lane, …}
--          workers: id, last report (ms), JSON, three for each that is alive; at most a thousand of them
--          losses: number of data losses, the last one (ms), unfinished jobs that were lost with it
--          lane: ready, leased, scheduled, retrying, parked, dead, oldest due time (ms, -1: none is ready),
--                accepted, done, suppressed, discarded, vanished, cancelled, expired, uncertain,
--                in during the last full minute, in during the running one, out likewise,
--                the lane's hold as it stands ("" for none; it may be over),
--                deaths in all, the notes of its flow while some wait, and of its scheduled jobs how many come
--                due within each of the times of ARGV[2], the last due time in its queue (ms, -1: none), and
--                how many jobs a limit of their own holds back
--
-- Invariant: one instant. A job that waits is counted once: ready (due, or its lease has lapsed), leased, or
-- scheduled; the three add up to the queue's length.

local counters, workers, holds = KEYS[1], KEYS[2], KEYS[3]
local tag, times = ARGV[1], cjson.decode(ARGV[2])
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

-- A running job is in its queue too, by the deadline of its lease. Once all are counted, the rest need no call.
local function due_within(queue, leases, leased, scheduled)
  local found, ended, due = {}, 0, 0
  for at, time in ipairs(times) do
    local last = now + time
    if ended < leased then
      ended = redis.call('ZCOUNT', leases, '(' .. now, last)
    end
    if due < scheduled then
      due = redis.call('ZCOUNT', queue, '(' .. now, last) - ended
    end
    found[at] = due
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
  row[21] = numbers(counters, {'dead:' .. lane})[1]
  local notes = row[1] + row[3] > 0 and redis.pcall('LRANGE', 'momentus:' .. tag .. ':flow:' .. lane, 0, -1)
  row[22] = notes and not notes.err and notes or {} -- a statistic: a key of another type is as none
  row[23], row[24] = {}, -1
  if row[3] > 0 then
    row[23] = due_within(queue, leases, leased, row[3])
    row[24] = tonumber(redis.call('ZREVRANGE', queue, 0, 0, 'WITHSCORES')[2])
  end
  row[25] = redis.call('SCARD', 'momentus:' .. tag .. ':held_back:' .. lane)
  return row
end

local losses = numbers(KEYS[4], {'losses', 'lost_ms', 'lost_jobs'})
local reply = {clock[1] * 1000000 + clock[2], alive(), losses}
for at = 3, #ARGV do
  local first = 5 + (at - 3) * 5
  reply[at + 1] = count(ARGV[at], KEYS[first], KEYS[first + 1], KEYS[first + 2], KEYS[first + 3], KEYS[first + 4])
end
return reply
