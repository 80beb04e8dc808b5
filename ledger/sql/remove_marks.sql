-- Remove the marks of all effects of jobs that begin a new life, whose attempts count from 1 again. $1 ids.

DELETE FROM momentus_ledger.effects WHERE id = ANY ($1::text[])
