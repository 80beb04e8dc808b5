-- How many jobs of all days have not ended. No parameters.

SELECT count(*) FROM momentus_ledger.jobs AS job
WHERE NOT EXISTS (SELECT FROM momentus_ledger.ends AS ended WHERE ended.day = job.day AND ended.id = job.id)
