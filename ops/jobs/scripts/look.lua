-- Read all facts about one job within one lane group. It only reads.
--
-- KEYS[1]  momentus:{group}:cancelled  SET   running jobs to be stopped
-- KEYS[2]  momentus:{group}:progress   HASH  job id -> how far it is, in JSON
-- KEYS[3…] five per lane, in the order of ARGV:
--            arq:queue:{group}:<lane>          ZSET  job id -> due time, or lease deadline while it runs (ms)
--            momentus:{group}:leases:<lane>    ZSET  running job id -> lease deadline (ms)
--            momentus:{group}:retrying:<lane>  SET   waiting job ids that failed before
--            momentus:{group}:dead:<lane>      ZSET  job id -> when it was given up (ms)
--            momentus:{group}:parked:<lane>    HASH  waiting jobs that are not to run yet -> JSON {why, needs, reason}
-- ARGV[1]  hash tag, braces included
-- ARGV[2]  id
-- ARGV[3…] the lanes
--
-- Also reads, with the same tag: arq:job:<id>, arq:in-progress:<id>, arq:retry:<id>, arq:result:<id>,
-- momentus:{group}:history:<id>.
--
-- Returns  {now, payload, result, failed attempts, token, stopping, history, progress}, the texts "" where there is
--          none, and for a job that waits, runs or is dead five more: lane, state, score, place, the note of a parked one
--          state: "leased", "dead", "parked", "ready", "retrying" or "scheduled"; a job whose lease lapsed is ready
--          place: for a ready job the number of jobs that workers claim before it, else -1
--
-- Invariant: one instant; a job is in one state.

local tag, id = ARGV[1], ARGV[2]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local texts = redis.call('MGET', 'arq:job:' .. id, 'arq:result:' .. id, 'arq:retry:' .. id, 'arq:in-progress:' .. id)
local reply = {
  now,
  texts[1] or '',
  texts[2] or '',
  tonumber(texts[3] or 0) or 0,
  texts[4] or '',
  redis.call('SISMEMBER', KEYS[1], id),
  {},
  redis.call('HGET', KEYS[2], id) or '',
}
local history = redis.pcall('LRANGE', 'momentus:' .. tag .. ':history:' .. id, 0, -1)
if not history.err then
  reply[7] = history
end

local function state_in(queue, leases, retrying, dead, parked)
  local given_up = redis.call('ZSCORE', dead, id)
  if given_up then
    return 'dead', given_up, -1
  end
  local due = redis.call('ZSCORE', queue, id)
  if not due then
    return
  end
  local deadline = redis.call('ZSCORE', leases, id)
  if texts[4] or (deadline and tonumber(deadline) > now) then
    return 'leased', due, -1
  elseif parked then
    return 'parked', due, -1
  elseif tonumber(due) <= now then
    return 'ready', due, redis.call('ZRANK', queue, id)
  end
  return redis.call('SISMEMBER', retrying, id) == 1 and 'retrying' or 'scheduled', due, -1
end

for at = 3, #ARGV do
  local first = 3 + (at - 3) * 5
  local parked = redis.call('HGET', KEYS[first + 4], id)
  local state, score, place = state_in(KEYS[first], KEYS[first + 1], KEYS[first + 2], KEYS[first + 3], parked)
  if state then
    reply[9], reply[10], reply[11], reply[12], reply[13] = ARGV[at], state, tonumber(score), place, parked or ''
    break
  end
end
return reply
