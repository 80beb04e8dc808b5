#!lua flags=allow-oom
-- Report to an account's breaker that a login or a mail worked, which ends the pauses.
-- Runs at the memory limit too: it mostly deletes.
--
-- KEYS[1]  momentus:{mail}:account:<account>  HASH  the breaker; see fault.lua
-- ARGV[1]  "opened": the login was accepted; "mail": the server processed a mail
--
-- Returns  1 if the breaker was open and this closed it, else 0
--
-- Invariant: a pause that lasts is kept, because the success is that of an older connection. An accepted login does not
-- end a trouble that arises only after the login.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'step', 'until_ms', 'trouble')
local step, until_ms = tonumber(known[1] or 0), tonumber(known[2] or 0)
local by_a_login = {fault = true, tls = true, login = true, connections = true}
local later = not by_a_login[known[3]]
if step > 0 and (until_ms > now or (ARGV[1] == 'opened' and later)) then
  return 0
end
redis.call('HDEL', KEYS[1], 'step', 'until_ms', 'trouble', 'reason', 'since_ms', 'faults', 'fault_ms', 'trying')
redis.call('HSET', KEYS[1], 'proven_ms', now)
return step > 0 and 1 or 0
