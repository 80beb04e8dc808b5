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

local limits, bucket, window = {known = {}}, {}, nil
local NEVER = math.huge
local ROUNDING = 0.5 -- ms
local MOST_FORGOTTEN = 150 -- in one claim
local TOGETHER = 250 -- limits in one command: Lua's stack has room for some 8,000 values

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
  limits.size, limits.all = redis.call('HLEN', keys.limits), nil
end

-- How much of a whole this lane may use.
local function usable(whole, reserve)
  if limits.urgent then
    return whole
  end
  return whole - math.min(whole - 1, math.ceil(whole * reserve))
end

-- Until when nothing is given because somebody said so, or nothing.
local function shut_until(hold)
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

-- When a bucket is whole again once `count` tokens more are taken, as it is stored.
local function whole_text(rate, count)
  local whole = rate.whole_at
  return string.format('%.3f', count == 0 and whole or math.ceil((whole + count * rate.interval) * 1000) / 1000)
end

-- The same as it is read.
local function whole_after(rate, count)
  return count == 0 and rate.whole_at or tonumber(whole_text(rate, count))
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

bucket.text = whole_text

local function open_bucket(rate, text, pace, reserve)
  local interval, now = rate.per_ms / rate.count / pace, limits.now
  local whole = math.max(1, math.floor(rate.burst * pace))
  assert(interval > 0 and interval < NEVER and whole < NEVER)
  local whole_then, emptiest = math.max(now, text and assert(whole_at(text)) or 0), now + whole * interval
  local is_beyond = whole_then > emptiest + 1 -- the rate was another one, or the clock
  local one = {
    kind = bucket, interval = interval, capacity = usable(whole, reserve), whole_at = is_beyond and emptiest or whole_then,
    changed = is_beyond, room = 0, field = '',
  }
  one.room = tokens(one)
  return one
end

local function open_window(rate, text, pace, reserve)
  window = window or require_window()
  local one = window.open(rate, text, limits.now)
  one.kind, one.capacity = window, usable(math.max(1, math.floor(rate.count * pace)), reserve)
  one.room = math.max(0, one.capacity - one.total)
  return one
end

local function open_rate(it, rate, text, field, pace, reserve)
  assert(text ~= nil)
  local one = (rate.parts and open_window or open_bucket)(rate, text, pace, reserve)
  one.field = field
  if one.changed then
    store(one, 0)
  end
  it.room = math.min(it.room, one.room)
  it.rates[#it.rates + 1] = one
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

local function open_places(it, concurrency, pace, reserve, may_be_taken)
  local places = usable(math.max(1, math.floor(concurrency * pace)), reserve)
  it.occupying, it.ids = 'momentus:' .. limits.tag .. ':occupying:' .. it.key, {}
  it.used = may_be_taken and redis.call('SCARD', it.occupying) or 0
  if it.used >= places and it.used > 0 and not limits.only_looks then
    it.used = it.used - forget_lapsed(it.occupying)
  end
  it.places = math.max(0, places - it.used)
  it.room = math.min(it.room, it.places)
end

-- The hash of limits by field: all of it if it is small beside what is asked for, as a family is; else what these need.
local function stored_definitions(new)
  if limits.all then
    return limits.all
  end
  local found, fields = {}, {}
  if limits.size <= 4 * #new then
    local all = redis.call('HGETALL', limits.keys.limits)
    for at = 1, #all, 2 do
      found[all[at]] = all[at + 1]
      limits.has_slow = limits.has_slow or string.sub(all[at], 1, 5) == 'slow:'
    end
    limits.all = found
    return found
  end
  for _, it in ipairs(new) do
    fields[#fields + 1], fields[#fields + 2] = it.key, 'slow:' .. it.key
    if found[it.family] == nil then
      fields[#fields + 1], found[it.family] = it.family, false
    end
  end
  for n, value in ipairs(redis.call('HMGET', limits.keys.limits, unpack(fields))) do
    found[fields[n]] = value
  end
  limits.has_slow = true
  return found
end

-- What is stored of each: its definition or that of its family, its pace, its hold.
local function read_definitions(new)
  local stored, held = stored_definitions(new), {}
  if limits.has_holds then
    local fields = {}
    for n, it in ipairs(new) do
      fields[n] = 'limit:' .. it.key
    end
    held = redis.call('HMGET', limits.keys.holds, unpack(fields))
  end
  for n, it in ipairs(new) do
    it.definition = stored[it.key] or stored[it.family]
    it.content = decoded(it.definition or '{"rates":[]}')
    it.pace = limits.has_slow and stored['slow:' .. it.key] or 1
    it.shut = shut_until(held[n])
  end
end

-- The fields of all rates, and their texts; none if the hash holds something else, and then no rate can be read.
local function read_buckets(new)
  local fields = {}
  for _, it in ipairs(new) do
    it.first = #fields + 1
    for n = 1, it.content and type(it.content.rates) == 'table' and #it.content.rates or 0 do
      fields[#fields + 1] = it.key .. '#' .. n
    end
  end
  local texts = #fields > 0 and redis.pcall('HMGET', limits.keys.buckets, unpack(fields)) or {}
  return fields, texts.err and {} or texts
end

-- Whether one of them may have a line of blocked jobs, or places taken: asked for each only if there are any. Who only
-- looks does not ask this: the console's rights do not allow it.
local function may_have(what, new)
  if #new == 1 or limits.only_looks then
    return true
  end
  local names, prefix = {}, 'momentus:' .. limits.tag .. ':' .. what .. ':'
  for n, it in ipairs(new) do
    names[n] = prefix .. it.key
  end
  return redis.call('EXISTS', unpack(names)) > 0
end

local function open_definition(it, rates, has, pace)
  local definition = it.content
  local reserve = definition.reserve or 0
  it.blocked = has.lines and redis.call('ZCARD', 'momentus:' .. limits.tag .. ':blocked:' .. it.key) or 0 -- may fail
  for n, rate in ipairs(definition.rates) do
    local at = it.first + n - 1
    open_rate(it, rate, rates.texts[at], rates.fields[at], pace, reserve)
  end
  if definition.concurrency and definition.concurrency ~= cjson.null then
    open_places(it, definition.concurrency + 0, pace, reserve, has.places)
  end
end

local function read_together(new)
  read_definitions(new)
  local rates, has = {}, {lines = may_have('blocked', new), places = may_have('occupying', new)}
  rates.fields, rates.texts = read_buckets(new)
  for _, it in ipairs(new) do
    if not it.content or not pcall(open_definition, it, rates, has, tonumber(it.pace)) then
      it.shut, it.unreadable = NEVER, true
    end
    if it.shut then
      it.room = 0
    end
  end
end

local families = {} -- by prefix

local function family_of(key)
  local colon = string.find(key, ':', 1, true)
  local prefix = colon and string.sub(key, 1, colon) or ''
  families[prefix] = families[prefix] or prefix .. '*'
  return families[prefix]
end

-- Look up limits and their room, each once a call. One that nobody defined has no bounds, but may be held.
function limits.look_all(keys)
  local new = {}
  for _, key in ipairs(keys) do
    if key and not limits.known[key] then
      local it = {
        key = key, family = family_of(key), rates = {}, first = 0, room = NEVER, taken = 0, blocked = nil,
        definition = false, content = false, pace = 1, shut = nil, ids = nil, occupying = nil, used = nil, places = nil,
      }
      limits.known[key], new[#new + 1] = it, it
    end
  end
  for from = 1, #new, TOGETHER do
    read_together({unpack(new, from, math.min(from + TOGETHER - 1, #new))})
  end
end

-- A limit and its room.
function limits.look(key)
  if not limits.known[key] then
    limits.look_all({key})
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
  it.room, it.taken = it.room - 1, it.taken + 1
  if it.ids then
    it.ids[it.taken] = id
  end
end

-- Whether all places are taken.
function limits.is_full(it)
  return it.places ~= nil and it.places - it.taken < 1
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
    at = math.max(at, rate.kind.free_at(rate, it.taken))
  end
  return at
end

-- Buckets that are whole and windows that are empty say nothing; a few are forgotten with each that is new.
local function forget_whole(count)
  local some = redis.call('HRANDFIELD', limits.keys.buckets, -math.min(count, MOST_FORGOTTEN), 'WITHVALUES')
  local whole = {}
  for at = 1, #some, 2 do
    if (tonumber(some[at + 1]) or whole_at(some[at + 1]) or 0) <= limits.now then
      whole[#whole + 1] = some[at]
    end
  end
  if #whole > 0 then
    redis.call('HDEL', limits.keys.buckets, unpack(whole))
  end
end

-- Write down what was taken.
function limits.commit()
  local texts, new = {}, 0
  for _, it in pairs(limits.known) do
    if it.taken > 0 then
      for _, rate in ipairs(it.rates) do
        texts[#texts + 1], texts[#texts + 2] = rate.field, rate.kind.text(rate, it.taken)
      end
      if it.occupying then
        redis.call('SADD', it.occupying, unpack(it.ids))
      end
    end
  end
  for from = 1, #texts, 2 * TOGETHER do
    new = new + redis.call('HSET', limits.keys.buckets, unpack(texts, from, math.min(from + 2 * TOGETHER - 1, #texts)))
  end
  if #texts > 0 then
    forget_whole(2 + math.ceil(1.5 * new))
  end
end

return limits
