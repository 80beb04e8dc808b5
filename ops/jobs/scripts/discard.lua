#!lua flags=allow-oom
-- Discard jobs of one group as take_out.lua does, and keep each aside for a while, so that restore.lua can bring it back.
-- Runs at the memory limit too: discarding frees memory, if only when the time is over.
--
-- The loader puts take_out.lua before this, as the function take_out(KEYS, ARGV).
--
-- KEYS[1…7] those of take_out.lua
-- KEYS[8]  momentus:{group}:undo:<number>  LIST  JSON of each job that was discarded under this number, see below
-- ARGV[1]  hash tag, braces included
-- ARGV[2]  for how long they are kept (ms)
-- ARGV[3]  how many lanes
-- ARGV[4…] the lanes, then the ids
--
-- Also touches, with the same tag, what take_out.lua does; and copies of payload, history and result,
-- momentus:{group}:undo:<number>:<what>:<id>, what being job, history and result.
--
-- The JSON: {id, lane, dead or due (ms), parked, retrying, attempts, lapses, effect, limit, keyed, keys: {key: value},
-- result_until (ms), adopted, ledger}; what a job does not have is left out.
--
-- Returns  two per id: what take_out.lua returns
--
-- Invariant: what is kept aside was discarded and counted so, by this call. A job of the ledger is not kept: its end goes
-- to Postgres.

local tag, life, lanes = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local aside = KEYS[8]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function of_group(what)
  return 'momentus:' .. tag .. ':' .. what
end

local function text(...)
  local value = redis.pcall(...)
  return type(value) == 'string' and value or nil
end

local function keys_of(keyed)
  local found = {}
  for key in string.gmatch(keyed or '', '%f[^%s%z]%d+ (%S+)') do
    found[key] = text('GET', of_group('unique:' .. key))
  end
  return next(found) and found or nil
end

local function result_end(id)
  local left = redis.call('PTTL', 'arq:result:' .. id)
  return left > 0 and now + left or nil
end

local function find(id)
  for at = 4, 3 + lanes do
    local lane = ARGV[at]
    local dead, due = redis.call('ZSCORE', of_group('dead:' .. lane), id), redis.call('ZSCORE', 'arq:queue:' .. tag .. ':' .. lane, id)
    if dead or due then
      return lane, tonumber(dead), not dead and tonumber(due) or nil
    end
  end
end

local function facts_of(id)
  local lane, dead, due = find(id)
  if not lane then
    return nil
  end
  local job = 'arq:job:' .. id
  local head, tail = text('GETRANGE', job, 0, 4) or '', text('GETRANGE', job, -128, -1) or ''
  local keyed = text('HGET', of_group('keyed'), id)
  return {
    id = id, lane = lane, dead = dead, due = due,
    parked = text('HGET', of_group('parked:' .. lane), id),
    retrying = redis.pcall('SISMEMBER', of_group('retrying:' .. lane), id) == 1 or nil,
    attempts = text('GET', 'arq:retry:' .. id),
    lapses = text('HGET', of_group('lapses'), id),
    effect = text('HGET', of_group('effects'), id),
    limit = text('HGET', of_group('limited'), id),
    keyed = keyed, keys = keys_of(keyed),
    result_until = result_end(id),
    adopted = (head ~= '{"v":' or string.sub(id, 1, #tag) ~= tag) or nil,
    ledger = string.match(tail, '"l":%d+[%w,":]*}$') and true or nil,
  }
end

local function discard(id)
  local facts = facts_of(id)
  local job, history, result = aside .. ':job:' .. id, aside .. ':history:' .. id, aside .. ':result:' .. id
  if facts and not facts.ledger then
    redis.call('COPY', 'arq:job:' .. id, job)
    redis.call('COPY', of_group('history:' .. id), history)
    redis.call('COPY', 'arq:result:' .. id, result)
  end
  local arguments = {tag, id, 'discarded'}
  for at = 4, 3 + lanes do
    arguments[at] = ARGV[at]
  end
  local what, lane = unpack(take_out({unpack(KEYS, 1, 7)}, arguments))
  if what == 'gone' and facts then
    redis.call('RPUSH', aside, cjson.encode(facts))
    redis.call('PEXPIRE', aside, life)
    redis.call('PEXPIRE', job, life)
    redis.call('PEXPIRE', history, life)
    redis.call('PEXPIRE', result, math.min(life, facts.result_until and facts.result_until - now or life))
  else
    redis.call('DEL', job, history, result)
  end
  return what, lane
end

local reply = {}
for at = 4 + lanes, #ARGV do
  reply[#reply + 1], reply[#reply + 2] = discard(ARGV[at])
end
return reply
