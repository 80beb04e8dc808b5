"""Requests to recompute a report. Safe to run twice: a recompute only ever replaces older data.

A producer sends one with ``Producer.refresh``; of each report at most one runs and one waits.
"""

from datetime import timedelta
from typing import ClassVar

from .lanes import REPORTS
from .policy import Policy


class RefreshReport:
    """The kind ``report.refresh`` and its lane and policy; its payload is tenant, report and scope."""

    kind: ClassVar[str] = "report.refresh"
    lane: ClassVar[str] = REPORTS
    policy: ClassVar[Policy] = Policy(
        tries=20, first_wait=timedelta(seconds=2), longest_wait=timedelta(minutes=1), horizon=timedelta(hours=1)
    )
