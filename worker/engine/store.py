"""The worker's access to the queue: scripts in batches, one round trip for all lanes of a cycle."""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError, ResponseError

from producers.key_types import key_types, wrong_key
from producers.keys import LaneKeys
from producers.limits.limits import Changes, change_limits
from producers.link import Argument, Link
from producers.link.script import Script, read_script
from producers.rights import missing_right
from producers.send_options import milliseconds
from worker import tracing
from worker.engine.dataset import DataSet
from worker.engine.effect_marks import EffectMarks
from worker.engine.lane import Claim, Completion, Lane
from worker.engine.unanswered_claims import UnansweredClaims
from worker.events import emit, event

_REDIS_DATA_LOST = event("redis.data_lost")

_ANSWER_SECONDS = 2.0
_LANE_ERRORS = ("WRONGTYPE", "ERR")
"""Codes of errors that the content of the lane's keys causes; all others concern the server."""
_OTHER_DATA = -2
"""Returned by a claim in place of the next due time, if the data's id is not the one the worker knows."""
_PAGE = 1000
"""Number of parked jobs in one call, which Redis scans in about a millisecond."""


ScriptCall = tuple[Script, list[str], list[Argument]]


def engine_script(name: str) -> str:
    """Return the source of one of the engine's scripts."""
    return read_script(Path(__file__).parent / "scripts", name)


@dataclass(slots=True)
class CycleResult:
    """The results of one round trip.

    Attributes:
        claims: newly leased jobs.
        refused: completions with a lost lease; they were not recorded.
        unrecorded: completions of a script that failed; they must be sent again.
        faults: the first fault of each lane with an invalid key; the results of other lanes are valid.
        error: the first fault of the server, if any; the results of other scripts are valid.
        is_other_data: True if Redis holds other data than the worker knows, so that no job was claimed.
    """

    claims: list[Claim] = field(default_factory=list)
    refused: list[Completion] = field(default_factory=list)
    unrecorded: list[Completion] = field(default_factory=list)
    faults: dict[str, Exception] = field(default_factory=dict)
    error: Exception | None = None
    is_other_data: bool = False


class JobStore:
    """The scripts of one worker's lanes.

    Args:
        link: to Redis.
        worker_id: the prefix of every lease token; the claim's number and the attempt follow.
        lease: duration of a lease without renewal.
        crash_limit: number of lost leases after which a job is dead.
        declared: the limits of each group, keyed by one of its lanes, declared before the first claim; a fresh
            server gets the missing ones again.
        data: by hash tag, for the groups of ``declared``, the data that the worker knows.
        marks: the effect marks; left out, they use the link, and no replica confirms them.
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
        self._claim = Script(engine_script("claim"))
        self._dataset = Script(engine_script("dataset"))
        self._finish = Script(engine_script("finish"))
        self._return_strays = Script(engine_script("return_strays"))
        self._progress = Script(engine_script("progress"))
        self._release_parked = Script(engine_script("release_parked"))
        self._numbers = count(1)
        self._strays = UnansweredClaims(lease.total_seconds())

    async def run_cycle(
        self, endings: list[tuple[Lane, list[Completion]]], wanted: list[tuple[Lane, int]]
    ) -> CycleResult:
        """Record completions and claim due jobs, in one round trip.

        Args:
            endings: per lane, the completions.
            wanted: per lane, the number of jobs to claim.

        Returns:
            The results; the lanes' ``next_due`` is updated.

        Raises:
            RedisError, TimeoutError, OSError: the round trip failed; Redis may have executed any part of it.
        """
        if self._must_declare:
            await self._declare()
        number = next(self._numbers)
        strays = self._strays.lanes_due(asyncio.get_running_loop().time())
        calls = [(self._finish, *self._finish_call(lane, ended)) for lane, ended in endings]
        calls += [(self._return_strays, *self._strays_call(lane)) for lane in strays]
        calls += [(self._claim, *self._claim_call(lane, count, number)) for lane, count in wanted]
        try:
            replies = await self._send_traced(calls, endings)
        except (RedisError, TimeoutError, OSError):
            self._strays.add(number, [lane for lane, _ in wanted])
            raise
        self._strays.note_reply(asyncio.get_running_loop().time())
        finished, claimed = replies[: len(endings)], replies[len(endings) + len(strays) :]
        cycle = _read_replies(endings, wanted, finished, claimed, self._claimant(number))
        self._must_declare |= cycle.is_other_data
        asked = [lane for lane, _ in endings] + strays + [lane for lane, _ in wanted]
        self._take_faults(cycle, list(zip(asked, replies, strict=True)))
        for lane, _ in wanted:
            if lane.name in cycle.faults:
                self._strays.add(number, [lane])  # the script may have leased jobs before it failed
        return cycle

    @property
    def is_ready(self) -> bool:
        """True if the limits are declared, as they must be before a claim."""
        return not self._must_declare

    def claim_behind_read(self, lanes: Sequence[Lane]) -> tuple[int, list[tuple[Argument, ...]]]:
        """Return the number and the commands of a claim of one job of each lane, to be sent by the caller."""
        number = next(self._numbers)
        calls = (self._claim_call(lane, 1, number, is_behind_read=True) for lane in lanes)
        return number, [self._claim.command(keys, arguments) for keys, arguments in calls]

    def read_claim(self, number: int, lanes: Sequence[Lane], replies: Sequence[Any]) -> CycleResult:
        """Return the result of a claim behind the read; a lane with a fault is claimed again, which reports it."""
        cycle = _read_replies([], [(lane, 1) for lane in lanes], [], list(replies), self._claimant(number))
        self._must_declare |= cycle.is_other_data
        faulty = [lane for lane, reply in zip(lanes, replies, strict=True) if isinstance(reply, Exception)]
        if faulty:
            self.lose_claim(number, faulty)  # the script may have leased a job before it failed
        return cycle

    def lose_claim(self, number: int, lanes: Sequence[Lane]) -> None:
        """Have the leases of a claim without a reply returned."""
        self._strays.add(number, list(lanes))

    def _take_faults(self, cycle: CycleResult, answers: list[tuple[Lane, Any]]) -> None:
        for lane, reply in answers:
            of_lane = isinstance(reply, ResponseError) and str(reply).startswith(_LANE_ERRORS)
            if of_lane and not missing_right(reply):
                cycle.faults.setdefault(lane.name, reply)
            elif isinstance(reply, Exception):
                cycle.error = cycle.error or reply

    async def wrong_keys(self, lane: Lane) -> list[str]:
        """Return a description of each key of the lane that holds a wrong type of data."""
        types = key_types(lane.keys)
        replies = await self._in_time(self._link.call_many([("TYPE", key) for key in types]))
        found = [str(one, "ascii") if isinstance(one, bytes) else str(one) for one in replies]
        wrong = (wrong_key(key, expected, one) for (key, expected), one in zip(types.items(), found, strict=True))
        return [text for text in wrong if text]

    async def _send_traced(
        self, calls: list[ScriptCall], endings: list[tuple[Lane, list[Completion]]]
    ) -> list[Any]:
        """Send all scripts, in a span if this worker traces and outcomes are among them."""
        if not endings or not tracing.is_on():
            return await self._send(calls)
        with tracing.settle_span(endings) as stage:
            if server := (await self._in_time(self._link.wire())).server:
                stage.set_attribute("server.address", server[0])
                stage.set_attribute("server.port", server[1])
            return await self._send(calls)

    async def _send(self, calls: list[ScriptCall]) -> list[Any]:
        """Send all scripts in one round trip, and once more those that Redis did not know."""
        commands = [one.command(keys, arguments) for one, keys, arguments in calls]
        replies: list[Any] = await self._in_time(self._link.call_many(commands))
        for place, reply in enumerate(replies):
            if isinstance(reply, ResponseError) and str(reply).startswith("NOSCRIPT"):
                await self._declare()  # a fresh server, which may have no data; a failover or SCRIPT FLUSH
                one, keys, arguments = calls[place]
                try:
                    replies[place] = await self._in_time(one.run(self._link.call, keys, arguments))
                except ResponseError as error:
                    replies[place] = error
        return replies

    async def _declare(self) -> None:
        """Declare the limits before any claim: all of them at first, later only the missing ones."""
        for keys, changes in self._declared.items():
            if changes:
                await self._in_time(change_limits(keys, changes, keep=self._was_declared).run(self._link.call))
            await self._identify_data(keys)
        self._was_declared, self._must_declare = True, False

    async def _identify_data(self, keys: LaneKeys) -> None:
        """Read the id of the group's data, or store one; log a changed id as a loss of data."""
        data = self._data.get(keys.tag)
        if data is None:
            return
        arguments: list[Argument] = [data.id, uuid.uuid4().hex, data.unfinished]
        found = (await self._in_time(self._dataset.run(self._link.call, [keys.dataset], arguments))).decode()
        if data.id not in ("", found):
            emit(_REDIS_DATA_LOST, group=keys.tag, unfinished=data.unfinished)
            data.unfinished = 0
        data.id = found

    async def write_progress(self, claim: Claim, progress: str, content: bytes) -> None:
        """Store the progress of a job, unless its lease was lost."""
        keys = [progress, f"arq:in-progress:{claim.id}"]
        await self._in_time(self._progress.run(self._link.call, keys, [claim.id, claim.token, content]))

    async def release_parked(self, lane: Lane, abilities: Mapping[str, int]) -> int:
        """Release the lane's parked jobs that these abilities can run, to be claimed here; return their number."""
        keys = [lane.keys.queue, lane.keys.parked]
        known = [part for ability in abilities.items() for part in ability]
        cursor, released = b"0", 0
        while True:
            call = self._release_parked.run(self._link.call, keys, [cursor, _PAGE, *known])
            cursor, number = await self._in_time(call)
            released += int(number)
            if cursor == b"0":
                return released

    async def close(self) -> None:
        """Close the links."""
        await self.marks.close()
        await self._link.close()

    async def _in_time(self, reply: Any) -> Any:  # noqa: ANN401  an awaitable of any reply
        """Await a reply of Redis; after the timeout, drop the connection to a stalled server."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await reply
        except TimeoutError:
            self._link.drop()
            raise

    def _finish_call(self, lane: Lane, ended: list[Completion]) -> tuple[list[str], list[Argument]]:
        arguments: list[Argument] = [lane.name, lane.keys.tag]
        for one in ended:
            arguments += [one.claim.id, one.claim.token, one.outcome, milliseconds(one.delay), one.result]
            arguments += [milliseconds(one.result_life), one.reason, one.claim.limit]
        return _finish_keys(lane.keys), arguments

    def _strays_call(self, lane: Lane) -> tuple[list[str], list[Argument]]:
        numbers = [number for known in self._strays.ranges for number in known]
        return [lane.keys.queue, lane.keys.leases, lane.keys.retrying], [self._worker_id, *numbers]

    def _claimant(self, number: int) -> str:
        """Return the common prefix of the lease tokens of one claim; the attempt follows."""
        return f"{self._worker_id}-{number}"

    def _claim_call(
        self, lane: Lane, count: int, number: int, *, is_behind_read: bool = False
    ) -> tuple[list[str], list[Argument]]:
        tag = lane.keys.tag
        known = data.id if (data := self._data.get(tag)) else ""
        claimant = self._claimant(number)
        arguments: list[Argument] = [lane.name, tag, claimant, count, self._lease_ms, self._crash_limit]
        return _claim_keys(lane.keys), [*arguments, known, int(is_behind_read)]


@cache
def _finish_keys(keys: LaneKeys) -> list[str]:
    """Return KEYS of ``finish.lua``."""
    names = [keys.queue, keys.leases, keys.wake, keys.counters, keys.retrying]
    names += [keys.lapses, keys.effects, keys.dead, keys.next, keys.adopted, keys.cancelled]
    return [*names, keys.parked, keys.progress]


@cache
def _claim_keys(keys: LaneKeys) -> list[str]:
    """Return KEYS of ``claim.lua``."""
    names = [keys.queue, keys.leases, keys.wake, keys.counters, keys.retrying]
    names += [keys.lapses, keys.effects, keys.dead, keys.adopted, keys.next, keys.holds, keys.cancelled]
    return [*names, keys.parked, keys.progress, keys.dataset]


def _read_replies(
    endings: list[tuple[Lane, list[Completion]]],
    wanted: list[tuple[Lane, int]],
    finished: list[Any],
    claimed: list[Any],
    claimant: str,
) -> CycleResult:
    cycle = CycleResult()
    for (_, ended), reply in zip(endings, finished, strict=True):
        if isinstance(reply, list):
            cycle.refused += [one for one, stands in zip(ended, reply, strict=True) if not stands]
        else:
            cycle.unrecorded += ended
    for (lane, _), reply in zip(wanted, claimed, strict=True):
        if isinstance(reply, list):
            cycle.claims += _read_claims(lane, reply, claimant)
            cycle.is_other_data |= reply[1] == _OTHER_DATA
    return cycle


def _next_due(following: int, now: int) -> timedelta | None:
    """Return the time from a claim until the next one may find a job; None if no job waits."""
    if following == _OTHER_DATA:
        return timedelta(0)
    return None if following < 0 else timedelta(milliseconds=following - now)


def _read_claims(lane: Lane, reply: list[Any], claimant: str) -> list[Claim]:
    now, following = int(reply[0]), int(reply[1])
    lane.next_due = _next_due(following, now)
    parts = iter(reply[2:])
    return [
        Claim(
            lane=lane.name,
            id=id_.decode(),
            payload=payload,
            attempt=attempt,
            due_ms=int(due),
            claimed_ms=now,
            effect=effect,
            token=f"{claimant}:{attempt}",
            limit=limit.decode(),
        )
        for id_, payload, attempt, due, effect, limit in zip(*[parts] * 6, strict=True)
    ]
