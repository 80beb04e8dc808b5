#!lua flags=allow-oom
-- Tell an account's breaker that a connection works, or even a mail: the pauses are over.
-- Runs at the memory limit too: it only takes away.
--
-- KEYS[1]  momentus:{mail}:account:<account>  HASH  the breaker; see fault.lua
-- ARGV[1]  "opened": the login was taken; "mail": a mail was heard
--
-- Returns  1 when it was open and is closed by this, else 0
--
-- Invariant: while a pause lasts it stays; what worked then is a connection that was there before. A login that is
-- taken says nothing of a trouble that begins after it.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'step', 'until_ms', 'trouble')
local step, until_ms = tonumber(known[1] or 0), tonumber(known[2] or 0)
local by_a_login = {fault = true, tls = true, login = true, connections = true}
local later = not by_a_login[known[3]]
if step > 0 and (until_ms > now or (ARGV[1] == 'opened' and later)) then
  return 0
end
redis.call('HDEL', KEYS[1], 'step', 'until_ms', 'trouble', 'reason', 'faults', 'fault_ms', 'trying')
redis.call('HSET', KEYS[1], 'proven_ms', now)
return step > 0 and 1 or 0
