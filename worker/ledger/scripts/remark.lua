-- Give jobs of one lane back the marks of effects that Redis has forgotten: the next claim counts them as uncertain.
--
-- KEYS[1]  momentus:{group}:ledger           HASH  id of a live job of the ledger -> day of its row
-- KEYS[2]  momentus:{group}:effects          HASH  job id -> attempt whose effect has begun, and a note
-- KEYS[3]  momentus:{group}:leases:<lane>    ZSET  running job id -> lease deadline (ms)
-- KEYS[4]  momentus:{group}:retrying:<lane>  SET   waiting job ids that failed before
-- ARGV[1…] two per job: id; the last attempt whose effect began, and after a space its note
--
-- Also touches, with the same tag: arq:retry:<id>.
--
-- Returns  the number of jobs that got a mark
--
-- Invariant: a job that runs, that has a mark, or of which Redis counts so many attempts stays unchanged: Redis knows more
-- of it than the mark says.

local marked = 0
for at = 1, #ARGV, 2 do
  local id, mark = ARGV[at], ARGV[at + 1]
  local attempt, counted = string.match(mark, '^%d+'), redis.call('GET', 'arq:retry:' .. id)
  local is_known = redis.call('HEXISTS', KEYS[1], id) == 0 or redis.call('HEXISTS', KEYS[2], id) == 1
  if not is_known and not redis.call('ZSCORE', KEYS[3], id) and (tonumber(counted or 0) or 0) < tonumber(attempt) then
    redis.call('HSET', KEYS[2], id, mark)
    redis.call('SET', 'arq:retry:' .. id, attempt)
    redis.call('SADD', KEYS[4], id)
    marked = marked + 1
  end
end
return marked
