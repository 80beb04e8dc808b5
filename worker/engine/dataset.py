"""The data of one lane group, identified by an id that disappears when Redis loses its data.

The first worker that finds no id in Redis stores one (``dataset.lua``), and each claim names the id that its
worker knows. A Redis that was emptied or replaced has another id or none: then the claim takes no job, the worker
defines its limits again, and the loss is counted for ``depth`` and ``doctor``.

Not detected: a loss while no worker runs, and the loss of only the latest writes (a failover, an older append-only
file), since the id is as old as the data.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class DataSet:
    """The id of a lane group's data and its number of unfinished jobs.

    Attributes:
        id: "" until the worker has read it.
        unfinished: jobs waiting and running in the worker's lanes at its last heartbeat; written by the renewal
            thread.
    """

    id: str = ""
    unfinished: int = 0
