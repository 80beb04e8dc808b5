-- Store a report's new set: what changed, what is gone, and when it is true for. All at once, and never backwards.
--
-- KEYS[1]  momentus:{reports}:snapshot:<tenant>:<report>  HASH  <scope>, head:<scope>, gone:<scope>, _meta, …
-- ARGV[1]  as_of of the new set (microseconds, the database's clock)
-- ARGV[2]  generation against which the changes were found ("0": none was stored)
-- ARGV[3]  _meta of the new set, JSON without its generation: "…" becomes {"gen":n,…}
-- ARGV[4]  how many scopes changed; then three per scope: scope, body, head
-- then     the scopes that are gone
--
-- Returns  {"stored", generation}; {"superseded"}: a set as new or newer is stored;
--          {"moved"}: another set was stored since the changes were found: find them again
--
-- Invariant: as_of never goes back, and a body belongs to the generation that _meta names or has not changed
-- since. A reader that asks for body and _meta in one call sees one instant.

local snapshot = KEYS[1]
local stored = redis.call('HMGET', snapshot, '_as_of', '_gen')
if stored[1] and tonumber(stored[1]) >= tonumber(ARGV[1]) then
  return {'superseded'}
end
if (stored[2] or '0') ~= ARGV[2] then
  return {'moved'}
end
local generation = tonumber(ARGV[2]) + 1
local changed = tonumber(ARGV[4])
local at = 5
for _ = 1, changed do
  local scope = ARGV[at]
  redis.call('HSET', snapshot, scope, ARGV[at + 1], 'head:' .. scope, ARGV[at + 2])
  redis.call('HDEL', snapshot, 'gone:' .. scope)
  at = at + 3
end
for gone = at, #ARGV do
  local scope = ARGV[gone]
  redis.call('HDEL', snapshot, scope) -- its head stays: who may know that it is gone depends on its path
  redis.call('HSET', snapshot, 'gone:' .. scope, ARGV[1])
end
local meta = '{"gen":' .. generation .. ',' .. string.sub(ARGV[3], 2)
redis.call('HSET', snapshot, '_meta', meta, '_as_of', ARGV[1], '_gen', generation)
redis.call('HDEL', snapshot, '_error')
return {'stored', generation}
