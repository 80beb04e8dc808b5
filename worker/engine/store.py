"""The queue as a worker sees it: the scripts, batched, one round trip for all lanes of a turn."""

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError, ResponseError

from producers.key_types import key_types, wrong_key
from producers.keys import LaneKeys
from producers.limits.limits import Changes, change
from producers.link import Argument, Link
from producers.link.script import Script, read_script
from producers.rights import missing_right
from worker.engine.dataset import DataSet
from worker.engine.effect_marks import EffectMarks
from worker.engine.lane import Claim, Completion, Lane
from worker.engine.unanswered_claims import UnansweredClaims
from worker.events import emit, event

_REDIS_DATA_LOST = event("redis.data_lost")

_ANSWER_SECONDS = 2.0
_OF_THE_LANE = ("WRONGTYPE", "ERR")
"""How errors begin that come from what the lane's keys hold; the others are the server's state."""
_OTHER_DATA = -2
"""What a claim returns instead of the next due time when the data has another id than the worker knows."""
_PAGE = 1000
"""Of parked jobs in one call: what Redis looks through in about a millisecond."""


Call = tuple[Script, list[str], list[Argument]]


def script(name: str) -> str:
    """The source of a script of this room."""
    return read_script(Path(__file__).parent / "scripts", name)


@dataclass(slots=True)
class Turn:
    """What one round trip brought.

    Attributes:
        claims: newly leased jobs.
        refused: completions whose lease had been lost; they were not recorded.
        unrecorded: completions of a script that failed; they are to be sent again.
        faults: of the lanes that cannot be worked on as their keys are, the first; what other lanes did stands.
        error: the first fault of the server, if any; what other scripts did stands.
        is_other_data: whether Redis holds other data than the worker knows, so that nothing was claimed.
    """

    claims: list[Claim] = field(default_factory=list)
    refused: list[Completion] = field(default_factory=list)
    unrecorded: list[Completion] = field(default_factory=list)
    faults: dict[str, Exception] = field(default_factory=dict)
    error: Exception | None = None
    is_other_data: bool = False


class JobStore:
    """Runs the scripts for one worker.

    Args:
        link: to Redis.
        worker_id: what every lease token begins with; the claim's number and the attempt follow.
        lease: how long a claim holds without renewal.
        crash_limit: lost leases after which a job is dead.
        declared: by a lane of each group, what to say of limits before the first claim; what of it is gone is
            said again to a fresh server.
        data: by hash tag, for the groups of ``declared``, the data that the worker knows.
        marks: of effects; left out, they are made over the link, and no replica confirms them.
    """

    def __init__(
        self,
        link: Link,
        *,
        worker_id: str,
        lease: timedelta,
        crash_limit: int,
        declared: Mapping[LaneKeys, Changes] | None = None,
        data: Mapping[str, DataSet] | None = None,
        marks: EffectMarks | None = None,
    ) -> None:
        self._link = link
        self.marks = marks or EffectMarks(link)
        self._declared = declared or {}
        self._was_declared = False
        self._must_declare = True
        self._data = data or {}
        self._worker_id = worker_id
        self._lease_ms = milliseconds(lease)
        self._crash_limit = crash_limit
        self._claim = Script(script("claim"))
        self._dataset = Script(script("dataset"))
        self._finish = Script(script("finish"))
        self._return_strays = Script(script("return_strays"))
        self._progress = Script(script("progress"))
        self._release_parked = Script(script("release_parked"))
        self._numbers = count(1)
        self._strays = UnansweredClaims(lease.total_seconds())

    async def turn(self, endings: list[tuple[Lane, list[Completion]]], wanted: list[tuple[Lane, int]]) -> Turn:
        """Record what ended and claim what is due, in one round trip.

        Args:
            endings: per lane, what ended.
            wanted: per lane, how many jobs to take.

        Returns:
            What came of it; the lanes' ``next_due`` is brought up to date.

        Raises:
            RedisError, TimeoutError, OSError: the round trip failed; nothing of it may be taken for granted.
        """
        if self._must_declare:
            await self._declare()
        number = next(self._numbers)
        strays = self._strays.due(asyncio.get_running_loop().time())
        calls = [(self._finish, *self._finish_call(lane, ended)) for lane, ended in endings]
        calls += [(self._return_strays, *self._strays_call(lane)) for lane in strays]
        calls += [(self._claim, *self._claim_call(lane, count, number)) for lane, count in wanted]
        try:
            replies = await self._send(calls)
        except (RedisError, TimeoutError, OSError):
            self._strays.add(number, [lane for lane, _ in wanted])
            raise
        self._strays.answered(asyncio.get_running_loop().time())
        finished, claimed = replies[: len(endings)], replies[len(endings) + len(strays) :]
        turn = _read(endings, wanted, finished, claimed, self._claimant(number))
        self._must_declare |= turn.is_other_data
        asked = [lane for lane, _ in endings] + strays + [lane for lane, _ in wanted]
        self._take_faults(turn, list(zip(asked, replies, strict=True)))
        for lane, _ in wanted:
            if lane.name in turn.faults:
                self._strays.add(number, [lane])  # the script may have leased some before it failed
        return turn

    def _take_faults(self, turn: Turn, answers: list[tuple[Lane, Any]]) -> None:
        for lane, reply in answers:
            of_lane = isinstance(reply, ResponseError) and str(reply).startswith(_OF_THE_LANE)
            if of_lane and not missing_right(reply):
                turn.faults.setdefault(lane.name, reply)
            elif isinstance(reply, Exception):
                turn.error = turn.error or reply

    async def wrong_keys(self, lane: Lane) -> list[str]:
        """Which keys of the lane hold something else, and what; found by asking for the type of each."""
        types = key_types(lane.keys)
        found = await self._in_time(self._link.call_many([("TYPE", key) for key in types]))
        told = [str(one, "ascii") if isinstance(one, bytes) else str(one) for one in found]
        wrong = (wrong_key(key, expected, one) for (key, expected), one in zip(types.items(), told, strict=True))
        return [words for words in wrong if words]

    async def _send(self, calls: list[Call]) -> list[Any]:
        """All of them in one round trip; once more the ones that Redis did not know."""
        commands = [one.command(keys, arguments) for one, keys, arguments in calls]
        replies: list[Any] = await self._in_time(self._link.call_many(commands))
        for place, reply in enumerate(replies):
            if isinstance(reply, ResponseError) and str(reply).startswith("NOSCRIPT"):
                await self._declare()  # a fresh server, which may have no data; a failover or SCRIPT FLUSH
                one, keys, arguments = calls[place]
                replies[place] = await self._in_time(one.run(self._link.call, keys, arguments))
        return replies

    async def _declare(self) -> None:
        """Say what limits there are before anything is claimed: at first all, later only what is gone."""
        for keys, changes in self._declared.items():
            if changes:
                await self._in_time(change(keys, changes, keep=self._was_declared).over(self._link.call))
            await self._name_data(keys)
        self._was_declared, self._must_declare = True, False

    async def _name_data(self, keys: LaneKeys) -> None:
        """Learn the id of the group's data, or store one; other data than before is a loss, and is told."""
        data = self._data.get(keys.tag)
        if data is None:
            return
        arguments: list[Argument] = [data.id, uuid.uuid4().hex, data.unfinished]
        found = (await self._in_time(self._dataset.run(self._link.call, [keys.dataset], arguments))).decode()
        if data.id not in ("", found):
            emit(_REDIS_DATA_LOST, group=keys.tag, unfinished=data.unfinished)
            data.unfinished = 0
        data.id = found

    async def tell_progress(self, claim: Claim, progress: str, told: bytes) -> None:
        """Note how far the job is; nothing happens when the lease was lost."""
        keys = [progress, f"arq:in-progress:{claim.id}"]
        await self._in_time(self._progress.run(self._link.call, keys, [claim.id, claim.token, told]))

    async def release_parked(self, lane: Lane, abilities: Mapping[str, int]) -> int:
        """Let go the lane's parked jobs that need none but these abilities; how many."""
        keys = [lane.keys.queue, lane.keys.parked, lane.keys.wake]
        known = [part for ability in abilities.items() for part in ability]
        cursor, released = b"0", 0
        while True:
            asked = self._release_parked.run(self._link.call, keys, [cursor, _PAGE, *known])
            cursor, number = await self._in_time(asked)
            released += int(number)
            if cursor == b"0":
                return released

    async def close(self) -> None:
        """Close the links."""
        await self.marks.close()
        await self._link.close()

    async def _in_time(self, answer: Any) -> Any:  # noqa: ANN401  an awaitable of whatever Redis says
        """The answer, or an end to the waiting behind a stalled server."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await answer
        except TimeoutError:
            self._link.drop()
            raise

    def _finish_call(self, lane: Lane, ended: list[Completion]) -> tuple[list[str], list[Argument]]:
        keys = lane.keys
        names = [keys.queue, keys.leases, keys.wake, keys.counters, keys.retrying]
        names += [keys.lapses, keys.effects, keys.dead, keys.next, keys.adopted, keys.cancelled]
        names += [keys.parked, keys.progress]
        arguments: list[Argument] = [lane.name, keys.tag]
        for one in ended:
            arguments += [one.claim.id, one.claim.token, one.outcome, milliseconds(one.delay), one.result]
            arguments += [milliseconds(one.result_life), one.reason, one.claim.limit]
        return names, arguments

    def _strays_call(self, lane: Lane) -> tuple[list[str], list[Argument]]:
        numbers = [number for known in self._strays.ranges for number in known]
        return [lane.keys.queue, lane.keys.leases, lane.keys.retrying], [self._worker_id, *numbers]

    def _claimant(self, number: int) -> str:
        """The lease tokens of one claim, up to the attempt."""
        return f"{self._worker_id}-{number}"

    def _claim_call(self, lane: Lane, count: int, number: int) -> tuple[list[str], list[Argument]]:
        keys = lane.keys
        names = [keys.queue, keys.leases, keys.wake, keys.counters, keys.retrying]
        names += [keys.lapses, keys.effects, keys.dead, keys.adopted, keys.next, keys.holds, keys.cancelled]
        names += [keys.parked, keys.progress, keys.dataset]
        known = data.id if (data := self._data.get(keys.tag)) else ""
        claimant = self._claimant(number)
        return names, [lane.name, keys.tag, claimant, count, self._lease_ms, self._crash_limit, known]


def milliseconds(duration: timedelta) -> int:
    """Whole milliseconds, as the wire has them."""
    return 0 if not duration else round(duration / timedelta(milliseconds=1))


def _read(
    endings: list[tuple[Lane, list[Completion]]],
    wanted: list[tuple[Lane, int]],
    finished: list[Any],
    claimed: list[Any],
    claimant: str,
) -> Turn:
    turn = Turn()
    for (_, ended), reply in zip(endings, finished, strict=True):
        if isinstance(reply, list):
            turn.refused += [one for one, stands in zip(ended, reply, strict=True) if not stands]
        else:
            turn.unrecorded += ended
    for (lane, _), reply in zip(wanted, claimed, strict=True):
        if isinstance(reply, list):
            turn.claims += _read_claims(lane, reply, claimant)
            turn.is_other_data |= reply[1] == _OTHER_DATA
    return turn


def _next_due(following: int, now: int) -> timedelta | None:
    """How long after the claim the next one may find something; None when nothing waits."""
    if following == _OTHER_DATA:
        return timedelta(0)
    return None if following < 0 else timedelta(milliseconds=following - now)


def _read_claims(lane: Lane, reply: list[bytes | int], claimant: str) -> list[Claim]:
    now, following = int(reply[0]), int(reply[1])
    lane.next_due = _next_due(following, now)
    return [
        Claim(
            lane=lane.name,
            id=bytes(reply[at]).decode(),
            payload=bytes(reply[at + 1]),
            attempt=int(reply[at + 2]),
            due_ms=int(float(reply[at + 3])),
            claimed_ms=now,
            effect=int(reply[at + 4]),
            token=f"{claimant}:{int(reply[at + 2])}",
            limit=bytes(reply[at + 5]).decode(),
        )
        for at in range(2, len(reply), 6)
    ]
