"""What a producer can send: anything of this shape. ``jobs.Mail`` is one; a backend may write its own."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol

from .errors import InvalidRequest
from .send_options import SendTimes


class Message(Protocol):
    """A request for work. Attributes are read-only; frozen dataclasses fit.

    A class whose payload has changed its shape also has ``version``, a whole number above 1, and its handler an
    upcaster for each version before (``docs/producers.md``). A class whose messages are worth running for a while
    only has ``life``, a timedelta from when one may first run; ``expires`` of a call comes before it. A class
    whose payload is of the moment at which it falls due has ``dated = "due"``: ``compose`` is then told that
    moment.
    """

    @property
    def kind(self) -> str:
        """The permanent wire name, ``noun.verb``; never reused for something else."""

    @property
    def lane(self) -> str:
        """The lane it waits in, for example ``mail.normal``."""

    def fingerprint(self) -> str:
        """What makes two requests the same; compared when a key is used again."""

    def compose(self, *, job_id: str, now: datetime) -> Mapping[str, object]:
        """The payload: JSON-native values only. Raises ValueError's kin when it cannot be asked for."""


class Seal(Protocol):
    """Hides what is private of a payload; ``jobs.mail.seal.KeyRing`` is one."""

    def seal(self, payload: Mapping[str, object], *, kind: str, job_id: str) -> Mapping[str, object]:
        """The payload as it may lie in Redis; of a kind that has nothing private, as it is."""

    def open(self, payload: Mapping[str, object], *, kind: str, job_id: str) -> Mapping[str, object]:
        """What was sealed, as it was before."""


def life_of(message: Message) -> timedelta | None:
    """How long it is worth running from when it may; None for a message that does not say.

    Raises:
        InvalidRequest: not a timedelta above 0.
    """
    life = getattr(message, "life", None)
    if life is not None and not (isinstance(life, timedelta) and life > timedelta(0)):
        raise InvalidRequest(f"life: {type(message).__name__} has {life!r}, not a timedelta above 0")
    return life


def moment_of(message: Message, now: datetime, times: SendTimes) -> datetime:
    """Return the moment that a message is composed for: its due time if it is ``dated = "due"``, else the call."""
    if not times.wait_ms or getattr(message, "dated", None) != "due":
        return now
    if times.at_ms is None:
        return now + timedelta(milliseconds=times.wait_ms)
    return datetime.fromtimestamp(times.at_ms / 1000, UTC)


def version_of(message: Message) -> int:
    """The version of its payload's shape; 1 for a message that names none.

    Raises:
        InvalidRequest: not a whole number from 1.
    """
    version = getattr(message, "version", 1)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InvalidRequest(f"version: {type(message).__name__} has {version!r}, not a whole number from 1")
    return version
