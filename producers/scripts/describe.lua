-- Read all that is stored of one job.
--
-- KEYS[1]  arq:job:<id>                  STRING  its payload, until it is done
-- KEYS[2]  arq:result:<id>               STRING  JSON of its end, until the life of the result is over
-- KEYS[3]  arq:in-progress:<id>          STRING  the token of the lease while it runs
-- KEYS[4]  arq:retry:<id>                STRING  number of failed attempts
-- KEYS[5]  momentus:{group}:history:<id> LIST    JSON of its events, oldest first
--
-- Returns {payload, result, token, failed attempts (false for each that is absent), {events}}.
-- Invariant: one instant; it writes nothing.

local texts = redis.call('MGET', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
local events = redis.pcall('LRANGE', KEYS[5], 0, -1)
return { texts[1], texts[2], texts[3], texts[4], events.err and {} or events }
