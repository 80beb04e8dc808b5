-- Let time pass: everything that is to happen at an instant happens so much sooner, as if the clock had moved on.
--
-- KEYS     none: every key there is; only a test with a server of its own may ask for that
-- ARGV[1]  by how much (ms)
--
-- Returns  how many keys it looked at; an error names a key of which it does not know what times it holds
--
-- Invariant: no instant that a script compares with the clock is left behind. What is only told to people (the
-- history) and what is named after an instant (the counts per minute) stays.

local past = tonumber(ARGV[1])

local function scores(key)
  local members = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
  for at = 1, #members, 2 do
    redis.call('ZADD', key, string.format('%d', members[at + 1] - past), members[at])
  end
end

local function each_field(key, change)
  local fields = redis.call('HGETALL', key)
  for at = 1, #fields, 2 do
    redis.call('HSET', key, fields[at], change(fields[at + 1]))
  end
end

local function leading_number(entry)
  local due, rest = string.match(entry, '^(%d+)(.*)$')
  return string.format('%d', due - past) .. rest
end

local function each_entry(key, change)
  for at, entry in ipairs(redis.call('LRANGE', key, 0, -1)) do
    redis.call('LSET', key, at - 1, change(entry))
  end
end

local function bucket(entry)
  assert(not string.find(entry, '@', 1, true), 'the parts of a window cannot be moved')
  return leading_number(entry)
end

local function hold(entry)
  local content = cjson.decode(entry)
  if type(content.until_ms) == 'number' then
    content.until_ms = content.until_ms - past
  end
  return cjson.encode(content)
end

local function nothing() end

-- What a key's name begins with, behind the hash tag, and where its times are (times to live apart).
local TIMES = {
  {'^arq:queue:', scores},
  {'^arq:', nothing},
  {'^momentus:{%w+}:leases:', scores},
  {'^momentus:{%w+}:dead:', scores},
  {'^momentus:{%w+}:next$', function(key) each_field(key, leading_number) end},
  {'^momentus:{%w+}:holds$', function(key) each_field(key, hold) end},
  {'^momentus:{%w+}:blocked:', scores},
  {'^momentus:{%w+}:buckets$', function(key) each_field(key, bucket) end},
  {'^momentus:{%w+}:keyed$', function(key) each_field(key, leading_number) end},
  {'^momentus:{%w+}:dataset$', nothing},
  {'^momentus:{%w+}:flow:', function(key) each_entry(key, leading_number) end},
  {'^momentus:{%w+}:workers$', scores},
  {'^momentus:{%w+}:worker:', nothing},
  {'^momentus:{%w+}:limits$', nothing},
  {'^momentus:{%w+}:limited$', nothing},
  {'^momentus:{%w+}:occupying:', nothing},
  {'^momentus:{%w+}:held_back:', nothing},
  {'^momentus:{%w+}:short$', nothing},
  {'^momentus:{%w+}:wake:', nothing},
  {'^momentus:{%w+}:parked:', nothing},
  {'^momentus:{%w+}:progress$', nothing},
  {'^momentus:{%w+}:retrying:', nothing},
  {'^momentus:{%w+}:counters$', nothing},
  {'^momentus:{%w+}:lapses$', nothing},
  {'^momentus:{%w+}:effects$', nothing},
  {'^momentus:{%w+}:uncertain$', scores},
  {'^momentus:{%w+}:adopted$', nothing},
  {'^momentus:{%w+}:cancelled$', nothing},
  {'^momentus:{%w+}:history:', nothing},
  {'^momentus:{%w+}:unique:', nothing},
  {'^momentus:{%w+}:minute:', nothing},
  {'^momentus:{%w+}:ledger$', nothing},
  {'^momentus:{%w+}:ended$', nothing},
  {'^momentus:{%w+}:staged$', nothing},
}

local function move_of(key)
  for _, row in ipairs(TIMES) do
    if string.match(key, row[1]) then
      return row[2]
    end
  end
end

local keys = redis.call('KEYS', '*')
for _, key in ipairs(keys) do
  local move = move_of(key)
  if not move then
    return redis.error_reply('step_clock.lua does not know what times are in ' .. key)
  end
  move(key)
  local expires = redis.call('PEXPIRETIME', key)
  if expires > 0 then
    redis.call('PEXPIREAT', key, string.format('%d', expires - past))
  end
end
return #keys
