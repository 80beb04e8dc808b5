"""The push of staged jobs into Redis: one call of ``push.lua`` for the jobs of one lane. Safe to repeat."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from producers.keys import LaneKeys
from producers.link import Argument
from producers.link.script import Script, read_script
from producers.operation import Call

SCRIPTS = Path(__file__).parent / "scripts"
_PUSH = Script(read_script(SCRIPTS, "push"))


@dataclass(slots=True)
class StagedJob:
    """A job in the form for Redis.

    Attributes:
        day: of its row, in days since 1970.
        due_ms: the instant from which it may run; a past one means now.
        mark: the last attempt whose effect began, and after a space its note; "" for none. The next claim counts
            that effect as uncertain.
    """

    id: str
    day: int
    lane: str
    payload: bytes = field(repr=False)
    due_ms: int = 0
    key: str = field(default="", repr=False)
    fingerprint: str = field(default="", repr=False)
    window_ms: int = 0
    limit: str = ""
    mark: str = ""


@dataclass(frozen=True, slots=True)
class PushRefusal:
    """A job that was not queued because its key is in use.

    Attributes:
        why: ``duplicate`` for the same content, ``conflict`` for other content.
        holder: the job that has the key; "" if the key's name in Redis holds something else.
    """

    job: StagedJob
    why: Literal["duplicate", "conflict"]
    holder: str


@dataclass(frozen=True, slots=True)
class PushResult:
    """Jobs of a push that were not queued, with the reason.

    Attributes:
        marked: those that Redis had, with the mark of an effect that it knew of, as in ``StagedJob.mark``.
    """

    refusals: list[PushRefusal] = field(default_factory=list)
    marked: list[tuple[StagedJob, str]] = field(default_factory=list)

    def add(self, other: "PushResult") -> None:
        """Add the result of another call."""
        self.refusals.extend(other.refusals)
        self.marked.extend(other.marked)


async def push_jobs(call: Call, jobs: Sequence[StagedJob]) -> PushResult:
    """Queue jobs of one lane, except those that Redis knows and those whose key is in use.

    Args:
        call: sends one command; :meth:`producers.link.Link.call`.
        jobs: at least one, all of one lane.

    Raises:
        RedisError, OSError: the jobs may be queued or not; a second call queues the others.
    """
    keys = LaneKeys(jobs[0].lane)
    names = [keys.queue, keys.wake, keys.counters, keys.ledger, keys.ended, keys.effects, keys.retrying]
    arguments: list[Argument] = [keys.lane, keys.tag]
    for one in jobs:
        arguments += [one.id, one.payload, one.due_ms, one.key, one.fingerprint, one.window_ms, one.limit]
        arguments += [one.day, one.mark]
    reply = await _PUSH.run(call, names, arguments)
    result = PushResult()
    for index, what, told in zip(*[iter(reply)] * 3, strict=True):
        if what != b"known":
            why = cast("Literal['duplicate', 'conflict']", what.decode())
            result.refusals.append(PushRefusal(jobs[index], why, told.decode()))
        elif told:
            result.marked.append((jobs[index], told.decode("utf-8", "replace")))
    return result
