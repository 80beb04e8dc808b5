-- List the dead jobs of one lane, the latest first. It only reads.
--
-- KEYS[1]  momentus:{group}:dead:<lane>  ZSET  job id -> when it was given up (ms)
-- ARGV[1]  hash tag, braces included
-- ARGV[2]  how many at most
--
-- Also reads, with the same tag: arq:job:<id>, momentus:{group}:history:<id>.
--
-- Returns  four per job: id, when it was given up (ms), the first bytes of its payload, the last entry of its
--          history ("" for none)
--
-- Invariant: no more of a payload than its head is read; the rest of it is private.

local tag, most = ARGV[1], tonumber(ARGV[2])
local reply = {}
local dead = redis.call('ZRANGE', KEYS[1], 0, most - 1, 'REV', 'WITHSCORES')
for at = 1, #dead, 2 do
  local id, n = dead[at], #reply
  reply[n + 1], reply[n + 2] = id, tonumber(dead[at + 1])
  local head = redis.pcall('GETRANGE', 'arq:job:' .. id, 0, 159) -- either key may hold something else
  reply[n + 3] = type(head) == 'string' and head or ''
  reply[n + 4] = redis.pcall('LRANGE', 'momentus:' .. tag .. ':history:' .. id, -1, -1)[1] or ''
end
return reply
