-- Add a part of a new set under a key that readers do not use. publish.lua makes the set visible.
--
-- KEYS[1]  momentus:{reports}:staged:<tenant>:<report>:<attempt>  HASH  as a snapshot, so far without _meta
-- KEYS[2]  momentus:{reports}:snapshot:<tenant>:<report>, or that of a closed day: source of the copied scopes
-- KEYS[3]  momentus:{reports}:staging:<tenant>  SET  names of the staged sets, so that abandoned ones are found
-- ARGV[1]  time to live of the staged set without a further part (ms)
-- ARGV[2]  as_of of the new set (microseconds), stored as the time of scopes that are gone
-- ARGV[3]  number of arguments that are fields and values; then these
-- then     number of scopes to copy from the stored set; then these
-- then     the scopes that are gone: their heads are copied, as the path decides which users may learn that
--
-- Returns  number of added fields. From the sum over all parts publish.lua knows whether a part was lost.
--
-- Invariant: a staged set has a time to live from its first field on, so that a worker that dies leaves nothing.
-- The caller keeps each part small enough for about a millisecond.

local staged, snapshot = KEYS[1], KEYS[2]
local added = 0
local at = 3 + tonumber(ARGV[3])
if at > 3 then
  added = redis.call('HSET', staged, unpack(ARGV, 4, at))
end
local ready = {}

local function carry(fields)
  if #fields == 0 then
    return
  end
  local values = redis.call('HMGET', snapshot, unpack(fields))
  for place, field in ipairs(fields) do
    if values[place] then
      ready[#ready + 1] = field
      ready[#ready + 1] = values[place]
    end
  end
end

local whole = {}
at = at + 1
for _ = 1, tonumber(ARGV[at]) do
  at = at + 1
  local scope = ARGV[at]
  for _, field in ipairs({scope, 'head:' .. scope, 'gone:' .. scope, scope .. ':zstd', scope .. ':gzip'}) do
    whole[#whole + 1] = field
  end
end
carry(whole)

local heads = {}
for gone = at + 1, #ARGV do
  heads[#heads + 1] = 'head:' .. ARGV[gone]
  ready[#ready + 1] = 'gone:' .. ARGV[gone]
  ready[#ready + 1] = ARGV[2]
end
carry(heads)

if #ready > 0 then
  added = added + redis.call('HSET', staged, unpack(ready))
end
redis.call('PEXPIRE', staged, ARGV[1])
redis.call('SADD', KEYS[3], staged)
redis.call('PEXPIRE', KEYS[3], ARGV[1])
return added
