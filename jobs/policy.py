"""Retry policy: how long and how often a job is retried. A value; the engine decides."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The retries after a failure that may pass.

    The n-th wait is ``first_wait * factor ** (n - 1)``, at most ``longest_wait``, moved by up to
    ``jitter`` of itself in either direction, so that jobs that failed together do not return together.

    Attributes:
        tries: most attempts; the last failure makes the job dead.
        horizon: greatest age of a job; a retry that would start later makes the job dead.
    """

    tries: int = 5
    first_wait: timedelta = timedelta(seconds=1)
    factor: float = 2.0
    longest_wait: timedelta = timedelta(hours=1)
    jitter: float = 0.1
    horizon: timedelta = timedelta(days=2)
