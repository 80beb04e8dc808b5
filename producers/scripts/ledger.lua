-- Ends of jobs of the ledger, which keeps each of them in Postgres until it has ended. A part of other scripts: the
-- loader puts it before claim.lua, finish.lua, take_out.lua, revive.lua, resolve.lua and push.lua.
--
-- momentus:{group}:ledger  HASH  id of a live job -> the day of its row, since 1970
-- momentus:{group}:ended   HASH  id of a job that ended -> JSON {day, state, attempt, account, reply, uncertain, at_ms},
--                                until a worker has written it to Postgres
--
-- The envelope of such a job ends with its day, "l": by it a dead job, which is in the ledger no more, is found again.
--
-- Invariant: a pushed job is in `ledger` until it ends, and then in `ended` until Postgres has its end. So a job that is in
-- neither, and has no end in Postgres, was lost by Redis.

local ledger = {}

local function names(tag)
  return 'momentus:' .. tag .. ':ledger', 'momentus:' .. tag .. ':ended'
end

-- True if the group has live jobs of the ledger. Raises if one of the two keys holds something else; to be called
-- before anything is written.
function ledger.is_used(tag)
  local live, ended = names(tag)
  redis.call('HLEN', ended)
  return redis.call('HLEN', live) > 0
end

-- A text or a number of a result as text; empty for anything else.
local function text(value)
  return (type(value) == 'string' or type(value) == 'number') and tostring(value) or ''
end

-- Note the end of a job of a day: {state, attempt, account, reply, uncertain, at_ms}.
function ledger.write(tag, id, day, last)
  local _, ended = names(tag)
  redis.call('HSET', ended, id, cjson.encode({
    day = tonumber(day), state = last.state, attempt = tonumber(last.attempt) or 0, account = text(last.account),
    reply = text(last.reply), uncertain = last.uncertain == true, at_ms = last.at_ms}))
end

-- The day in the envelope of a job, near its end; nil if the job is not of the ledger.
function ledger.day(id)
  local tail = redis.pcall('GETRANGE', 'arq:job:' .. id, -128, -1)
  return type(tail) == 'string' and string.match(tail, '"l":(%d+)[%w,":]*}$') or nil
end

-- Note that a live job ended; nothing for any other job.
function ledger.note(tag, id, last)
  local live = names(tag)
  local day = redis.call('HGET', live, id)
  if day then
    redis.call('HDEL', live, id)
    ledger.write(tag, id, day, last)
  end
end

-- Note that a dead job left for good. Its payload must still be there.
function ledger.note_dead(tag, id, last)
  local day = ledger.day(id)
  if day then
    ledger.write(tag, id, day, last)
  end
end

-- A dead job is live again: its next end replaces the former.
function ledger.revive(tag, id)
  local day = ledger.day(id)
  if day then
    local live, ended = names(tag)
    redis.call('HDEL', ended, id)
    redis.call('HSET', live, id, day)
  end
end

-- A live job lost its payload, which Postgres still has: it is no longer known, so that it is pushed again. True for
-- a job of the ledger.
function ledger.forget(tag, id)
  return redis.call('HDEL', (names(tag)), id) == 1
end

return ledger
