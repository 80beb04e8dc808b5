-- Note the recipients of mails, and count the recipients that servers accepted. One call for many mails.
--
-- KEYS[1]  momentus:{mail}:sent:  prefix of the name of each day's HASH
-- ARGV[1]  lifetime of the notes (ms); 0: only count
-- ARGV[2…] four per mail: left part of the Message-ID, digest of the recipient, its domain, account; of several
--          recipients the digests, and the domains, with commas between them
--
-- Also writes, with the same tag: momentus:{mail}:sent:<day>, a HASH of left part of the Message-ID -> "<digest>
-- <minute> <account>"; momentus:{mail}:taken:<hour>, a HASH of "<minute> <name>" -> accepted recipients, kept for a
-- day; name is domain:<domain> or account:<account>. Days, hours and minutes count since 1970, by Redis's clock.
--
-- Invariant: a note and its count are written together.

local KEPT = 90000000 -- ms: a day and the current hour
local minute = math.floor(redis.call('TIME')[1] / 60)
local taken = 'momentus:{mail}:taken:' .. math.floor(minute / 60)
local sent = KEYS[1] .. math.floor(minute / 1440)
local notes, counts = {}, {}

local function count(name)
  counts[name] = (counts[name] or 0) + 1
end

for at = 2, #ARGV, 4 do
  local account = ARGV[at + 3]
  notes[#notes + 1], notes[#notes + 2] = ARGV[at], ARGV[at + 1] .. ' ' .. minute .. ' ' .. account
  for domain in string.gmatch(ARGV[at + 2] .. ',', '([^,]*),') do
    count('domain:' .. domain)
    count('account:' .. account)
  end
end
for name, number in pairs(counts) do
  redis.call('HINCRBY', taken, minute .. ' ' .. name, number)
end
redis.call('PEXPIRE', taken, KEPT)
if ARGV[1] ~= '0' then
  redis.call('HSET', sent, unpack(notes))
  redis.call('PEXPIRE', sent, ARGV[1], 'NX')
end
return #notes / 2
