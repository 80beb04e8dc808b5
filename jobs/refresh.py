"""The request to recompute a report. Safe to run twice: a recompute only ever replaces older data."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from .lanes import REPORTS
from .policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshReport:
    """Recompute one report for all its scopes.

    Attributes:
        report: the report's name, for example ``"management"``.
        scope: the node whose rows changed; kept for people who ask why a refresh ran. The recompute is
            one query for all scopes whatever is given here.
    """

    kind: ClassVar[str] = "report.refresh"
    lane: ClassVar[str] = REPORTS
    policy: ClassVar[Policy] = Policy(
        tries=20,
        first_wait=timedelta(seconds=2),
        longest_wait=timedelta(minutes=1),
        horizon=timedelta(hours=1),
    )

    report: str
    scope: int | None = None

    def fingerprint(self) -> str:
        """What makes two requests the same: the report alone."""
        return self.report

    def compose(self, *, job_id: str, now: datetime) -> Mapping[str, object]:
        """The payload on the wire. The id and the time play no part in it."""
        del job_id, now
        return {"report": self.report, "scope": self.scope}
