-- Tell the relays of a lane group that rows were staged in the ledger.
--
-- KEYS[1]  momentus:{group}:staged  LIST  at most one token
--
-- Returns  1 if there is a new token, 0 if one was there
--
-- Invariant: never more than one token, so that a group without a relay costs one small key.

if redis.call('LLEN', KEYS[1]) > 0 then
  return 0
end
redis.call('LPUSH', KEYS[1], '1')
return 1
