"""The sessions of a command, and their errors in the words of the command line."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from ops.command import CommandRefused, Tools
from sessions import SessionRefused, Sessions, SessionsUnavailable

SHOWN = 12
"""Digits of a digest that people read; enough to tell a user's sessions apart."""
_DEADLINE = timedelta(seconds=2)


@contextmanager
def open_sessions(tools: Tools) -> Iterator[Sessions]:
    """The sessions in the configured Redis.

    Raises:
        Refused: an argument is not acceptable.
        ConnectionError: Redis did not answer.
    """
    try:
        yield Sessions(tools.redis, deadline=_DEADLINE)
    except SessionRefused as refusal:
        raise CommandRefused(str(refusal)) from refusal
    except SessionsUnavailable as error:
        raise ConnectionError(str(error)) from error


def time_text(moment: object) -> str:
    """A moment in a table."""
    return f"{moment:%Y-%m-%d %H:%M:%S}"
