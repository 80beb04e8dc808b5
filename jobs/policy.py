"""Retry policy: how long and how often a job is retried. A value; the engine decides."""

import math
from dataclasses import dataclass
from datetime import timedelta

from .errors import JobError


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Retries after a failure that may be temporary.

    The n-th wait is ``first_wait * factor ** (n - 1)``, at most ``longest_wait``, moved by up to
    ``jitter`` of itself in either direction, so that jobs that failed together do not return together.

    Attributes:
        tries: largest number of attempts; the last failure makes the job dead.
        horizon: greatest age of a job; a retry that would start later makes the job dead.

    Raises:
        JobError: a number or a time is out of range; names it.
    """

    tries: int = 5
    first_wait: timedelta = timedelta(seconds=1)
    factor: float = 2.0
    longest_wait: timedelta = timedelta(hours=1)
    jitter: float = 0.1
    horizon: timedelta = timedelta(days=2)

    def __post_init__(self) -> None:
        if not isinstance(self.tries, int) or isinstance(self.tries, bool) or self.tries < 1:
            raise JobError("tries", f"must be a whole number of at least 1, not {self.tries!r}")
        for name in ("first_wait", "longest_wait", "horizon"):
            check_span(name, getattr(self, name))
        for name, least in (("factor", 1), ("jitter", 0)):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not least <= value < math.inf:
                raise JobError(name, f"must be a number of at least {least}, not {value!r}")


def check_span(name: str, value: object) -> None:
    """Check that a value is a duration of 0 or more. Raises JobError, which says how to write seconds."""
    if not isinstance(value, timedelta):
        hint = f"; write timedelta(seconds={value})" if isinstance(value, int | float) else ""
        raise JobError(name, f"must be a timedelta, not {value!r}{hint}")
    if value < timedelta(0):
        raise JobError(name, f"must not be negative ({value})")
