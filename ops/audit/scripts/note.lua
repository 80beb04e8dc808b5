#!lua flags=allow-oom
-- Add an entry to the audit log.
-- Also runs at the memory limit: an operator's remedy must not fail because it is noted.
--
-- KEYS[1]  momentus:{ops}:audit  LIST  JSON, oldest first
-- ARGV[1]  how many entries are kept
-- ARGV[2]  the entry's fields, a JSON object
--
-- Returns  the number of kept entries
--
-- Invariant: entries are in the order of Redis's clock, and the list is bounded.

local clock = redis.call('TIME')
local entry = cjson.decode(ARGV[2])
entry.at_ms = clock[1] * 1000 + math.floor(clock[2] / 1000)
local length = redis.call('RPUSH', KEYS[1], cjson.encode(entry))
redis.call('LTRIM', KEYS[1], -tonumber(ARGV[1]), -1)
return math.min(length, tonumber(ARGV[1]))
