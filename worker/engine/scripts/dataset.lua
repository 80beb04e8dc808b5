#!lua flags=allow-oom
-- Name the data of one lane group, and count a loss when what a worker knew is gone.
-- Runs at the memory limit too: without it no job is claimed.
--
-- KEYS[1]  momentus:{group}:dataset  HASH  id, since_ms; after a loss also losses, lost_ms, lost_jobs
-- ARGV[1]  the id that the worker knows, "" for none yet
-- ARGV[2]  the id to store when there is none
-- ARGV[3]  unfinished jobs that the worker last saw
--
-- Returns  the id that holds from now on
--
-- Invariant: an id is stored once and never replaced. A loss is counted once, by the worker that notices it first.

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
