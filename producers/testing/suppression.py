"""Suppression list in a test's memory: replies as `suppress.lua` does, by the recorder's clock.

A permanent refusal suppresses at once and a temporary one never does: days are not counted here, and mass refusals
of a server are not detected.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

_Reasons = dict[tuple[str, str], datetime | None]
"""Reason and scope to the end of the suppression; None: permanent."""


class MemorySuppression:
    """Suppression list in memory, with the replies of the one in Redis."""

    def __init__(self) -> None:
        self._reasons: dict[str, _Reasons] = {}

    def apply_call(self, arguments: Sequence[Any], now: datetime) -> int:
        """Apply one call of the script and return the number of reasons added or removed."""
        action, digest, reason, scope, life_ms, *_ = arguments
        standing = self._reasons.setdefault(str(digest), {})
        if action == "remove":
            return _removed(standing, str(reason), str(scope))
        if action in {"counted", "none"}:
            return 0
        until = now + timedelta(milliseconds=int(life_ms)) if life_ms else None
        return _added(standing, (str(reason), str(scope)), until, now)


def _added(standing: _Reasons, name: tuple[str, str], until: datetime | None, now: datetime) -> int:
    """Add a reason; a reason that exists is only ever extended."""
    if name in standing:
        before = standing[name]
        if before is None or (before > now and until is not None and before >= until):
            return 0
    standing[name] = until
    return 1


def _removed(standing: _Reasons, reason: str, scope: str) -> int:
    gone = [name for name in standing if reason in {"", name[0]} and scope in {"", name[1]}]
    for name in gone:
        del standing[name]
    return len(gone)
