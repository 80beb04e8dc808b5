-- Tell which jobs Redis knows: those that are live, and those whose end Postgres may not have yet.
--
-- KEYS[1]  momentus:{group}:ledger  HASH  id of a live job of the ledger -> day of its row
-- KEYS[2]  momentus:{group}:ended   HASH  id of one that ended -> JSON
-- ARGV[1…] ids
--
-- Returns  one number per id: 1 known, 0 not
-- Invariant: it writes nothing.

local live, ended = redis.call('HMGET', KEYS[1], unpack(ARGV)), redis.call('HMGET', KEYS[2], unpack(ARGV))
local reply = {}
for n = 1, #ARGV do
  reply[n] = (live[n] or ended[n]) and 1 or 0
end
return reply
