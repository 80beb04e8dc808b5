"""A replacement for arq's own worker, for applications written for arq: ``docs/arq.md``."""

from worker.arq_compat.worker import StandIn as StandIn
