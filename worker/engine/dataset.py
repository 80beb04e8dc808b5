"""The data of one lane group as a worker knows it: by an id that is gone when Redis loses what it holds.

The first worker that finds no id in Redis stores one (``dataset.lua``), and each claim names the id that its
worker knows. A Redis that was emptied, or exchanged for another one, knows another id or none: such a claim takes
nothing, the worker defines its limits again, and the loss is counted where ``depth`` and ``doctor`` see it.

What it cannot notice: a loss while no worker runs, and the loss of the latest writes alone (a failover, an older
append-only file), since the id is as old as the data.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class DataSet:
    """The id of a lane group's data and how many jobs it held.

    Attributes:
        id: "" until the worker has asked.
        unfinished: jobs waiting and running in the worker's lanes at its last heartbeat; the renewal thread
            writes it.
    """

    id: str = ""
    unfinished: int = 0
