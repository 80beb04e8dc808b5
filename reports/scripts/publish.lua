-- Store a report's new set atomically: its changed and gone scopes, and the instant for which it is true.
--
-- KEYS[1]  momentus:{reports}:snapshot:<tenant>:<report>  HASH  <scope>, head:<scope>, gone:<scope>, _meta, …
--          or momentus:{reports}:closed:<tenant>:<report>:<day>, the same for a day that is over
-- KEYS[2]  momentus:{reports}:staged:<tenant>:<report>:<attempt>  HASH  the new set, built by stage.lua
-- KEYS[3]  momentus:{reports}:staging:<tenant>  SET  names of the staged sets
-- ARGV[1]  as_of of the new set (microseconds, the database's clock)
-- ARGV[2]  when its transaction began (the same clock): its state was taken between this instant and as_of
-- ARGV[3]  generation against which the changes were found ("0": none was stored)
-- ARGV[4]  _meta of the new set, JSON without its generation: "…" becomes {"gen":n,…}
-- ARGV[5]  _costs: JSON, cost of the latest refreshes
-- ARGV[6]  channel on which the store is announced; empty: none
-- ARGV[7]  the report's name
-- ARGV[8]  time to live of the key (ms); "0": none
-- ARGV[9]  number of staged fields; "0": none, the changed scopes follow
-- ARGV[10] number of changed scopes; then five per scope: scope, body, head, body as zstd, as gzip; empty: no variant
-- then     the scopes that are gone
--
-- Returns  {"stored", generation}; {"superseded"}: the stored set is newer, or was computed at the same time;
--          {"moved"}: another set was stored since the changes were found, or the staged one is incomplete (Redis
--          was emptied, or has lost a part of it): find the changes again
--
-- Invariant: as_of never goes back, and a body belongs to the generation that _meta names or has not changed
-- since; a variant is its body's or absent. A reader that asks for body and _meta in one call sees one instant.
-- If the times of two sets overlap, it is not known which has the later state, and the stored one stays.
-- verified_us never goes back either: if the former set was proved after the new one's snapshot was taken, nothing
-- changed in between, so the new one is proved as of then too; but never past its own valid_until_us.

local snapshot = KEYS[1]
local stored = redis.call('HMGET', snapshot, '_as_of', '_gen', '_meta')
if stored[1] and tonumber(stored[1]) >= tonumber(ARGV[2]) then
  return {'superseded'}
end
if (stored[2] or '0') ~= ARGV[3] then
  return {'moved'}
end

local staged = tonumber(ARGV[9])
if staged > 0 then
  if redis.call('HLEN', KEYS[2]) ~= staged then
    return {'moved'}
  end
  redis.call('SREM', KEYS[3], KEYS[2])
  redis.call('UNLINK', snapshot)  -- RENAME would free it while all clients wait
  redis.call('RENAME', KEYS[2], snapshot)
  redis.call('PERSIST', snapshot)
end

local generation = tonumber(ARGV[3]) + 1
local at = 11
local fields, without = {}, {}

local function keep(field, variant)
  if variant == '' then
    without[#without + 1] = field
  else
    fields[#fields + 1] = field
    fields[#fields + 1] = variant
  end
end

local function write()
  if #fields > 0 then
    redis.call('HSET', snapshot, unpack(fields))
    redis.call('HDEL', snapshot, unpack(without))
    fields, without = {}, {}
  end
end

for _ = 1, tonumber(ARGV[10]) do
  local scope, body, head, zstd, gzip = unpack(ARGV, at, at + 4)
  keep(scope, body)
  keep('head:' .. scope, head)
  keep(scope .. ':zstd', zstd)
  keep(scope .. ':gzip', gzip)
  without[#without + 1] = 'gone:' .. scope
  if #fields >= 400 then -- a call of Redis costs a script more than a field does; unpack takes fewer than 8,000
    write()
  end
  at = at + 5
end
write()
for gone = at, #ARGV do
  local scope = ARGV[gone]
  -- its head stays: the path decides which users may learn that it is gone
  redis.call('HDEL', snapshot, scope, scope .. ':zstd', scope .. ':gzip')
  redis.call('HSET', snapshot, 'gone:' .. scope, ARGV[1])
end
local meta = '{"gen":' .. generation .. ',' .. string.sub(ARGV[4], 2)
local verified = tonumber(string.match(stored[3] or '', '"verified_us":(%d+)') or 0)
local valid_until = tonumber(string.match(meta, '"valid_until_us":(%d+)') or verified)
verified = math.min(verified, valid_until)
if verified > tonumber(ARGV[2]) and tonumber(ARGV[8]) == 0 then
  meta = string.gsub(meta, '"verified_us":%d+', '"verified_us":' .. string.format('%.0f', verified), 1)
end
redis.call('HSET', snapshot, '_meta', meta, '_as_of', ARGV[1], '_gen', generation, '_costs', ARGV[5])
redis.call('HDEL', snapshot, '_error', '_waits', '_since')
if tonumber(ARGV[8]) > 0 then
  redis.call('PEXPIRE', snapshot, ARGV[8])
end
if ARGV[6] ~= '' then
  redis.call('PUBLISH', ARGV[6], '{"report":"' .. ARGV[7] .. '","gen":' .. generation .. '}')
end
return {'stored', generation}
