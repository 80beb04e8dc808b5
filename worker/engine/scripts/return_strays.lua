#!lua flags=allow-oom
-- Return the leases of claims whose reply never reached the worker: no worker runs those jobs.
-- Runs at the memory limit too: it adds no data.
--
-- KEYS[1]  arq:queue:{group}:<lane>          ZSET  job id -> due time, or lease deadline while it runs (ms)
-- KEYS[2]  momentus:{group}:leases:<lane>    ZSET  running job id -> lease deadline (ms)
-- KEYS[3]  momentus:{group}:retrying:<lane>  SET   waiting job ids that failed before
-- ARGV[1]  worker id
-- ARGV[2…] two per range: first and last number of its claims without a reply
--
-- Also touches, with the same tag: arq:in-progress:<id>.
--
-- Returns  the number of jobs that may be claimed again
--
-- Invariant: no attempt and no lapse is counted for a job that never ran. Leases of other workers, and of claims with
-- a reply, stay unchanged.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local own_token = '^' .. ARGV[1] .. '%-(%d+):(%d+)$'
local returned = 0

local function is_stray(claim)
  for at = 2, #ARGV, 2 do
    if claim >= tonumber(ARGV[at]) and claim <= tonumber(ARGV[at + 1]) then
      return true
    end
  end
  return false
end

for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
  local token = redis.call('GET', 'arq:in-progress:' .. id)
  local claim, attempt = string.match(token or '', own_token)
  if claim and is_stray(tonumber(claim)) then
    redis.call('DEL', 'arq:in-progress:' .. id)
    redis.call('ZREM', KEYS[2], id)
    redis.call('ZADD', KEYS[1], now, id)
    if tonumber(attempt) > 1 then
      redis.call('SADD', KEYS[3], id)
    end
    returned = returned + 1
  end
end
return returned
