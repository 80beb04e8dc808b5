-- End a staged job as cancelled. $1 id, $2 day; the caller has locked it.
--
-- A job that was handed over before, and was lost by Redis, may have begun an effect: its end is then uncertain.

WITH staged AS (
    DELETE FROM momentus_ledger.pending WHERE id = $1 AND day = $2 RETURNING id, day
)
INSERT INTO momentus_ledger.ends (day, id, state, attempt, uncertain)
SELECT staged.day, staged.id, 'cancelled', coalesce(effect.attempt, 0), effect.attempt IS NOT NULL
FROM staged
LEFT JOIN LATERAL (
    SELECT max(attempt) AS attempt FROM momentus_ledger.effects AS begun
    WHERE begun.id = $1 AND begun.day = $2
) AS effect ON true
