"""The queue as a worker sees it: the scripts, batched, one round trip for all lanes of a turn."""

from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from worker.engine.lane import Claim, Completion, Lane

_Argument = str | bytes | int


@cache
def script(name: str) -> str:
    """The source of a script of this room."""
    return (Path(__file__).parent / "scripts" / f"{name}.lua").read_text(encoding="utf-8")


@dataclass(slots=True)
class Turn:
    """What one round trip brought.

    Attributes:
        claims: newly leased jobs.
        refused: completions whose lease had been lost; they were not recorded.
        recorded: completions that Redis has now.
        error: the first fault of a script, if any; what the others did stands.
    """

    claims: list[Claim] = field(default_factory=list)
    refused: list[Completion] = field(default_factory=list)
    recorded: list[Completion] = field(default_factory=list)
    error: Exception | None = None


class Store:
    """Runs the scripts for one worker.

    Args:
        redis: a redis-py asyncio client with ``decode_responses=False``.
        worker_id: the first half of every lease token.
        lease: how long a claim holds without renewal.
        crash_limit: lost leases after which a job is dead.
    """

    def __init__(self, redis: Redis, *, worker_id: str, lease: timedelta, crash_limit: int) -> None:
        self._redis = redis
        self._worker_id = worker_id
        self._lease_ms = milliseconds(lease)
        self._crash_limit = crash_limit
        self._claim = redis.register_script(script("claim"))
        self._finish = redis.register_script(script("finish"))
        self._begin_effect = redis.register_script(script("begin_effect"))

    async def turn(self, endings: list[tuple[Lane, list[Completion]]], wanted: list[tuple[Lane, int]]) -> Turn:
        """Record what ended and claim what is due, in one round trip.

        Args:
            endings: per lane, what ended.
            wanted: per lane, how many jobs to take.

        Returns:
            What came of it; the lanes' ``claimable`` and ``next_due`` are brought up to date.

        Raises:
            RedisError: the round trip failed; nothing of it may be taken for granted.
        """
        calls = [(self._finish, *self._finish_call(lane, ended)) for lane, ended in endings]
        calls += [(self._claim, *self._claim_call(lane, count)) for lane, count in wanted]
        async with self._redis.pipeline(transaction=False) as pipe:
            for one, keys, arguments in calls:
                pipe.evalsha(one.sha, len(keys), *keys, *arguments)  # type: ignore[arg-type]  # octets are fine
            replies = await pipe.execute(raise_on_error=False)
        for place, reply in enumerate(replies):
            if isinstance(reply, NoScriptError):  # a fresh server, a failover or SCRIPT FLUSH
                one, keys, arguments = calls[place]
                replies[place] = await one(keys=keys, args=arguments)
        return _read(endings, wanted, replies, self._worker_id)

    async def begin_effect(self, claim: Claim, effects: str) -> bool:
        """Record that the attempt is about to cause its effect; False when the lease was lost."""
        keys = [effects, f"arq:in-progress:{claim.id}"]
        return bool(await self._begin_effect(keys=keys, args=[claim.id, claim.token, claim.attempt]))

    def _finish_call(self, lane: Lane, ended: list[Completion]) -> tuple[list[str], list[_Argument]]:
        keys = lane.keys
        names = [keys.queue, keys.leases, keys.wake, keys.counters, keys.retrying]
        names += [keys.lapses, keys.effects, keys.dead, keys.next, keys.adopted]
        arguments: list[_Argument] = [lane.name, keys.tag]
        for one in ended:
            arguments += [one.claim.id, one.claim.token, one.outcome, milliseconds(one.delay), one.result]
            arguments += [milliseconds(one.result_life), one.reason]
        return names, arguments

    def _claim_call(self, lane: Lane, count: int) -> tuple[list[str], list[_Argument]]:
        keys = lane.keys
        names = [keys.queue, keys.leases, keys.wake, keys.counters, keys.retrying]
        names += [keys.lapses, keys.effects, keys.dead, keys.adopted, keys.next]
        return names, [lane.name, keys.tag, self._worker_id, count, self._lease_ms, self._crash_limit]


def milliseconds(duration: timedelta) -> int:
    """Whole milliseconds, as the wire has them."""
    return round(duration / timedelta(milliseconds=1))


def _read(
    endings: list[tuple[Lane, list[Completion]]],
    wanted: list[tuple[Lane, int]],
    replies: list[object],
    worker_id: str,
) -> Turn:
    turn = Turn()
    finished, claimed = replies[: len(endings)], replies[len(endings) :]
    for (_, ended), reply in zip(endings, finished, strict=True):
        if isinstance(reply, list):
            for completion, stands in zip(ended, reply, strict=True):
                (turn.recorded if stands else turn.refused).append(completion)
    for (lane, _), reply in zip(wanted, claimed, strict=True):
        if isinstance(reply, list):
            turn.claims += _read_claims(lane, reply, worker_id)
    turn.error = next((reply for reply in replies if isinstance(reply, Exception)), None)
    return turn


def _read_claims(lane: Lane, reply: list[bytes | int], worker_id: str) -> list[Claim]:
    now, following = int(reply[0]), int(reply[1])
    lane.next_due = None if following < 0 else timedelta(milliseconds=following - now)
    lane.claimable = 0 <= following <= now
    return [
        Claim(
            lane=lane.name,
            id=bytes(reply[at]).decode(),
            payload=bytes(reply[at + 1]),
            attempt=int(reply[at + 2]),
            due_ms=int(float(reply[at + 3])),
            claimed_ms=now,
            effect=int(reply[at + 4]),
            token=f"{worker_id}:{int(reply[at + 2])}",
        )
        for at in range(2, len(reply), 5)
    ]
