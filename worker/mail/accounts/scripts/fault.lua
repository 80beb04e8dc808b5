#!lua flags=allow-oom
-- Report a trouble to an account's breaker; the breaker may open, and then the account is held.
-- Runs at the memory limit too: a provider that asks for a pause must get it.
--
-- KEYS[1]  momentus:{mail}:account:<account>  HASH  the breaker:
--            faults, fault_ms  connection faults in a row, and time of the last one
--            step              number of pauses in a row; absent while the account works
--            until_ms          end of the pause
--            since_ms          start of the first of these pauses
--            trouble, reason   cause of the pause, for operators
--            proven_ms         time at which a connection last worked
--            trying            permit of the connection that tests the account
--            fewer, fewer_ms   reduction of the number of connections, and its start
--            pace, pace_ms     share of its limit that applies, and its start; absent for all of it
--            rate, top         of an account without a limit: learned mails per minute, absent for any number, and the
--                              rate at which the server asked to slow down; pace_ms is the start
-- KEYS[2]  momentus:{mail}:holds              HASH  "limit:<key>" -> JSON {until_ms, reason}
-- KEYS[3]  momentus:{mail}:permits:<account>  ZSET  "<worker>-<number>" -> expiry (ms)
-- ARGV[1]  the account's limit, "account:<name>"
-- ARGV[2]  trouble
-- ARGV[3]  faults in a row that open the breaker
-- ARGV[4]  the first pause (ms)
-- ARGV[5]  the longest pause (ms); each is twice the one before
-- ARGV[6]  faults further apart than this (ms) are not in a row
-- ARGV[7]  reason
-- ARGV[8]  the pause that the server named (ms), 0 for none: it is kept even if it is longer than the longest pause
-- ARGV[9]  mails per minute that this worker sends, if the account has no limit of its own; else 0
--
-- Returns  {wait (ms), step, opened, pace, rate}: wait is 0 if the breaker stays closed; opened is 1 if this trouble
--          opened it (again), 0 if it was open already, because late reports of one fault are one step; pace is the
--          share of its limit that applies from now on, "" if unchanged; rate likewise the allowed mails per minute
--
-- Invariant: a hold without an end is an operator's, and stays.

local SLOWER, SLOWEST, LOWEST = 0.5, 0.02, 6
local account, holds, permits = KEYS[1], KEYS[2], KEYS[3]
local field, trouble, reason = 'limit:' .. ARGV[1], ARGV[2], ARGV[7]
local threshold, first, longest, row = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local asked, measured = tonumber(ARGV[8]), tonumber(ARGV[9])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local known = redis.call('HMGET', account, 'step', 'until_ms', 'faults', 'fault_ms', 'fewer')
local step, until_ms = tonumber(known[1] or 0), tonumber(known[2] or 0)
local faults, fault_ms = tonumber(known[3] or 0), tonumber(known[4] or 0)

if step > 0 and until_ms > now then
  return {until_ms - now, step, 0, '', ''}
end
if trouble == 'connections' then
  redis.call('HSET', account, 'fewer', tonumber(known[5] or 0) + 1, 'fewer_ms', now)
end
faults = now - fault_ms > row and 1 or faults + 1
redis.call('HSET', account, 'faults', faults, 'fault_ms', now)
if step == 0 and faults < threshold then
  return {0, 0, 0, '', ''}
end
if step == 0 then
  redis.call('HSET', account, 'since_ms', now)
end
step = step + 1
redis.call('HDEL', account, 'proven_ms', 'trying')
local pause = math.min(first * 2 ^ math.min(step - 1, 30), longest)
pause = math.max(pause, asked)
redis.call('HSET', account, 'step', step, 'until_ms', now + pause, 'trouble', trouble, 'reason', reason)
local held = redis.call('HGET', holds, field)
local readable, content = pcall(cjson.decode, held or '')
if not held or (readable and type(content) == 'table' and type(content.until_ms) == 'number') then
  redis.call('HSET', holds, field, cjson.encode({until_ms = now + pause, reason = reason}))
end

-- Reduce the rate of all workers together by a factor; each is assumed to be as fast as this one.
local function learned()
  local before = tonumber(redis.call('HGET', account, 'rate'))
  local workers, count = {}, 0
  for _, permit in ipairs(redis.call('ZRANGE', permits, 0, -1)) do
    local worker = string.match(permit, '^(.*)-') or permit
    count = workers[worker] and count or count + 1
    workers[worker] = true
  end
  local top = measured * math.max(1, count)
  top = math.min(top > 0 and top or math.huge, before or math.huge)
  if top == math.huge then
    return ''
  end
  local rate = math.max(LOWEST, math.floor(top * SLOWER))
  redis.call('HSET', account, 'rate', rate, 'top', top, 'pace_ms', now)
  return tostring(rate)
end

local pace, rate = '', ''
if trouble == 'throttle' then
  pace = math.max(SLOWEST, (tonumber(redis.call('HGET', account, 'pace')) or 1) * SLOWER)
  redis.call('HSET', account, 'pace', pace, 'pace_ms', now)
  rate = learned()
end
return {pause, step, 1, tostring(pace), rate}
