"""The worker: the engine that runs jobs, mail delivery, the refresh of reports, the crons."""
