"""Metrics of the whole fleet as Redis knows them: `fleet` reads, `collect` names, `commands` serves them.

They come from the same model as `ops depth`, the console and the JSON, in another form. No process needs to serve
its own metrics for them.
"""
