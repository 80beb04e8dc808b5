-- Migration 4: of the mark of an effect it is known whose it is, and whether the effect was counted as uncertain.
--
-- Redis tells each attempt of an earlier effect without an outcome. If it went back to a state between a lease and its
-- mark, it knows of none; the mark that nobody has counted is then all there is. Two leases may then be of the same attempt,
-- and who gives one back must not take the mark of the other with it.

ALTER TABLE momentus_ledger.effects
    ADD COLUMN token text NOT NULL DEFAULT '',           -- of the lease under which the effect was about to begin
    ADD COLUMN counted boolean NOT NULL DEFAULT false;
