"""One deadline for all steps of a call in a thread: connect, TLS, log-in, then each piece of a reply.

The lookup of a host name is done by the operating system without a deadline; use an IP address, or a name from a
local resolver.
"""

import time
from contextvars import ContextVar

_DEADLINE: ContextVar[float] = ContextVar("deadline")
_LEAST = 0.001
"""Seconds for a step that begins too late: enough to fail in an orderly way. Zero would mean no blocking."""


class deadline:  # noqa: N801  used like a function, and for every call: a generator would cost twice as much
    """Limit the body to this number of seconds; inside another deadline, the earlier one applies."""

    __slots__ = ("_seconds", "_token")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        at = time.monotonic() + self._seconds
        self._token = _DEADLINE.set(min(at, _DEADLINE.get(at)))

    def __exit__(self, *_: object) -> None:
        _DEADLINE.reset(self._token)


def seconds_left() -> float:
    """Return the seconds until the deadline, or a minimum once it has passed."""
    return max(_DEADLINE.get() - time.monotonic(), _LEAST)


def is_over() -> bool:
    """Return True once the deadline has passed."""
    return time.monotonic() >= _DEADLINE.get()
