"""Protocol of a message that a producer can send. ``jobs.Mail`` is one; a backend may write its own."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Protocol

from .errors import InvalidRequest
from .identifier import is_job_id
from .keys import group_of
from .send_options import SendTimes, checked_limit


class Message(Protocol):
    """Request for work. Attributes are read-only; frozen dataclasses fit, their class attributes without ClassVar.

    Optional attributes:

    - ``version``, a whole number above 1, when the payload's shape has changed; the handler then has an upcaster
      for each earlier version (``docs/producers.md``);
    - ``life``, a timedelta from when a message may first run, after which it expires; the ``expires`` argument of
      a call takes precedence;
    - ``limit``, the key of a limit that the job counts against; the ``limit`` argument of a call takes precedence;
    - ``job_id``, the id of its job, for a sender that must know it before Redis has the job: ``{group}`` of its
      lane, followed by a text that no other job has;
    - ``dated = "due"``: ``compose`` gets the time at which the message is due as ``now``, not the time of the
      call.
    """

    @property
    def kind(self) -> str:
        """The permanent name on the wire, ``noun.verb``; never reused with another meaning."""

    @property
    def lane(self) -> str:
        """The lane in which the job waits, for example ``mail.normal``."""

    def fingerprint(self) -> str:
        """Return a text that is equal for equal requests; compared when a key is used again."""

    def compose(self, *, job_id: str, now: datetime) -> Mapping[str, object]:
        """Return the payload, of JSON-native values only. Raises a ValueError if the message is invalid."""


class Seal(Protocol):
    """Encryption of the private parts of payloads; ``jobs.mail.seal.KeyRing`` is one."""

    def seal(self, payload: Mapping[str, object], *, kind: str, job_id: str) -> Mapping[str, object]:
        """Return the payload as Redis may store it; unchanged if its kind has nothing private."""

    def open(self, payload: Mapping[str, object], *, kind: str, job_id: str) -> Mapping[str, object]:
        """Return the payload that :meth:`seal` was given."""


def check_message(message: object) -> None:
    """Check that an object is a message, so that the error names the argument.

    Raises:
        InvalidRequest: it lacks what every message has.
    """
    if isinstance(message, type) or not (hasattr(message, "compose") and hasattr(message, "kind")):
        given = (
            f"the class {message.__name__}"
            if isinstance(message, type)
            else f"a value of type {type(message).__name__}"
        )
        raise InvalidRequest(f"message: must be a Mail, a job of your own or a NamedJob, not {given}")


def life_of(message: Message) -> timedelta | None:
    """Return a message's ``life``: the time from when it may run until it expires; None without one.

    Raises:
        InvalidRequest: not a timedelta above 0.
    """
    life = getattr(message, "life", None)
    if life is not None and not (isinstance(life, timedelta) and life > timedelta(0)):
        raise InvalidRequest(f"life: {type(message).__name__} has {life!r}; it must be a timedelta above 0")
    return life


def limit_of(message: Message) -> str:
    """Return a message's ``limit``: the key of the limit that it counts against; empty without one.

    Raises:
        InvalidRequest: not a key of a limit.
    """
    limit = getattr(message, "limit", None)
    return "" if limit is None else checked_limit(limit)


def id_of(message: Message) -> str:
    """Return the id that a message brings for its job; empty if it leaves that to the producer.

    Raises:
        InvalidRequest: not an id of the lane's group.
    """
    job_id = getattr(message, "job_id", "")
    if not job_id:
        return ""
    tag = f"{{{group_of(message.lane)}}}"
    if not (isinstance(job_id, str) and job_id.startswith(tag) and is_job_id(job_id)):
        raise InvalidRequest(f"job_id: {type(message).__name__} has {job_id!r}; it must be {tag} followed by text")
    return job_id


def moment_of(message: Message, now: datetime, times: SendTimes) -> datetime:
    """Return the time that a message is composed for: its due time if ``dated = "due"``, else that of the call."""
    if not times.wait_ms or getattr(message, "dated", None) != "due":
        return now
    if times.at_ms is None:
        return now + timedelta(milliseconds=times.wait_ms)
    return datetime.fromtimestamp(times.at_ms / 1000, UTC)


def version_of(message: Message) -> int:
    """Return the version of a message's payload; 1 for a message without ``version``.

    Raises:
        InvalidRequest: not a whole number of at least 1.
    """
    version = getattr(message, "version", 1)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InvalidRequest(
            f"version: {type(message).__name__} has {version!r}; it must be a whole number of at least 1"
        )
    return version
