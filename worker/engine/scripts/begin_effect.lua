#!lua flags=allow-oom
-- Mark, before effects that cannot be undone, that these attempts are about to cause them.
-- Runs at the memory limit too: otherwise mails would wait for memory.
--
-- KEYS[1]  momentus:{group}:effects   HASH    job id -> attempt whose effect has begun, and a note for its history
-- KEYS[2…] arq:in-progress:<id>       STRING  the lease's token, one key per job
-- ARGV[1…] three per job: id; token; attempt, and after a space the note, if any
--
-- Returns  one number per job: 1 marked; 0 the lease was lost and another worker may run the job: do not cause the
--          effect
--
-- Invariant: the next claim finds every effect without a recorded outcome and counts it as uncertain.

local effects = KEYS[1]
local reply, marks = {}, {}
for n, token in ipairs(redis.call('MGET', unpack(KEYS, 2, 1 + #ARGV / 3))) do -- on a cluster a key is appended
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
