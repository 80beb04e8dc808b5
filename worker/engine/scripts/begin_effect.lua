#!lua flags=allow-oom
-- Mark, before effects that cannot be undone, that these attempts are about to cause them.
-- Runs at the memory limit too: otherwise mails would wait for memory.
--
-- KEYS[1]  momentus:{group}:effects   HASH    job id -> attempt whose effect has begun, and a note for its history
-- KEYS[2…] arq:in-progress:<id>       STRING  the lease's token, one key per job
-- ARGV[1…] three per job: id; token; attempt, and after a space the note, if any
--
-- Also reads, with the same tag: momentus:{group}:ledger, a HASH of live jobs of the ledger to the days of their rows
--
-- Returns  one number per job: 0 the lease was lost and another worker may run the job: do not cause the effect;
--          1 marked; for a job of the ledger 2 and the day of its row, since 1970: marked, and the ledger must be told
--          too. Its envelope may have no day yet, if it was queued before its row was seen
--
-- Invariant: the next claim finds every effect without a recorded outcome and counts it as uncertain. A mark of a live job
-- of the ledger is there before its row is handed over (push.lua returns it), or its worker hears of the row.

local effects = KEYS[1]
local reply, marks, ids = {}, {}, {}
for at = 1, #ARGV, 3 do
  ids[#ids + 1] = ARGV[at]
end
local days = redis.call('HMGET', (string.gsub(effects, ':effects$', ':ledger')), unpack(ids))
for n, token in ipairs(redis.call('MGET', unpack(KEYS, 2, 1 + #ARGV / 3))) do -- on a cluster a key is appended
  local at = 3 * n - 2
  reply[n] = 0
  if token == ARGV[at + 1] then
    reply[n] = days[n] and 2 + (tonumber(days[n]) or 0) or 1
    marks[#marks + 1], marks[#marks + 2] = ARGV[at], ARGV[at + 2]
  end
end
if #marks > 0 then
  redis.call('HSET', effects, unpack(marks))
end
return reply
