-- Forget nodes that left the tree long ago: readers then answer 404 instead of 410.
--
-- KEYS[1]  momentus:{reports}:snapshot:<tenant>:<report>  HASH
-- ARGV     for each node: scope, and gone:<scope> as it was read
--
-- Returns  number of forgotten nodes
--
-- Invariant: a node that came back, or left again since it was read, stays as it is.

local forgotten = 0
for each = 1, #ARGV, 2 do
  local scope = ARGV[each]
  if redis.call('HGET', KEYS[1], 'gone:' .. scope) == ARGV[each + 1] then
    redis.call('HDEL', KEYS[1], 'gone:' .. scope, 'head:' .. scope)
    forgotten = forgotten + 1
  end
end
return forgotten
