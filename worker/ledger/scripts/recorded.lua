#!lua flags=allow-oom
-- Forget ends of jobs that Postgres has now, unless a later end stands there meanwhile.
-- Runs at the memory limit too: it frees memory.
--
-- KEYS[1]  momentus:{group}:ended  HASH  job id -> JSON
-- ARGV[1…] two per job: id, the JSON that was written to Postgres
--
-- Returns  the number of ends that were forgotten
--
-- Invariant: only an end that Postgres has is removed.

local gone = {}
for at = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[at]) == ARGV[at + 1] then
    gone[#gone + 1] = ARGV[at]
  end
end
return #gone > 0 and redis.call('HDEL', KEYS[1], unpack(gone)) or 0
