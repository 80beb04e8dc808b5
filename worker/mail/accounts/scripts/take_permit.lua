#!lua flags=allow-oom
-- Take a permit to open one more connection to an account's server.
-- Runs at the memory limit too: sending mails frees memory.
--
-- KEYS[1]  momentus:{mail}:permits:<account>  ZSET  permit -> expiry unless renewed (ms)
-- KEYS[2]  momentus:{mail}:account:<account>  HASH  the breaker; see fault.lua
-- KEYS[3]  momentus:{mail}:wanted:<account>   ZSET  "<priority> <worker>" that found none -> expiry (ms)
-- ARGV[1]  permit: a unique name
-- ARGV[2]  connections that the account may have; 0 for any number
-- ARGV[3]  lease time of a permit (ms)
-- ARGV[4]  time without a complaint (ms) after which one more connection is tried again
-- ARGV[5]  time for which a working connection proves that the account works (ms)
-- ARGV[6]  priority of the mail that waits for it; 0 is the most important
-- ARGV[7]  the worker
-- ARGV[8]  time for which this worker's need is registered if no permit is free (ms)
--
-- Returns  {granted, wait (ms), trying}: granted 1 or 0; wait is the rest of the account's pause, 0 if it is open;
--          trying 1 if this connection tests the account for the others, or waits for another one's test
--
-- A free permit is reserved for a worker with a more important mail that registered its need a moment ago.
--
-- Invariant: at most ARGV[2] permits are valid at any time, fleet-wide; while the account is closed none is granted.
-- While it is unknown if a login works (at first, after a pause, after a time without one) one connection of the whole
-- fleet tries and the others wait for its result: one login per step of the breaker.

local permits, account, wanted = KEYS[1], KEYS[2], KEYS[3]
local most, life, quiet, proof = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local known = redis.call('HMGET', account, 'step', 'until_ms', 'fewer', 'fewer_ms', 'proven_ms', 'trying')
local step, until_ms = tonumber(known[1] or 0), tonumber(known[2] or 0)
local fewer, fewer_ms = tonumber(known[3] or 0), tonumber(known[4] or 0)
local unproven = step > 0 or now - tonumber(known[5] or 0) > proof

if step > 0 and until_ms > now then
  return {0, until_ms - now, 0}
end
redis.call('ZREMRANGEBYSCORE', permits, '-inf', now)
-- Permits that expire in an hour or more were granted before the clock was set back: a live worker renews its own.
for _, permit in ipairs(redis.call('ZRANGE', permits, now + 3600000, '+inf', 'BYSCORE')) do
  redis.call('ZADD', permits, now + life, permit)
end
if unproven and known[6] and redis.call('ZSCORE', permits, known[6]) then
  return {0, 0, 1}
end
if fewer > 0 and now - fewer_ms > quiet then
  fewer = fewer - 1
  redis.call('HSET', account, 'fewer', fewer, 'fewer_ms', now)
end

-- Count the other workers that wait with a more important mail.
local function before()
  local count = 0
  for _, member in ipairs(redis.call('ZRANGE', wanted, 0, -1)) do
    local priority, worker = string.match(member, '^(%d+) (.*)$')
    if priority and tonumber(priority) < tonumber(ARGV[6]) and worker ~= ARGV[7] then
      count = count + 1
    end
  end
  return count
end

if most > 0 then
  redis.call('ZREMRANGEBYSCORE', wanted, '-inf', now)
  if redis.call('ZCARD', permits) + before() >= math.max(1, most - fewer) then
    redis.call('ZADD', wanted, now + tonumber(ARGV[8]), ARGV[6] .. ' ' .. ARGV[7])
    return {0, 0, 0}
  end
  redis.call('ZREM', wanted, ARGV[6] .. ' ' .. ARGV[7])
end
redis.call('ZADD', permits, now + life, ARGV[1])
if unproven then
  redis.call('HSET', account, 'trying', ARGV[1])
end
return {1, 0, unproven and 1 or 0}
