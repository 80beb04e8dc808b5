"""A worker that was paused beyond its leases runs no job twice at a time; what it sent twice was counted."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from jobs import Mail
from local.installation import worker_ready
from local.supervisor.process import Process, RestartPolicy
from local.supervisor.supervisor import Supervisor
from producers import Producer
from producers.keys import LaneKeys
from producers.link.deadline import deadline
from tests.counts import count_of
from tests.notes import LANE, Note, running
from tests.scripted_smtp import ScriptedSmtp
from tests.support import eventually
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler
from worker.engine.lane import Claim

KEYS = LaneKeys(LANE)
MAILS = 5


def reached(redis: Redis, event: str, count: int) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        return await count_of(redis, LANE, event) >= count

    return condition


def mailing(url: str, port: int, **extra: str) -> Process:
    return Process(
        name="worker",
        argv=[sys.executable, "-X", "dev", "-m", "worker"],
        environment={
            "MOMENTUS_REDIS_URL": url,
            "MOMENTUS_MAIL__HOST": "127.0.0.1",
            "MOMENTUS_MAIL__PORT": str(port),
            "MOMENTUS_MAIL__TLS": "off",
            **extra,
        },
        ready=worker_ready(url),
        restart=RestartPolicy.NEVER,
        drain=timedelta(seconds=20),
    )


async def paused_at_the_dot(url: str, redis: Redis, *, pause: float, dot: float, **extra: str) -> list[str]:
    """Five mails whose final dots take a while, their one worker paused meanwhile; what it logged."""
    lines: list[str] = []
    dots: list[object] = []
    ends = asyncio.Event()

    async def slow() -> None:
        dots.append(object())
        if len(dots) <= MAILS:
            await ends.wait()

    loop = asyncio.get_running_loop()
    async with (
        ScriptedSmtp(before={"dot": slow}) as server,
        Producer.connect(url, budget=5) as producer,
        Supervisor([mailing(url, server.port, **extra)], log=lambda _name, line: lines.append(line)) as supervisor,
    ):
        mails = [
            Mail(to=f"canary{n}@example.com", subject="canary-subject", text="canary-body") for n in range(MAILS)
        ]
        await producer.send_many(mails)
        await eventually(lambda: len(dots) == MAILS)
        supervisor.send_signal("worker", signal.SIGSTOP)
        loop.call_later(pause, supervisor.send_signal, "worker", signal.SIGCONT)
        loop.call_later(dot, ends.set)
        await eventually(reached(redis, "done", MAILS), timeout=60)
        taken = [one.recipients[0] for one in server.mails]
    assert set(taken) == {f"canary{number}@example.com" for number in range(MAILS)}
    assert len(dots) - MAILS <= await count_of(redis, LANE, "uncertain")
    assert len(dots) <= 2 * MAILS
    assert await redis.zcard(KEYS.queue) == 0
    return lines


def all_is_well_in(lines: list[str]) -> bool:
    return not any(
        word in line for line in lines for word in ("canary", "KeyError", "Traceback", "never retrieved")
    )


async def test_mails_at_the_dot_leave_once_more_at_most_when_their_worker_was_paused(
    valkey_url: str, redis: Redis
) -> None:
    short = {"MOMENTUS_WORKER__LEASE": "1s", "MOMENTUS_WORKER__LEASE_RENEW": "300ms"}
    lines = await paused_at_the_dot(valkey_url, redis, pause=1.2, dot=1.8, **short)
    assert all_is_well_in(lines)


@pytest.mark.long
async def test_mails_at_a_slow_dot_leave_once_more_at_most_when_their_worker_was_paused_for_eleven_seconds(
    valkey_url: str, redis: Redis
) -> None:
    lines = await paused_at_the_dot(valkey_url, redis, pause=11, dot=14)
    assert all_is_well_in(lines)


@asynccontextmanager
async def working(
    url: str, take: Callable[..., Any], *, slots: int = 2, renewing: bool = False
) -> AsyncIterator[Worker]:
    worker = Worker(
        [handler(take, kind=Note.kind)],
        redis_url=url,
        lanes=[LaneSlots(LANE, slots)],
        lease=timedelta(milliseconds=500),
        renew_every=timedelta(milliseconds=50) if renewing else timedelta(hours=1),  # as if it were paused
        handle_signals=False,
    )
    async with running(worker):
        yield worker


async def test_a_job_that_is_claimed_while_it_runs_here_waits_for_the_end_of_the_attempt_before(
    valkey_url: str, redis: Redis
) -> None:
    at_once, most, attempts = 0, 0, []
    cleaned = asyncio.Event()

    async def take(context: dict[str, Any], text: str) -> None:
        nonlocal at_once, most
        del text
        attempts.append(context["job_try"])
        at_once += 1
        most = max(most, at_once)
        try:
            if len(attempts) == 1:
                await asyncio.Event().wait()
        finally:
            if len(attempts) == 1:
                await cleaned.wait()
            at_once -= 1

    async with Producer.connect(valkey_url, budget=5) as producer, working(valkey_url, take) as worker:
        await producer.send(Note("once"))
        await eventually(lambda: len(worker.runner) == 2)
        assert attempts == [1]
        cleaned.set()
        await eventually(reached(redis, "done", 1))
    assert (most, attempts[:2]) == (1, [1, 2])


async def test_what_is_told_of_an_old_attempt_does_not_touch_the_new_one(valkey_url: str, redis: Redis) -> None:
    claims: list[Claim] = []
    go = asyncio.Event()

    async def take(context: dict[str, Any], text: str) -> None:
        del text
        claims.extend(claim for claim in worker.lanes[0].running if claim.attempt == context["job_try"])
        await (go.wait() if context["job_try"] == 2 else asyncio.Event().wait())

    async with Producer.connect(valkey_url, budget=5) as producer, working(valkey_url, take) as worker:
        await producer.send(Note("once"))
        await eventually(lambda: len(claims) >= 2)
        for tell in (worker.runner.stop_lost, worker.runner.stop_cancelled):
            tell(claims[:1])
        go.set()
        await eventually(reached(redis, "done", 1))
    assert [one.attempt for one in claims][:2] == [1, 2]
    assert await count_of(redis, LANE, "cancelled") == 0


async def test_jobs_that_were_claimed_together_share_a_token_and_are_stopped_one_by_one(
    valkey_url: str, redis: Redis
) -> None:
    attempts: list[str] = []
    go = asyncio.Event()

    async def take(_: dict[str, Any], text: str) -> None:
        attempts.append(text)
        await go.wait()

    async with Producer.connect(valkey_url, budget=5) as producer:
        await producer.send_many([Note("a"), Note("b")])
        async with working(valkey_url, take, slots=4, renewing=True) as worker:
            await eventually(lambda: len(attempts) == 2)
            one, other = worker.lanes[0].running
            assert one.token == other.token
            worker.runner.stop_lost([one])
            await eventually(lambda: one not in worker.lanes[0].running)
            assert other in worker.lanes[0].running
            go.set()
            await eventually(reached(redis, "done", 2))


async def test_a_renewal_tells_a_lost_lease_from_a_live_one_of_the_same_job(valkey_url: str, redis: Redis) -> None:
    async def take(_: dict[str, Any], text: str) -> None:
        del text

    worker = Worker(
        [handler(take, kind=Note.kind)],
        redis_url=valkey_url,
        lanes=[LaneSlots(LANE, 2)],
        lease=timedelta(milliseconds=20),
        handle_signals=False,
    )
    lost: list[Claim] = []
    (shard,), (lane,) = worker.shards, worker.lanes
    async with Producer.connect(valkey_url, budget=5) as producer:
        await producer.send(Note("once"))

    async def claimed() -> list[Claim]:
        return (await shard.store.run_cycle([], [(lane, 1)])).claims

    (old,) = await eventually(claimed)
    shard.store._lease_ms = shard.renewal._lease_ms = 30_000
    (new,) = await eventually(claimed)
    shard.renewal._on_lost = lost.extend
    with deadline(5):
        shard.renewal._renew_lane(lane.keys, [old, new])
    await worker.close()
    assert lost == [old]
    assert await redis.get(f"arq:in-progress:{new.id}") == new.token.encode()
