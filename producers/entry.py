"""Entries of jobs, and operations on the queue. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from .identifier import group_of_id
from .keys import LaneKeys
from .link import Argument
from .message import Message
from .operation import Operation
from .receipt import Cancelled, JobResult
from .send_options import SendTimes


@dataclass(slots=True)  # not frozen: that doubles the cost of making one, and a list may have fifty thousand
class JobEntry:
    """Job to be queued.

    Attributes:
        delay_ms: time to wait; used if ``at_ms`` is None.
        key: SHA-256 of the caller's key in hex, or ``""``.
        limit: key of a limit that the job counts against, or ``""``.
        expires_in_ms, life_ms: time until the job expires, from when Redis takes it or from when it may run; at
            most one of them.
        fingerprint: SHA-256 of the content in hex; all fingerprints have one length.
        origin: the message, its payload before it was sealed, and its times; None for a recompute.
    """

    id: str
    payload: bytes = field(repr=False)
    delay_ms: int
    key: str = field(default="", repr=False)
    fingerprint: str = field(default="", repr=False)
    window_ms: int = 0
    at_ms: int | None = None
    limit: str = ""
    expires_in_ms: int | None = None
    life_ms: int | None = None
    origin: tuple[Message, Mapping[str, object], SendTimes] | None = field(default=None, repr=False)

    @property
    def due(self) -> int | str:
        """The script's argument: a delay, or ``@`` and an instant; then the time until the job expires."""
        due = self.delay_ms if self.at_ms is None else f"@{self.at_ms}"
        if self.expires_in_ms is not None:
            return f"{due} x{self.expires_in_ms}"
        return due if self.life_ms is None else f"{due} l{self.life_ms}"


@dataclass(slots=True)  # not frozen, as an entry is not
class EntryReceipt:
    """Reply of the queue to one entry: the job's id; ``new`` is True if this call queued it."""

    id: str
    new: bool


class ConflictingKey(Exception):
    """An entry's key is in use for other content."""

    def __init__(self, index: int, known_id: str) -> None:
        super().__init__(index, known_id)
        self.index = index
        self.known_id = known_id


def enqueue(lane: str, entries: Sequence[JobEntry]) -> Operation[list[EntryReceipt]]:
    """Queue all entries of one lane, or none of them.

    Raises (by its reply):
        ConflictingKey: a key is in use for other content; nothing was queued.
    """
    keys = LaneKeys(lane)
    arguments: list[Argument] = [lane, keys.tag]
    for one in entries:
        arguments += [one.id, one.payload, one.due, one.key, one.fingerprint, one.window_ms, one.limit]

    def read(reply: Any) -> list[EntryReceipt]:  # noqa: ANN401  a reply is what the script returns
        if reply[0] == b"conflict":
            raise ConflictingKey(reply[1], reply[2].decode())
        taken = [EntryReceipt(one.id, new=True) for one in entries]
        for place, known in zip(reply[1::2], reply[2::2], strict=True):
            taken[place] = EntryReceipt(known.decode(), new=False)
        return taken

    return Operation("enqueue", [keys.queue, keys.wake, keys.counters], arguments, read)


def enqueue_latest(lane: str, entry: JobEntry) -> Operation[bool]:
    """Queue a recompute; the result is True if the id was not waiting yet."""
    keys = LaneKeys(lane)
    names = [keys.queue, keys.wake, keys.counters, keys.leases, keys.next, keys.dead]
    arguments: list[Argument] = [lane, keys.tag, entry.id, entry.payload, entry.delay_ms]
    return Operation("enqueue_latest", names, arguments, lambda reply: bool(reply != b"duplicate"))


def take_out(keys: LaneKeys, job_id: str, event: str, lanes: Sequence[str] = ()) -> Operation[tuple[str, str]]:
    """Remove a waiting job from the queue, or request the stop of a running one; returns its outcome and lane.

    Args:
        keys: keys of any lane of the job's group.
        event: ``cancelled`` or ``discarded``: the event that is counted.
        lanes: lanes to search; by default all lanes that the group has had.
    """
    names = [keys.counters, keys.lapses, keys.effects, keys.adopted, keys.next, keys.cancelled, keys.progress]

    def read(reply: Any) -> tuple[str, str]:  # noqa: ANN401  a reply is what the script returns
        what, lane = reply
        return what.decode(), lane.decode()

    return Operation("take_out", names, [keys.tag, job_id, event, *lanes], read)


def cancel(job_id: str) -> Operation[Cancelled]:
    """Cancel a job by its id alone, in any lane of its group."""
    taking = take_out(LaneKeys(group_of_id(job_id)), job_id, "cancelled")

    def read(reply: Any) -> Cancelled:  # noqa: ANN401  as above
        match taking.read(reply):
            case "gone", _:
                return "cancelled"
            case "stopping" | "told", _:
                return "stopping"
            case _:  # it is dead, belongs to a stock arq worker, or does not exist
                return "unknown"

    return Operation(taking.script, taking.keys, taking.arguments, read)


def result(job_id: str) -> Operation[JobResult]:
    """Read how a job ended, by its id alone."""
    return Operation("result", [f"arq:result:{job_id}", f"arq:job:{job_id}"], [], read_result)


def read_result(reply: Any) -> JobResult:  # noqa: ANN401  a reply is what the script returns
    """Return the result in the reply of ``result.lua``."""
    stored, payload = reply
    if not stored:
        return JobResult("pending" if payload else "unknown")
    try:
        found = orjson.loads(stored)
        if found["s"]:
            return JobResult("suppressed" if found.get("o") == "suppressed" else "done", found["r"])
        return JobResult("expired" if found.get("o") == "expired" else "dead", reason=str(found["r"]))
    except (ValueError, TypeError, KeyError):  # stored by another program: a stock arq worker pickles
        return JobResult("unknown")
