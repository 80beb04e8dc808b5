#!lua flags=allow-oom
-- Release parked jobs of one lane that a worker can run: they are due now.
-- Runs at the memory limit too: it adds no data.
--
-- KEYS[1]  arq:queue:{group}:<lane>        ZSET  job id -> due time (ms)
-- KEYS[2]  momentus:{group}:parked:<lane>  HASH  job id -> JSON {why, needs, reason}
-- ARGV[1]  cursor: "0" at first, then the cursor that the last call returned
-- ARGV[2]  approximate number of jobs to scan
-- ARGV[3…] two per ability: a kind, or "envelope", and the newest version of it that the worker knows
--
-- Returns  {cursor, released}: the cursor of the next call, "0" after the last page; the number of released jobs
--
-- No token is left: it could wake a worker that cannot run the jobs, which would park them again. The caller claims.
--
-- Invariant: jobs that wait for an operator stay. An unreadable note, or one without a waiting job, is deleted; if the
-- worker cannot run the job after all, it parks it again.

local queue, parked = KEYS[1], KEYS[2]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local known = {}
for at = 3, #ARGV, 2 do
  known[ARGV[at]] = tonumber(ARGV[at + 1])
end

local function can_run(text)
  local readable, note = pcall(cjson.decode, text)
  if not readable or type(note) ~= 'table' then
    return true
  elseif note.why ~= 'kind' and note.why ~= 'version' then
    return false
  end
  local name, version = string.match(tostring(note.needs), '^(.*)@(%d+)$')
  return name == nil or (known[name] ~= nil and known[name] >= tonumber(version))
end

local page = redis.call('HSCAN', parked, ARGV[1], 'COUNT', ARGV[2])
local released = 0
for at = 1, #page[2], 2 do
  local id = page[2][at]
  if can_run(page[2][at + 1]) then
    redis.call('HDEL', parked, id)
    if redis.call('ZSCORE', queue, id) then
      redis.call('ZADD', queue, 'XX', now, id)
      released = released + 1
    end
  end
end
return {page[1], released}
