-- Keys of callers outlive their jobs. A part of other scripts: the loader puts it before claim.lua, finish.lua,
-- take_out.lua, revive.lua and erase.lua.
--
-- momentus:{group}:unique:<key>  STRING  "<fingerprint> <id>"; no time to live until its job is over
-- momentus:{group}:keyed         HASH    id of an unfinished or dead job -> "<until> <key>", one pair for each of its
--                                        keys: how long (ms) the key stands at least, its window after acceptance
--
-- Invariant: a key is in use for its window, and at least as long as a job that may still run: one that waits, runs, is
-- parked, or is dead and could be revived.

local unique = {}

-- These jobs will never run again: their keys stay in use for the rest of their windows.
function unique.release(tag, ids)
  local keyed = 'momentus:' .. tag .. ':keyed'
  local rows = redis.pcall('HMGET', keyed, unpack(ids))
  if rows.err then
    return -- it holds something else, which is not worth a job
  end
  local found = {}
  for n, row in ipairs(rows) do
    for until_ms, key in string.gmatch(row or '', '%f[^%s%z](%d+) (%S+)') do
      local name = 'momentus:' .. tag .. ':unique:' .. key
      local held = redis.pcall('GET', name)
      if type(held) == 'string' and string.sub(held, -#ids[n] - 1) == ' ' .. ids[n] then
        redis.call('PEXPIREAT', name, until_ms)
      end
    end
    found[#found + 1] = row and ids[n] or nil
  end
  if #found > 0 then
    redis.call('HDEL', keyed, unpack(found))
  end
end

return unique
