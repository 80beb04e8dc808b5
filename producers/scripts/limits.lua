-- Room under limits: rates, concurrency, holds. A part of claim.lua and limits_state.lua: the loader puts it before
-- them, and window.lua before this.
--
-- momentus:{group}:limits           HASH  "<key>", or "<family>:*" for all of a family -> JSON {rates: [{count,
--                                         per_ms, burst or parts}], concurrency, reserve}; "lane:<lane>" -> JSON
--                                         {keys, urgent}; "slow:<key>" -> the share of it that counts now
-- momentus:{group}:buckets          HASH  "<key>#<number of the rate>" -> the instant (ms) at which it is whole again,
--                                         of a window with more behind it, see window.lua
-- momentus:{group}:holds            HASH  "limit:<key>" -> JSON {until_ms, reason}; until_ms null: until released
-- momentus:{group}:occupying:<key>  SET   ids of running jobs that hold a place
--
-- A rate with `parts` is a sliding window: window.lua. A rate with `burst` is a token bucket, by the virtual scheduling
-- of GCRA (ITU-T I.371): a token is restored every per_ms / count, and the bucket is full once the stored instant has
-- passed. With a full bucket of `burst` tokens, at most burst - 1 + ceil(w * count / per_ms) jobs start in any window
-- [t, t + w); Rate.within computes burst and count from that.
--
-- A lane that is not urgent leaves the reserve, a share of burst, window and concurrency, to urgent lanes, except one.
--
-- Instants are whole milliseconds; an interval may be a fraction. Stored instants are rounded up, and the comparison
-- allows half a millisecond for that, which is too little to restore a token a whole interval early.
--
-- Invariant: no token is restored early. An unreadable limit gives no room: it was set in order to limit.

local limits, bucket, window = {known = {}}, {}, require_window()
local NEVER = math.huge
local ROUNDING = 0.5 -- ms
local MOST_FORGOTTEN = 150 -- in one claim

local contents = {} -- by text: limits of one family have one definition

local function decoded(text)
  if contents[text] == nil then
    local readable, content = pcall(cjson.decode, text)
    contents[text] = readable and type(content) == 'table' and content or false
  end
  return contents[text]
end

-- Begin: the hashes by name, for a lane that is urgent or not. With only_looks nothing is changed.
function limits.open(tag, now, keys, urgent)
  limits.tag, limits.now, limits.keys, limits.urgent = tag, now, keys, urgent
  limits.has_holds = redis.call('HLEN', keys.holds) > 0
end

-- How much of a whole this lane may use.
local function usable(whole, reserve)
  if limits.urgent then
    return whole
  end
  return whole - math.min(whole - 1, math.ceil(whole * reserve))
end

-- Until when nothing is given because somebody said so, or nothing.
local function shut_until(key)
  local hold = limits.has_holds and redis.call('HGET', limits.keys.holds, 'limit:' .. key)
  if not hold then
    return nil
  end
  local content = decoded(hold)
  if not content or type(content.until_ms) ~= 'number' then
    return NEVER -- also for a hold that cannot be read
  end
  return content.until_ms > limits.now and content.until_ms or nil
end

local function store(rate, taken)
  if not limits.only_looks then
    redis.call('HSET', limits.keys.buckets, rate.field, rate.kind.text(rate, taken))
  end
end

-- What is stored of a rate begins with this instant, whatever kind it is of; nothing when it cannot be read.
local function whole_at(text)
  return tonumber(string.match(text, '^[^@]*'))
end

-- When a bucket is whole again once `count` tokens more are taken, as it is stored and read.
local function whole_after(rate, count)
  if count == 0 then
    return rate.whole_at
  end
  return tonumber(string.format('%.3f', math.ceil((rate.whole_at + count * rate.interval) * 1000) / 1000))
end

-- From when the n-th token may be taken out of a bucket that is whole at an instant.
local function token_at(rate, whole_at, n)
  return whole_at + (n - rate.capacity) * rate.interval - ROUNDING
end

-- How many tokens there are now.
local function tokens(rate)
  local count = math.floor((limits.now - token_at(rate, rate.whole_at, 0)) / rate.interval)
  while token_at(rate, rate.whole_at, count + 1) <= limits.now do -- the division was not exact
    count = count + 1
  end
  while count > 0 and token_at(rate, rate.whole_at, count) > limits.now do
    count = count - 1
  end
  return math.max(0, count)
end

function bucket.free_at(rate, taken)
  return math.ceil(token_at(rate, whole_after(rate, taken), 1))
end

function bucket.text(rate, taken)
  return string.format('%.3f', whole_after(rate, taken))
end

local function open_bucket(rate, text, pace, reserve)
  local interval = rate.per_ms / rate.count / pace
  local whole = math.max(1, math.floor(rate.burst * pace))
  assert(interval > 0 and interval < NEVER and whole < NEVER)
  local one = {kind = bucket, interval = interval, capacity = usable(whole, reserve)}
  one.whole_at = math.max(limits.now, text and assert(whole_at(text)) or 0)
  local emptiest = limits.now + whole * interval
  if one.whole_at > emptiest + 1 then -- the rate was another one, or the clock
    one.whole_at, one.changed = emptiest, true
  end
  one.room = tokens(one)
  return one
end

local function open_window(rate, text, pace, reserve)
  local one = window.open(rate, text, limits.now)
  one.kind, one.capacity = window, usable(math.max(1, math.floor(rate.count * pace)), reserve)
  one.room = math.max(0, one.capacity - one.total)
  return one
end

local function open_rate(it, n, rate, pace, reserve)
  local field = it.key .. '#' .. n
  local text = redis.call('HGET', limits.keys.buckets, field)
  local one = (rate.parts and open_window or open_bucket)(rate, text, pace, reserve)
  one.field = field
  if one.changed then
    store(one, 0)
  end
  it.room = math.min(it.room, one.room)
  it.rates[n] = one
end

-- Places of jobs that run no more (their lease lapsed, or a stock arq worker ended them) are free.
local function forget_lapsed(occupying)
  local ids = redis.call('SMEMBERS', occupying)
  local tokens = {}
  for n, id in ipairs(ids) do
    tokens[n] = 'arq:in-progress:' .. id
  end
  local lapsed = {}
  for n, token in ipairs(redis.call('MGET', unpack(tokens))) do
    if not token then
      lapsed[#lapsed + 1] = ids[n]
    end
  end
  return #lapsed > 0 and redis.call('SREM', occupying, unpack(lapsed)) or 0
end

local function open_places(it, concurrency, pace, reserve)
  local places = usable(math.max(1, math.floor(concurrency * pace)), reserve)
  it.occupying = 'momentus:' .. limits.tag .. ':occupying:' .. it.key
  it.used = redis.call('SCARD', it.occupying)
  if it.used >= places and it.used > 0 and not limits.only_looks then
    it.used = it.used - forget_lapsed(it.occupying)
  end
  it.places = math.max(0, places - it.used)
  it.room = math.min(it.room, it.places)
end

local function open_definition(it, definition, pace)
  local reserve = definition.reserve or 0
  it.blocked = redis.call('ZCARD', 'momentus:' .. limits.tag .. ':blocked:' .. it.key) -- fails where it holds something else
  for n, rate in ipairs(definition.rates) do
    open_rate(it, n, rate, pace, reserve)
  end
  if definition.concurrency and definition.concurrency ~= cjson.null then
    open_places(it, definition.concurrency + 0, pace, reserve)
  end
end

local function read(key)
  local family = (string.match(key, '^[^:]*:') or '') .. '*'
  local told = redis.call('HMGET', limits.keys.limits, key, family, 'slow:' .. key)
  local definition = told[1] or told[2]
  local it = {key = key, rates = {}, room = NEVER, ids = {}, definition = definition}
  it.shut = shut_until(key)
  local content = decoded(definition or '{"rates":[]}')
  if not content or not pcall(open_definition, it, content, tonumber(told[3] or 1)) then
    it.shut, it.unreadable = NEVER, true
  end
  if it.shut then
    it.room = 0
  end
  return it
end

-- A limit and its room, looked up once a call. One that nobody defined has no bounds, but may be held.
function limits.look(key)
  if not limits.known[key] then
    limits.known[key] = read(key)
  end
  return limits.known[key]
end

-- How many jobs these limits have room for together that are not urgent.
function limits.common_room(keys)
  local known, urgent, only_looks, room = limits.known, limits.urgent, limits.only_looks, 0
  limits.known, limits.urgent, limits.only_looks = {}, false, true
  for key in pairs(keys) do
    room = room + limits.look(key).room
  end
  limits.known, limits.urgent, limits.only_looks = known, urgent, only_looks
  return room
end

-- One job takes from a limit.
function limits.take(it, id)
  it.room = it.room - 1
  it.ids[#it.ids + 1] = id
end

-- Whether all places are taken.
function limits.is_full(it)
  return it.places ~= nil and it.places - #it.ids < 1
end

-- When it will give one more, while it gives none (ms); NEVER when that is for somebody who ends a job, or a hold, to say.
function limits.free_at(it)
  if it.shut then
    return it.shut
  elseif limits.is_full(it) then
    return NEVER
  end
  local at = limits.now + 1
  for _, rate in ipairs(it.rates) do
    at = math.max(at, rate.kind.free_at(rate, #it.ids))
  end
  return at
end

-- Buckets that are whole and windows that are empty say nothing; a few are forgotten with each that is written.
local function forget_whole(written)
  local some = redis.call('HRANDFIELD', limits.keys.buckets, math.min(3 * written, MOST_FORGOTTEN), 'WITHVALUES')
  local whole = {}
  for at = 1, #some, 2 do
    if (whole_at(some[at + 1]) or 0) <= limits.now then
      whole[#whole + 1] = some[at]
    end
  end
  if #whole > 0 then
    redis.call('HDEL', limits.keys.buckets, unpack(whole))
  end
end

-- Write down what was taken.
function limits.commit()
  local written = 0
  for _, it in pairs(limits.known) do
    local count = #it.ids
    if count > 0 then
      for _, rate in ipairs(it.rates) do
        store(rate, count)
      end
      if it.occupying then
        redis.call('SADD', it.occupying, unpack(it.ids))
      end
      written = written + #it.rates
    end
  end
  if written > 0 then
    forget_whole(written)
  end
end

return limits
