"""The sessions of a command, with their errors as errors of the command line."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from ops.command import CommandRefused, Tools
from sessions import SessionRefused, Sessions, SessionsUnavailable

SHOWN = 12
"""Digits of a digest that operators see; enough to tell a user's sessions apart."""
_DEADLINE = timedelta(seconds=2)


@contextmanager
def open_sessions(tools: Tools) -> Iterator[Sessions]:
    """Yield the sessions in the configured Redis.

    Raises:
        CommandRefused: an argument is not acceptable.
        ConnectionError: Redis did not answer.
    """
    try:
        yield Sessions(tools.redis, deadline=_DEADLINE)
    except SessionRefused as refusal:
        raise CommandRefused(str(refusal)) from refusal
    except SessionsUnavailable as error:
        raise ConnectionError(str(error)) from error


def time_text(moment: object) -> str:
    """Return an instant for a table."""
    return f"{moment:%Y-%m-%d %H:%M:%S}"
