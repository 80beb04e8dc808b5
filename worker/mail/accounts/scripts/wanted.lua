#!lua flags=allow-oom
-- Count the workers that wait for a permit.
-- Runs at the memory limit too: it only reads.
--
-- KEYS[1]  momentus:{mail}:wanted:<account>  ZSET  "<priority> <worker>" -> expiry unless registered again (ms)
-- ARGV[1]  the calling worker, which is not counted
-- ARGV[2]  only mails more important than this priority count (0 is the most important)
--
-- Returns  number of workers that wait with such a mail

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
