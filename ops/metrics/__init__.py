"""Metrics of the whole fleet as Redis knows them: `fleet` reads, `collect` names, `commands` serves them.

They are the model of `ops depth`, the console and the JSON, with another shape. A process that serves its own
metrics is not needed for them.
"""
