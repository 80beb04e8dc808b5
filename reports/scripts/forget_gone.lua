-- Forget nodes that left the tree long ago: from now on they are answered like nodes that never were.
--
-- KEYS[1]  momentus:{reports}:snapshot:<tenant>:<report>  HASH
-- ARGV     scope, gone:<scope> as it was read, of each
--
-- Returns  how many were forgotten
--
-- Invariant: a node that is back, or went a second time meanwhile, stays as it is.

local forgotten = 0
for each = 1, #ARGV, 2 do
  local scope = ARGV[each]
  if redis.call('HGET', KEYS[1], 'gone:' .. scope) == ARGV[each + 1] then
    redis.call('HDEL', KEYS[1], 'gone:' .. scope, 'head:' .. scope)
    forgotten = forgotten + 1
  end
end
return forgotten
