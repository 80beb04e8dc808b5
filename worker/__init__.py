"""How work is done: the engine that runs jobs, mail delivery, the refresh of reports, the clock."""
