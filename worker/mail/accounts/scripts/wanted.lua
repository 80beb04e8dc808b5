#!lua flags=allow-oom
-- For how many workers no permit is left.
-- Runs at the memory limit too: it only reads.
--
-- KEYS[1]  momentus:{mail}:wanted:<account>  ZSET  "<priority> <worker>" -> when it lapses unless asked for again (ms)
-- ARGV[1]  the worker that asks, which is not counted
-- ARGV[2]  only mails more important than this priority count (0 is the most important)
--
-- Returns  how many workers wait with such a mail

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local workers, count = {}, 0
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], '(' .. now, '+inf', 'BYSCORE')) do
  local priority, worker = string.match(member, '^(%d+) (.*)$')
  if priority and tonumber(priority) < tonumber(ARGV[2]) and worker ~= ARGV[1] and not workers[worker] then
    workers[worker], count = true, count + 1
  end
end
return count
