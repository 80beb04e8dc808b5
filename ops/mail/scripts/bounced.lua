-- Record a bounce once: in the journal of its job, or in the list of unmatched reports.
--
-- KEYS[1]  momentus:{mail}:bounces:seen     ZSET  id of a report -> when it was processed (ms)
-- KEYS[2]  momentus:{mail}:bounces:unknown  LIST  JSON, newest last
-- KEYS[3]  momentus:{mail}:history:<id>     LIST  JSON, oldest first; read by `ops mail trace`
-- KEYS[4]  arq:job:<id>                     STRING  absent when the job has ended
-- ARGV[1]  id of the report
-- ARGV[2]  how long ids are kept (ms)
-- ARGV[3]  "journal" or "unknown"
-- ARGV[4]  what to write: the reason for the journal; a JSON object for the list
-- ARGV[5]  how many unknown ones are kept
-- ARGV[6]  how long the journal of an ended job is kept from now (ms)
--
-- Returns  1 taken in; 0 it had been before
--
-- Invariant: a report is written down once, however often it comes; a journal without a job has a life.

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
if redis.call('ZADD', KEYS[1], 'NX', now, ARGV[1]) == 0 then
  return 0
end
if ARGV[3] == 'unknown' then
  redis.call('RPUSH', KEYS[2], ARGV[4])
  redis.call('LTRIM', KEYS[2], -tonumber(ARGV[5]), -1)
  return 1
end
redis.call('RPUSH', KEYS[3], cjson.encode({at_ms = now, attempt = 0, outcome = 'bounced', reason = ARGV[4]}))
redis.call('LTRIM', KEYS[3], -50, -1)
if redis.call('EXISTS', KEYS[4]) == 0 and redis.call('PTTL', KEYS[3]) < tonumber(ARGV[6]) then
  redis.call('PEXPIRE', KEYS[3], ARGV[6])
end
return 1
