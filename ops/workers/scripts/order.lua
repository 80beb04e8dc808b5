#!lua flags=allow-oom
-- Give one live worker an order, which it reads with its next heartbeat.
-- Also runs at the memory limit: to stop a worker may be what frees memory.
--
-- KEYS[1]  momentus:{group}:worker:<worker>        STRING  its last report, JSON; absent: no live worker of this id
-- KEYS[2]  momentus:{group}:worker:<worker>:order  STRING  the latest order
-- ARGV[1]  "quiet", "resume" or "stop"
-- ARGV[2]  how long the order is kept (ms)
--
-- Returns  "ordered"; "gone": there is no such live worker; "deaf": its version takes no orders; "beside": it is a worker's
--          process for reports, which that worker would start again; "stops": it is stopping; "unchanged": it is as
--          ordered, or already has this order
--
-- Invariant: the latest order counts; the same order twice is one.

local order = ARGV[1]
local facts = redis.call('GET', KEYS[1])
if not facts then
  return 'gone'
end
local readable, report = pcall(cjson.decode, facts)
local state = readable and type(report) == 'table' and report.state
if type(state) ~= 'string' then
  return 'deaf'
end
local before = redis.call('GET', KEYS[2])
if state == 'stops' or (before == 'stop' and order ~= 'stop') then
  return 'stops'
elseif order == 'stop' and report.parent then
  return 'beside'
end

-- What it will be, once it has read the order before.
local next_state = ({quiet = 'quiet', resume = 'runs', stop = 'stops'})[before or ''] or state
if next_state == ({quiet = 'quiet', resume = 'runs', stop = 'stops'})[order] then
  return 'unchanged'
end
redis.call('SET', KEYS[2], order, 'PX', ARGV[2])
return 'ordered'
