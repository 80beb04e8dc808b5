"""A job on its way in, and how the scripts are asked about it and answer. No I/O.

Whoever carries the command (an asyncio link, a synchronous pool) asks with the same octets and reads the same
reply, so that two producers cannot differ in what they write.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .keys import LaneKeys
from .link import Argument
from .link.script import read_script
from .receipt import Cancelled

Asked = tuple[list[str], list[Argument]]
"""A script's KEYS and ARGV."""


def script(name: str) -> str:
    """The source of a script of this room."""
    return read_script(Path(__file__).parent / "scripts", name)


@dataclass(slots=True)  # not frozen: that doubles the cost of making one, and a list may have fifty thousand
class Entry:
    """One job on its way in.

    Attributes:
        delay_ms: how long it is to wait, unless ``at_ms`` names an instant.
        key: SHA-256 of the caller's key in hex, or ``""``.
        limit: the key of a limit that it counts against, or ``""``.
        expires_in_ms, life_ms: how long it is worth running, from when it is taken, or from when it may run; at
            most one of them.
        fingerprint: SHA-256 of the content in hex; all fingerprints have one length.
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

    @property
    def due(self) -> int | str:
        """As the script takes it: a delay, or ``@`` and an instant; then how long it is worth running."""
        due = self.delay_ms if self.at_ms is None else f"@{self.at_ms}"
        if self.expires_in_ms is not None:
            return f"{due} x{self.expires_in_ms}"
        return due if self.life_ms is None else f"{due} l{self.life_ms}"


@dataclass(slots=True)  # not frozen, as an entry is not
class Taken:
    """The queue's word on one entry: the id that stands, and whether this call made it."""

    id: str
    new: bool


Chunk = tuple[str, Sequence[Entry]]
"""A lane and entries for it, which are queued all or none."""


class ConflictingKey(Exception):
    """An entry's key stands for other content."""

    def __init__(self, index: int, known_id: str) -> None:
        super().__init__(index, known_id)
        self.index = index
        self.known_id = known_id


def put_question(lane: str, entries: Sequence[Entry]) -> Asked:
    """What ``enqueue.lua`` is called with."""
    keys = LaneKeys(lane)
    arguments: list[Argument] = [lane, keys.tag]
    for one in entries:
        arguments += [one.id, one.payload, one.due, one.key, one.fingerprint, one.window_ms, one.limit]
    return [keys.queue, keys.wake, keys.counters], arguments


def put_answer(reply: Any, entries: Sequence[Entry]) -> list[Taken]:  # noqa: ANN401  a reply is whatever the script returns
    """What ``enqueue.lua`` said of these entries.

    Raises:
        ConflictingKey: a key stands for other content; nothing was queued.
    """
    if reply[0] == b"conflict":
        raise ConflictingKey(reply[1], reply[2].decode())
    taken = [Taken(one.id, new=True) for one in entries]
    for place, known in zip(reply[1::2], reply[2::2], strict=True):
        taken[place] = Taken(known.decode(), new=False)
    return taken


def put_latest_question(lane: str, entry: Entry) -> Asked:
    """What ``enqueue_latest.lua`` is called with."""
    keys = LaneKeys(lane)
    names = [keys.queue, keys.wake, keys.counters, keys.leases, keys.next, keys.dead]
    return names, [lane, keys.tag, entry.id, entry.payload, entry.delay_ms]


def take_out_question(keys: LaneKeys, job_id: str, event: str, lanes: Sequence[str] = ()) -> Asked:
    """What ``take_out.lua`` is called with.

    Args:
        keys: of any lane of the job's group.
        event: ``cancelled`` or ``discarded``, as it is to be counted.
        lanes: where to look; left out, in all that the group has had.
    """
    names = [keys.counters, keys.lapses, keys.effects, keys.adopted, keys.next, keys.cancelled, keys.progress]
    return names, [keys.tag, job_id, event, *lanes]


def cancel_question(job_id: str) -> Asked:
    """What ``take_out.lua`` is called with by a producer, who knows the job's id and no lanes."""
    return take_out_question(LaneKeys(job_id[1 : job_id.index("}")]), job_id, "cancelled")


def cancel_answer(reply: Any) -> Cancelled:  # noqa: ANN401  a reply is whatever the script returns
    """What ``take_out.lua`` said, as a producer tells it."""
    match reply[0]:
        case b"gone":
            return "cancelled"
        case b"stopping" | b"told":
            return "stopping"
        case _:  # it is dead, it is a stock arq worker's, or there is no such job
            return "unknown"


def put_latest_answer(reply: Any) -> bool:  # noqa: ANN401  a reply is whatever the script returns
    """What ``enqueue_latest.lua`` said: whether the id was not waiting yet."""
    return bool(reply != b"duplicate")
