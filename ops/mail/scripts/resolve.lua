#!lua flags=allow-oom
-- Decide about a mail with an uncertain delivery that waits for a decision.
-- Runs at the memory limit too: a result is small, and the mail it stands for goes.
--
-- KEYS[1]  momentus:{mail}:counters   HASH
-- KEYS[2]  momentus:{mail}:uncertain  ZSET  job id -> when its last unknown attempt was noted (ms)
-- KEYS[3]  momentus:{mail}:limited    HASH  job id -> the limit that it counts against
-- KEYS[4]  momentus:{mail}:adopted    SET   unfinished jobs of stock arq producers
-- KEYS[5…] four per lane, in the order of ARGV:
--            arq:queue:{mail}:<lane>          ZSET  job id -> due time (ms)
--            momentus:{mail}:parked:<lane>    HASH  job id -> JSON {why, needs, reason}
--            momentus:{mail}:retrying:<lane>  SET   waiting job ids that failed before
--            momentus:{mail}:wake:<lane>      LIST  at most one token
-- ARGV[1]  id
-- ARGV[2]  "accepted": it was delivered, so it is done; "resend": it goes out once more
-- ARGV[3]  who says so
-- ARGV[4]  the result, for "accepted"
-- ARGV[5]  how long result and history are kept (ms)
-- ARGV[6…] the lanes
--
-- Also touches, with the same tag: arq:job:<id>, arq:retry:<id>, arq:result:<id>, momentus:{mail}:history:<id>,
-- momentus:{mail}:minute:<n>, and what ledger.lua names, which stands before this.
--
-- Returns  the lane; "" when the mail does not wait for such a decision, and nothing was changed
--
-- Invariant: accepted = done + … + waiting (see finish.lua): one that is accepted leaves the queue and is done.

local counters, uncertain, limited, adopted = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local id, decision, by = ARGV[1], ARGV[2], ARGV[3]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local history = 'momentus:{mail}:history:' .. id

local function waits_for_people(parked)
  local note = redis.call('HGET', parked, id)
  local readable, content = pcall(cjson.decode, note or '')
  return readable and type(content) == 'table' and content.why == 'uncertain'
end

local function remember(outcome)
  redis.call('RPUSH', history, cjson.encode({at_ms = now, attempt = 0, outcome = outcome, reason = 'by ' .. by}))
end

local function note_end()
  local readable, result = pcall(cjson.decode, ARGV[4])
  local reply = readable and type(result) == 'table' and type(result.r) == 'table' and result.r.reply
  require_ledger().note('{mail}', id, {state = 'done', reply = reply, uncertain = true, at_ms = now,
    attempt = redis.call('GET', 'arq:retry:' .. id) or 0})
end

local function accept(lane, queue, retrying)
  note_end()
  redis.call('ZREM', queue, id)
  redis.call('SREM', retrying, id)
  redis.call('SREM', adopted, id)
  redis.call('HDEL', limited, id)
  redis.call('DEL', 'arq:job:' .. id, 'arq:retry:' .. id)
  redis.call('HINCRBY', counters, 'done:' .. lane, 1)
  local minute = 'momentus:{mail}:minute:' .. math.floor(now / 60000)
  redis.call('HINCRBY', minute, 'out:' .. lane, 1)
  redis.call('PEXPIRE', minute, 3600000)
  remember('accepted')
  redis.call('SET', 'arq:result:' .. id, ARGV[4], 'PX', ARGV[5])
  redis.call('PEXPIRE', history, ARGV[5])
end

local function resend(queue, wake)
  redis.call('ZADD', queue, now, id)
  remember('resend')
  if redis.call('LLEN', wake) == 0 then
    redis.call('LPUSH', wake, '1')
  end
end

require_ledger().is_used('{mail}')
for at = 6, #ARGV do
  local first = 5 + (at - 6) * 4
  local queue, parked, retrying, wake = KEYS[first], KEYS[first + 1], KEYS[first + 2], KEYS[first + 3]
  if waits_for_people(parked) and redis.call('ZSCORE', queue, id) then
    redis.call('HDEL', parked, id)
    redis.call('ZREM', uncertain, id)
    if decision == 'accepted' then
      accept(ARGV[at], queue, retrying)
    else
      resend(queue, wake)
    end
    return ARGV[at]
  end
end
return ''
