"""What a stand-in puts on the wire: its keys for an arq queue, and arq's jobs and results as JSON."""

import asyncio
from dataclasses import dataclass
from typing import Any

import orjson

from producers.keys import LaneKeys

_ABORTED = "CancelledError: "


@dataclass(frozen=True, slots=True)
class QueueKeys(LaneKeys):
    """The keys of an arq queue: arq's own where arq has one, ours apart from those of every other queue.

    Example:
        >>> QueueKeys("arq:queue").leases
        'momentus:{arq:queue}:leases:arq:queue'
    """

    @property
    def tag(self) -> str:
        """What our own keys have in common; the ids of arq's jobs begin with no tag."""
        return f"{{{self.lane}}}"

    @property
    def queue(self) -> str:
        """ZSET of job ids by the time (ms) at which they may be claimed."""
        return self.lane


def to_json(content: dict[str, Any]) -> bytes:
    """What arq calls `job_serializer`, as JSON; an exception becomes its type and words.

    Raises:
        TypeError: a value that JSON does not have.
    """
    return orjson.dumps(content, default=_as_text)


def from_json(octets: bytes) -> dict[str, Any]:
    """What arq calls `job_deserializer`, as JSON.

    A result that says that the job was aborted is the exception again, by which `Job.abort` knows it.

    Raises:
        ValueError: not JSON; a pickle is never read.
    """
    content: dict[str, Any] = orjson.loads(octets)
    if content.get("s") is False and content.get("r") == _ABORTED:
        content["r"] = asyncio.CancelledError()
    return content


def _as_text(value: object) -> str:
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    raise TypeError(f"{type(value).__name__} is not JSON")
