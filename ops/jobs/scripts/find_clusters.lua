-- Group some dead jobs of one lane by the way in which they failed, or name those of one group. It only reads.
--
-- KEYS[1]  momentus:{group}:dead:<lane>  ZSET  job id -> when it was given up (ms)
-- ARGV[1]  hash tag, braces included
-- ARGV[2], ARGV[3]  the first and the last place, counted from the latest
-- ARGV[4]  "" for all groups, or the key of one: kind, domain, code, template and error, with a line break between each two
-- ARGV[5]  the end of the day for the trend (ms)
--
-- Also reads, with the same tag: arq:job:<id>, momentus:{group}:history:<id>.
--
-- Returns  five per group: its key, how many, the earliest and the latest death (ms), and "<hours ago>:<deaths>" with blanks
--          between for each hour of the day before ARGV[5] with deaths; or the ids of the one group
--
-- The error is the reason without its attempt and its SMTP code, of at most 160 bytes; a word has `#` for its digits, unless
-- it is an enhanced status code (RFC 3463), and one with an @ is left out.
--
-- Invariant: the time grows with the number of places alone; the caller gives few.

local HEAD, ERROR = 383, 160
local tag, first, last, wanted = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local histories = 'momentus:' .. tag .. ':history:'

local function payload_words(id)
  local head = redis.pcall('GETRANGE', 'arq:job:' .. id, 0, HEAD)
  if type(head) ~= 'string' then
    return '', '', ''
  end
  local template = string.match(head, '"template":%s*"([^"\\]*)"') or ''
  local kind = string.match(head, '"f":%s*"([^"\\]*)"') or ''
  local at = string.find(head, '"to":', 1, true)
  local address = at and string.match(string.sub(head, at + 5), '^[^"]*"([^"]*)"')
  local domain = address and string.match(address, '@([^@]*)$')
  if at and not domain then
    domain = string.match(string.sub(head, at + 5), '^%[{"address":"[^"@]*@([^"@]*)"')
  end
  return kind, domain or '', template
end

local function reason_of(id)
  local event = redis.pcall('LINDEX', histories .. id, -1)
  local readable, entry = pcall(cjson.decode, type(event) == 'string' and event or '')
  local reason = readable and type(entry) == 'table' and entry.reason
  return type(reason) == 'string' and reason or ''
end

local function plain_word(word)
  if string.find(word, '@', 1, true) then
    return '…'
  elseif string.find(word, '^[245]%.%d+%.%d+$') then
    return word
  end
  return (string.gsub(word, '%d+', '#'))
end

local function code_and_error(reason)
  local rest = string.match(reason, '^attempt %d+ of %d+ failed: (.*)$') or reason
  rest = string.match(rest, '^(.-)\n') or rest
  rest = string.sub(rest, 1, ERROR)
  local code = string.match(rest, '^([245]%d%d)[ -]') or string.match(rest, '^([245]%d%d)$') or ''
  return code, (string.gsub(string.sub(rest, #code + 1), '%S+', plain_word))
end

local function key_of(id)
  local kind, domain, template = payload_words(id)
  local code, error = code_and_error(reason_of(id))
  return table.concat({kind, domain, code, template, error}, '\n')
end

local function count_hour(hours, score)
  local ago = math.floor((tonumber(ARGV[5]) - score) / 3600000)
  if ago >= 0 and ago < 24 then
    hours[ago] = (hours[ago] or 0) + 1
  end
end

local function write_hours(hours)
  local parts = {}
  for ago = 0, 23 do
    parts[#parts + 1] = hours[ago] and string.format('%d:%d', ago, hours[ago]) or nil
  end
  return table.concat(parts, ' ')
end

local groups, order, ids = {}, {}, {}
local found = redis.call('ZRANGE', KEYS[1], first, last, 'REV', 'WITHSCORES')
for at = 1, #found, 2 do
  local key, score = key_of(found[at]), tonumber(found[at + 1])
  local group = groups[key]
  if wanted ~= '' then
    if key == wanted then
      ids[#ids + 1] = found[at]
    end
  elseif group then
    group[1], group[2], group[3] = group[1] + 1, math.min(group[2], score), math.max(group[3], score)
    count_hour(group[4], score)
  else
    groups[key], order[#order + 1] = {1, score, score, {}}, key
    count_hour(groups[key][4], score)
  end
end
if wanted ~= '' then
  return ids
end
local reply = {}
for _, key in ipairs(order) do
  local n, group = #reply, groups[key]
  reply[n + 1], reply[n + 2], reply[n + 3], reply[n + 4] = key, group[1], group[2], group[3]
  reply[n + 5] = write_hours(group[4])
end
return reply
