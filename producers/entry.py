"""A job on its way in, and how the scripts are asked about it and answer. No I/O.

Whoever carries the command (an asyncio link, a synchronous pool) asks with the same octets and reads the same
reply, so that two producers cannot differ in what they write.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .keys import LaneKeys
from .link import Argument

Asked = tuple[list[str], list[Argument]]
"""A script's KEYS and ARGV."""


@cache
def script(name: str) -> str:
    """The source of a script of this room."""
    return (Path(__file__).parent / "scripts" / f"{name}.lua").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Entry:
    """One job on its way in.

    Attributes:
        key: SHA-256 of the caller's key in hex, or ``""``.
        fingerprint: SHA-256 of the content in hex; all fingerprints have one length.
    """

    id: str
    payload: bytes
    delay_ms: int
    key: str = ""
    fingerprint: str = ""
    window_ms: int = 0


@dataclass(frozen=True, slots=True)
class Taken:
    """The queue's word on one entry: the id that stands, and whether this call made it."""

    id: str
    new: bool


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
        arguments += [one.id, one.payload, one.delay_ms, one.key, one.fingerprint, one.window_ms]
    return [keys.queue, keys.wake, keys.counters], arguments


def put_answer(reply: Any) -> list[Taken]:  # noqa: ANN401  a reply is whatever the script returns
    """What ``enqueue.lua`` said.

    Raises:
        ConflictingKey: a key stands for other content; nothing was queued.
    """
    if reply[0] == b"conflict":
        raise ConflictingKey(reply[1], reply[2].decode())
    pairs = zip(reply[1::2], reply[2::2], strict=True)
    return [Taken(known.decode(), state == b"queued") for state, known in pairs]


def put_latest_question(lane: str, entry: Entry) -> Asked:
    """What ``enqueue_latest.lua`` is called with."""
    keys = LaneKeys(lane)
    names = [keys.queue, keys.wake, keys.counters, keys.leases, keys.next, keys.dead]
    return names, [lane, keys.tag, entry.id, entry.payload, entry.delay_ms]


def put_latest_answer(reply: Any) -> bool:  # noqa: ANN401  a reply is whatever the script returns
    """What ``enqueue_latest.lua`` said: whether the id was not waiting yet."""
    return bool(reply != b"duplicate")
