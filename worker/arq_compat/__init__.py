"""Stands in for arq's own worker, for code written for it: ``docs/arq.md``."""

from worker.arq_compat.worker import StandIn as StandIn
