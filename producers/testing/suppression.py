"""Who is not written to, in a test's memory: what `suppress.lua` answers, on the recorder's clock.

A refusal for good suppresses at once, and one that may pass never does: no days are counted here, and no server is
doubted.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

_Reasons = dict[tuple[str, str], datetime | None]
"""Reason and scope to when it ends; None: never."""


class MemorySuppression:
    """Takes the questions that a producer would ask of Redis."""

    def __init__(self) -> None:
        self._reasons: dict[str, _Reasons] = {}

    def change(self, arguments: Sequence[Any], now: datetime) -> int:
        """How many reasons were added or removed."""
        action, digest, reason, scope, life_ms, *_ = arguments
        standing = self._reasons.setdefault(str(digest), {})
        if action == "remove":
            return _removed(standing, str(reason), str(scope))
        if action in {"counted", "none"}:
            return 0
        until = now + timedelta(milliseconds=int(life_ms)) if life_ms else None
        return _added(standing, (str(reason), str(scope)), until, now)


def _added(standing: _Reasons, name: tuple[str, str], until: datetime | None, now: datetime) -> int:
    """A reason is never shortened by adding it again."""
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
