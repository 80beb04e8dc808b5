-- Sliding window: in any period of its length, at most `count` jobs start; all of them may start at once.
-- A part of claim.lua and limits_state.lua: the loader puts it before limits.lua. It knows texts and instants, no keys.
--
-- What is kept of one is "<instant from which it is empty>@[<length of a part>,<part>,<count>,<part>,<count>]": how
-- many began in which part, rising, without those that are over. All of it in whole ms; what begins at t is of the part
-- floor(t / length).
--
-- Two that begin less than per_ms apart are at most `behind` parts apart. So all that begin in a window are of the
-- `behind` + 1 parts up to the part of its last one, and that one began because there was room beside them.
--
-- A part that is ahead of the clock, which was put back, counts until it is over, but as no more than `behind` ahead:
-- so a wrong clock stops a limit for two windows at most.
--
-- Invariant: nothing counts for a shorter time than it must. A text that cannot be read is an error.

local window = {}
local MOST = 1e12 -- in a part; of sums of those every one is told from the next

local function add(one, part, count)
  local last = #one.parts
  if part < one.part - one.behind then
    return -- it is over
  elseif one.parts[last] == part then
    one.counts[last] = one.counts[last] + count
  else
    one.parts[last + 1], one.counts[last + 1] = part, count
  end
  one.total = one.total + count
end

-- What a bucket has under this name, the instant at which it is whole: as many count as would flow in until then.
local function add_bucket(one, rate, wait)
  if wait > 0 then
    add(one, one.part, math.ceil(math.min(rate.count, wait * rate.count / rate.per_ms)))
    one.changed = true
  end
end

-- The part that is to count for one that is kept. Of parts of another length, as if all began at its end, or now.
local function counted_as(one, part, length)
  if length ~= one.length then
    return math.min(one.part, math.floor(((part + 1) * length - 1) / one.length))
  end
  return math.min(part, one.part + one.behind)
end

local function read(one, text)
  local kept, before = cjson.decode(string.match(text, '^%d+@(%[.*%])$')), -1
  local length = kept[1]
  assert(length >= 1)
  for at = 2, #kept, 2 do
    local part, count = kept[at], kept[at + 1]
    assert(part > before and part % 1 == 0 and count > 0 and count <= MOST and count % 1 == 0)
    local counted = counted_as(one, part, length)
    add(one, counted, count)
    one.changed, before = one.changed or counted ~= part, part
  end
end

-- Where the part that is now stands among them: last, unless the clock was put back.
local function place_of_now(one)
  local at = #one.parts
  while at > 0 and one.parts[at] > one.part do
    at = at - 1
  end
  if one.parts[at] ~= one.part then
    at = at + 1
    table.insert(one.parts, at, one.part)
    table.insert(one.counts, at, 0)
  end
  return at
end

-- The window of a rate {count, per_ms, parts} as it stands: `total` count now; `changed`: its text is to be written.
function window.open(rate, text, now)
  local length = math.ceil(rate.per_ms / rate.parts)
  assert(rate.count >= 1 and rate.count < math.huge and length >= 1 and length < math.huge)
  local behind = math.ceil((math.ceil(rate.per_ms) - 1) / length)
  local one = {length = length, behind = behind, part = math.floor(now / length), parts = {}, counts = {}, total = 0}
  if text and string.match(text, '^[%d.]+$') then
    add_bucket(one, rate, tonumber(text) - now)
  elseif text then
    read(one, text)
  end
  one.place = place_of_now(one)
  return one
end

local function over_at(one, part)
  return (part + one.behind + 1) * one.length
end

-- When so many of the oldest are over that one more fits, after `taken` that begin now.
function window.free_at(one, taken)
  local too_many, at = one.total + taken + 1 - one.capacity, 0
  while too_many > 0 do
    at = at + 1
    too_many = too_many - one.counts[at] - (at == one.place and taken or 0)
  end
  return at > 0 and over_at(one, one.parts[at]) or 0
end

-- What is to be kept, after `taken` that begin now.
function window.text(one, taken)
  local kept, last = {one.length}, one.part
  for at, part in ipairs(one.parts) do
    local count = one.counts[at] + (at == one.place and taken or 0)
    if count > 0 then
      kept[#kept + 1], kept[#kept + 2], last = part, count, part
    end
  end
  return string.format('%.0f@', over_at(one, last)) .. cjson.encode(kept)
end

return window
