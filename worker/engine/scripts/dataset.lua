#!lua flags=allow-oom
-- Store the id of one lane group's data, and count a loss if the data that a worker knew is gone.
-- Runs at the memory limit too: no job is claimed before.
--
-- KEYS[1]  momentus:{group}:dataset  HASH  id, since_ms; after a loss also losses, lost_ms, lost_jobs
-- ARGV[1]  the id that the worker knows, "" for none yet
-- ARGV[2]  the id to store if there is none
-- ARGV[3]  number of unfinished jobs that the worker last saw
--
-- Returns  the current id
--
-- Invariant: an id is stored once and never replaced. A loss is counted once, by the first worker that detects it.

local dataset, known = KEYS[1], ARGV[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

if redis.call('HSETNX', dataset, 'id', ARGV[2]) == 1 then
  redis.call('HSET', dataset, 'since_ms', now)
  if known ~= '' then
    redis.call('HINCRBY', dataset, 'losses', 1)
    redis.call('HINCRBY', dataset, 'lost_jobs', ARGV[3])
    redis.call('HSET', dataset, 'lost_ms', now)
  end
end
return redis.call('HGET', dataset, 'id')
