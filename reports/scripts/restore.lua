-- Restore the set of a report that was withdrawn and is declared again.
--
-- KEYS[1]  momentus:{reports}:withdrawn:<tenant>:<report>  HASH
-- KEYS[2]  momentus:{reports}:snapshot:<tenant>:<report>  HASH
--
-- Returns  1: restored; 0: there was none, or a newer set is stored
--
-- Invariant: a set that is stored now stays.

if redis.call('HEXISTS', KEYS[2], '_meta') == 1 then
  redis.call('UNLINK', KEYS[1])
  return 0
end
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
redis.call('UNLINK', KEYS[2]) -- no set, but perhaps the error of a refresh
redis.call('RENAME', KEYS[1], KEYS[2])
return 1
