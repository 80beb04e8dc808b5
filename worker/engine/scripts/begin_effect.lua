#!lua flags=allow-oom
-- Record, before effects that cannot be taken back, that these attempts are about to cause them.
-- Runs at the memory limit too: the marks must be made, or mails would wait for memory.
--
-- KEYS[1]  momentus:{group}:effects   HASH    job id -> attempt whose effect has begun, and a note for its history
-- KEYS[2…] arq:in-progress:<id>       STRING  the lease's token, one key per job
-- ARGV[1…] three per job: id; token; attempt, and after a blank the note, if any
--
-- Returns  one number per job: 1 go on; 0 the lease was lost, somebody else may be at it already: do not cause the
--          effect
--
-- Invariant: every effect whose outcome nobody recorded is found by the next claim and counted as uncertain.

local effects = KEYS[1]
local reply, marks = {}, {}
for n, token in ipairs(redis.call('MGET', unpack(KEYS, 2, 1 + #ARGV / 3))) do -- a cluster adds a key behind these
  local at = 3 * n - 2
  reply[n] = 0
  if token == ARGV[at + 1] then
    reply[n] = 1
    marks[#marks + 1], marks[#marks + 2] = ARGV[at], ARGV[at + 2]
  end
end
if #marks > 0 then
  redis.call('HSET', effects, unpack(marks))
end
return reply
