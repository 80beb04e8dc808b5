#!lua flags=allow-oom
-- Extend the leases of all jobs of one lane that a worker runs.
-- Runs at the memory limit too: a lease must not lapse because memory is full.
--
-- KEYS[1]  arq:queue:{group}:<lane>        ZSET  job id -> due time, or lease deadline while it runs (ms)
-- KEYS[2]  momentus:{group}:leases:<lane>  ZSET  running job id -> lease deadline (ms)
-- KEYS[3]  momentus:{group}:cancelled      SET   running jobs that are to be stopped
-- ARGV[1]  lease (ms)
-- ARGV[2…] two per job: id, token
--
-- Also touches, with the same tag: arq:in-progress:<id>.
--
-- Returns  {lost leases, jobs that are to be stopped}, both as positions in the arguments, from 1, because one job may
--          occur with two tokens, of which one is live. The handlers of both lists must stop
--
-- Invariant: a lapsed lease is never revived, not even before another worker claims the job.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local lease = tonumber(ARGV[1])
local lost, stop = {}, {}
local has_cancelled = redis.call('SCARD', KEYS[3]) > 0

for at = 2, #ARGV, 2 do
  local id, token = ARGV[at], ARGV[at + 1]
  if redis.call('GET', 'arq:in-progress:' .. id) == token then
    redis.call('PEXPIRE', 'arq:in-progress:' .. id, lease - 1)
    redis.call('ZADD', KEYS[1], now + lease, id)
    redis.call('ZADD', KEYS[2], now + lease, id)
    if has_cancelled and redis.call('SISMEMBER', KEYS[3], id) == 1 then
      stop[#stop + 1] = at / 2
    end
  else
    lost[#lost + 1] = at / 2
  end
end
return {lost, stop}
