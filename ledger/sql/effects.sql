-- The effects that attempts of one job began. $1 day, $2 id.

SELECT attempt, note, at FROM momentus_ledger.effects WHERE day = $1 AND id = $2 ORDER BY attempt
