-- All that one server holds, for a test that compares it with what it should hold. It only reads.
--
-- KEYS     none: it asks for every key there is, which only a test with a server of its own may do
-- ARGV     none
--
-- Returns  four per key: name, type, when it expires (ms since 1970; -1: never), content
--
-- Invariant: one instant.

local read = {
  string = function(key) return redis.call('GET', key) end,
  list = function(key) return redis.call('LRANGE', key, 0, -1) end,
  set = function(key) return redis.call('SMEMBERS', key) end,
  hash = function(key) return redis.call('HGETALL', key) end,
  zset = function(key) return redis.call('ZRANGE', key, 0, -1, 'WITHSCORES') end,
}

local reply = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  local kind, n = redis.call('TYPE', key).ok, #reply
  reply[n + 1], reply[n + 2], reply[n + 3] = key, kind, redis.call('PEXPIRETIME', key)
  reply[n + 4] = read[kind](key)
end
return reply
