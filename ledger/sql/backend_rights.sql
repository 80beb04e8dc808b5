-- What a backend may: stage jobs, and read nothing. %ROLE% is the role's quoted name.
GRANT USAGE ON SCHEMA momentus_ledger TO %ROLE%;
GRANT SELECT ON momentus_ledger.version TO %ROLE%;
GRANT INSERT ON momentus_ledger.jobs, momentus_ledger.pending TO %ROLE%;
GRANT EXECUTE ON FUNCTION momentus_ledger.stage, momentus_ledger.stage_mail TO %ROLE%;
