"""The wire format of a stand-in: its keys for an arq queue, and arq's jobs and results as JSON."""

import asyncio
from dataclasses import dataclass
from typing import Any

import orjson

from producers.keys import LaneKeys

_ABORTED = "CancelledError: "


@dataclass(frozen=True, slots=True)
class QueueKeys(LaneKeys):
    """The keys of an arq queue: arq's own where it has one, the others with a tag of this queue.

    Example:
        >>> QueueKeys("arq:queue").leases
        'momentus:{arq:queue}:leases:arq:queue'
    """

    @property
    def tag(self) -> str:
        """The hash tag of the keys that arq does not have; the ids of arq's jobs have no tag."""
        return f"{{{self.lane}}}"

    @property
    def queue(self) -> str:
        """ZSET of job ids by the time (ms) at which they may be claimed."""
        return self.lane


def to_json(content: dict[str, Any]) -> bytes:
    """Serialize a job or result to JSON: arq's `job_serializer`. An exception becomes its type and message.

    Raises:
        TypeError: a value cannot be represented in JSON.
    """
    return orjson.dumps(content, default=_as_text)


def from_json(data: bytes) -> dict[str, Any]:
    """Deserialize a job or result from JSON: arq's `job_deserializer`.

    The result of an aborted job becomes the exception again, by which `Job.abort` recognises it.

    Raises:
        ValueError: the bytes are not JSON; a pickle is never read.
    """
    content: dict[str, Any] = orjson.loads(data)
    if content.get("s") is False and content.get("r") == _ABORTED:
        content["r"] = asyncio.CancelledError()
    return content


def _as_text(value: object) -> str:
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    kind = type(value).__name__
    raise TypeError(f"job_serializer: JSON cannot hold a {kind}; pass JSON values, or set another serializer")
