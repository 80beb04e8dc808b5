-- Migration 4: of an effect that may have happened it is known whether that was counted as uncertain.
--
-- Redis tells each attempt of an earlier effect without an outcome. If it went back to a state between a lease and its
-- mark, it knows of none; the mark that nobody has counted is then all there is.

ALTER TABLE momentus_ledger.effects ADD COLUMN counted boolean NOT NULL DEFAULT false;
