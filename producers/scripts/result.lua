-- Read how a job ended.
--
-- KEYS[1]  arq:result:<id>  STRING  JSON of the result, until its life is over
-- KEYS[2]  arq:job:<id>     STRING  the payload of a job that has not ended, or is dead
--
-- Returns {the result or false, 1 if there is a payload}.
-- Invariant: it writes nothing.

return { redis.call('GET', KEYS[1]), redis.call('EXISTS', KEYS[2]) }
