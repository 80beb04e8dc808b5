"""How long and how often a job is tried again. A value; the decision itself is the engine's."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When to try again after a failure that may pass.

    The n-th wait is ``first_wait * factor ** (n - 1)``, at most ``longest_wait``, moved by up to
    ``jitter`` of itself in either direction, so that jobs that failed together do not return together.

    Attributes:
        tries: how many attempts at most; the last failure makes the job dead.
        horizon: how old a job may grow; a retry that would start later makes the job dead.
    """

    tries: int = 5
    first_wait: timedelta = timedelta(seconds=1)
    factor: float = 2.0
    longest_wait: timedelta = timedelta(hours=1)
    jitter: float = 0.1
    horizon: timedelta = timedelta(days=2)
