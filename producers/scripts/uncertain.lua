-- Jobs with a started effect of unknown outcome, as a list for operators. The loader puts
-- this module before each script that counts such an effect.
--
-- Touches  momentus:{group}:uncertain  ZSET  job id -> when its last unknown effect was counted (ms); the latest 10,000
--
-- Invariant: an effect is counted and its job listed in one call. So a primary that is lost takes along both or
-- neither, and the loss of a worker loses no entry.

local KEPT = 10000
local uncertain = {}

local function name(tag)
  return 'momentus:' .. tag .. ':uncertain'
end

-- Raises when the key holds something else; to be called before anything is written.
function uncertain.check(tag)
  redis.call('ZCARD', name(tag))
end

function uncertain.list(tag, id, now)
  redis.call('ZADD', name(tag), now, id)
  redis.call('ZREMRANGEBYRANK', name(tag), 0, -1 - KEPT)
end

return uncertain
