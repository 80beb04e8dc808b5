"""Who is measured: one line per library and way of using it."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A library and how it is used.

    Attributes:
        name: in the tables and for --only.
        folder: below bench/queue_peers; several peers may share one.
        worker, producer: arguments of its two scripts.
        keeps: what it does with results by its defaults, which are left alone.
        share: of --jobs, so that a slow one does not take minutes.
        rest: the longest pause (s) between two jobs of the pick-up measurement: its own polling, if longer.
        samples: of the pick-up measurement; fewer where each takes long.
        slots: jobs at a time in one process.
    """

    name: str
    folder: str
    worker: tuple[str, ...] = ()
    producer: tuple[str, ...] = ()
    keeps: str
    share: float = 1
    rest: float = 0.03
    samples: int = 200
    slots: str = "100"


OURS = Peer(name="momentus", folder="momentus", keeps="1 h")
OWN = Peer(name="momentus-own", folder="momentus_own", worker=("loop",), producer=("loop",), keeps="1 h")
OWN_THREAD = Peer(
    name="momentus-own-thread", folder="momentus_own", worker=("thread",), producer=("thread",), keeps="1 h"
)
OWN_PROCESS = Peer(
    name="momentus-own-process",
    folder="momentus_own",
    worker=("process",),
    producer=("process",),
    keeps="1 h",
    slots="100; 1 child a core",
)
QUICK_LEASE = Peer(name="momentus, lease 2 s", folder="momentus", worker=("2",), keeps="1 h")

PEERS = (
    OURS,
    OWN,
    OWN_THREAD,
    OWN_PROCESS,
    Peer(name="arq", folder="arq", worker=("0.5",), keeps="1 h", share=0.5, rest=0.5, samples=50),
    Peer(name="arq-poll10ms", folder="arq", worker=("0.01",), keeps="1 h", share=0.5),
    Peer(name="saq", folder="saq", keeps="10 min"),
    Peer(name="taskiq-list", folder="taskiq", worker=("list",), producer=("list",), keeps="no"),
    Peer(name="taskiq-stream", folder="taskiq", worker=("stream",), producer=("stream",), keeps="no"),
    Peer(name="streaq", folder="streaq", keeps="5 min", share=0.5),
    Peer(name="rq", folder="rq", keeps="500 s", share=0.2, slots="1"),
    Peer(name="celery-threads", folder="celery", worker=("threads", "100"), keeps="no", share=0.25),
    Peer(
        name="celery-prefork",
        folder="celery",
        worker=("prefork", str(os.cpu_count())),
        keeps="no",
        share=0.25,
        slots="1 a core",
    ),
    Peer(name="dramatiq", folder="dramatiq", keeps="no", share=0.5),
    Peer(name="bullmq", folder="bullmq", keeps="for ever"),
)
