-- Put a part of a new set beside the stored one, under a key that no reader knows. publish.lua makes it visible.
--
-- KEYS[1]  momentus:{reports}:staged:<tenant>:<report>:<attempt>  HASH  as a snapshot, so far without _meta
-- KEYS[2]  momentus:{reports}:snapshot:<tenant>:<report>, or that of a closed day: what is carried over stands there
-- KEYS[3]  momentus:{reports}:staging:<tenant>  SET  the staged sets that there are, for whoever removes what was left
-- ARGV[1]  for how long the staged set is kept without a further part (ms)
-- ARGV[2]  as_of of the new set (microseconds): when scopes that are gone now were found to be so
-- ARGV[3]  how many arguments are fields and values; these
-- then     how many scopes are carried over as they are; these
-- then     the scopes that are gone: their heads are carried over, as who may know of that depends on their paths
--
-- Returns  how many fields were added. The sum over all parts tells publish.lua whether any part was lost.
--
-- Invariant: a staged set has a time to live from its first field on, so that a worker that dies leaves nothing.
-- Each part is small enough for about a millisecond; whoever calls sees to that.

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
