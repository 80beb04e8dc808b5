-- What a worker may, and who operates with its role. %ROLE% is the role's quoted name.
GRANT USAGE ON SCHEMA momentus_ledger TO %ROLE%;
GRANT SELECT ON momentus_ledger.version, momentus_ledger.jobs_default, momentus_ledger.ends_default TO %ROLE%;
GRANT SELECT, INSERT, DELETE ON momentus_ledger.jobs, momentus_ledger.pending, momentus_ledger.effects,
    momentus_ledger.ends TO %ROLE%;
-- To lock rows that it hands over; to note that an effect was counted; to record the next end of a revived job.
GRANT UPDATE ON momentus_ledger.pending, momentus_ledger.effects, momentus_ledger.ends TO %ROLE%;
GRANT EXECUTE ON FUNCTION momentus_ledger.make_partitions, momentus_ledger.has_ended, momentus_ledger.drop_day,
    momentus_ledger.forget TO %ROLE%;
