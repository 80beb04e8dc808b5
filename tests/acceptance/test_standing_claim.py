"""The claim behind the blocking read: a job comes with its wake-up; no worker gets one that it will not run."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as ConnectionLost

from producers import Producer
from producers.keys import LaneKeys
from producers.link import Link
from tests.notes import LANE, Note, running
from tests.support import eventually
from worker.engine import LaneSlots, Worker, pump, wake
from worker.engine.handler import handler
from worker.engine.standing_claim import StandingClaim
from worker.engine.store import CycleResult
from worker.engine.wake import Wake

pytestmark = pytest.mark.on_cluster_too

KEYS = LaneKeys(LANE)
_HOUR = timedelta(hours=1)


def worker_for(
    url: str, coroutine: Callable[..., Any], *, slots: int = 10, kind: str = Note.kind, **options: Any
) -> Worker:
    return Worker(
        [handler(coroutine, kind=kind)],
        redis_url=url,
        handle_signals=False,
        lanes=[LaneSlots(LANE, slots)],
        **options,
    )


def wake_of(worker: Worker) -> Wake:
    (shard,) = worker.shards
    return shard.wake


async def stands(worker: Worker) -> StandingClaim:
    """The worker's standing claim, once Redis has it."""
    reader = wake_of(worker)
    # The first read begins before the limits are declared: nothing stands behind it.

    def stands_or_is_asked_to() -> bool:
        if not reader.standing.stands:
            reader.end_read()
        return reader.standing.stands

    await eventually(stands_or_is_asked_to)
    return reader.standing


@asynccontextmanager
async def standing(url: str, coroutine: Callable[..., Any], **options: Any) -> AsyncIterator[Worker]:
    """A worker without work whose claim stands."""
    async with running(worker_for(url, coroutine, **options)) as worker:
        await stands(worker)
        yield worker


@pytest.fixture
def _long_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads that do not end by themselves while a test lasts."""
    monkeypatch.setattr(wake, "_BLOCK_SECONDS", 3600)
    monkeypatch.setattr(wake, "_BLOCK_SECONDS_SHORT", 3600)


class Runs:
    """A handler that notes the attempts of jobs, by their texts."""

    def __init__(self) -> None:
        self.attempts: dict[str, list[int]] = {}

    async def take(self, context: dict[str, Any], text: str) -> None:
        self.attempts.setdefault(text, []).append(context["job_try"])


class Holder:
    """A handler whose jobs run until they are let go."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.most = 0
        self.let_go = asyncio.Event()

    async def take(self, _: dict[str, Any], text: str) -> None:
        self.running.append(text)
        self.most = max(self.most, len(self.running))
        await self.let_go.wait()
        self.running.remove(text)


@pytest.mark.usefixtures("_long_reads")
async def test_a_job_of_an_idle_worker_comes_with_its_wake_up(
    valkey_url: str, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs()
    monkeypatch.setattr(pump, "_SAFETY_POLL", 3600)
    async with standing(valkey_url, runs.take) as worker:
        claimed: list[str] = []
        pump_start = wake_of(worker).standing.on_reply

        def note(cycle: Any) -> None:
            claimed.extend(claim.id for claim in cycle.claims)
            pump_start(cycle)

        wake_of(worker).standing.on_reply = note
        sent = []
        for number in range(20):
            await stands(worker)
            sent.append((await producer.send(Note(str(number)))).id)
            await eventually(lambda: len(runs.attempts) == len(sent))
    assert claimed == sent


async def test_a_job_runs_once_where_two_workers_wait_for_it(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    runs = Runs()
    async with standing(valkey_url, runs.take), standing(valkey_url, runs.take):
        for number in range(30):
            await producer.send_many([Note(f"{number}-{one}") for one in range(number % 4 + 1)])
        await eventually(lambda: len(runs.attempts) == 73)
    assert all(attempts == [1] for attempts in runs.attempts.values())
    assert not await redis.hexists(KEYS.counters, f"lapsed:{LANE}")


@pytest.mark.usefixtures("_long_reads")
async def test_a_worker_that_dies_before_a_token_takes_no_job_with_it(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    runs = Runs()
    async with standing(valkey_url, runs.take):
        (reader,) = (task for task in asyncio.all_tasks() if task.get_name() == "wake")
        reader.cancel()
        await eventually(lambda: nobody_reads(redis))
        await producer.send(Note("orphan"))
        assert await redis.llen(KEYS.wake) == 1
        await eventually(lambda: runs.attempts)  # by the safety poll
    assert runs.attempts == {"orphan": [1]}


async def nobody_reads(redis: Redis) -> bool:
    return all(client["cmd"] != "blpop" for client in await redis.client_list())


async def test_a_job_whose_worker_died_between_token_and_claim_runs_again_when_the_lease_lapses(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    runs = Runs()
    lease: dict[str, Any] = {"lease": timedelta(milliseconds=300), "renew_every": timedelta(milliseconds=100)}
    async with standing(valkey_url, runs.take, **lease) as frozen:
        commands = place_again(frozen)
    async with link_to(valkey_url) as link:
        unread = asyncio.create_task(link.call_many([("BLPOP", KEYS.wake, 60), *commands]))
        await eventually(lambda: somebody_reads(redis))
        receipt = await producer.send(Note("orphan"))
        await unread
        assert await redis.zscore(KEYS.leases, receipt.id) is not None
        async with running(worker_for(valkey_url, runs.take, **lease)):
            await eventually(lambda: runs.attempts)
    assert runs.attempts == {"orphan": [2]}


async def somebody_reads(redis: Redis) -> bool:
    return not await nobody_reads(redis)


def place_again(worker: Worker) -> list[Any]:
    """The commands of another claim of this worker."""
    (shard,) = worker.shards
    _, commands = shard.store.claim_behind_read(shard.lanes)
    return commands


@asynccontextmanager
async def link_to(url: str) -> AsyncIterator[Link]:
    link = Link(url, KEYS.tag)
    try:
        yield link
    finally:
        await link.close()


async def test_a_job_whose_claim_got_no_reply_is_not_charged(
    valkey_url: str, redis: Redis, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs()
    worker = worker_for(valkey_url, runs.take, lease=_HOUR)
    listener = wake_of(worker)._listener
    call_many = listener.call_many
    lost: list[str] = []

    async def lose_first(commands: Any) -> list[Any]:
        replies = await call_many(commands)
        if not lost and any(isinstance(reply, list) and len(reply) > 2 for reply in replies[1:]):
            lost.append(replies[1][2].decode())
            raise ConnectionLost("after the claim")
        return replies

    monkeypatch.setattr(listener, "call_many", lose_first)
    async with running(worker):
        await stands(worker)
        receipt = await producer.send(Note("unheard"))
        await eventually(lambda: runs.attempts)
    assert lost == [receipt.id]
    assert runs.attempts == {"unheard": [1]}
    assert not await redis.hexists(KEYS.counters, f"lapsed:{LANE}")


@pytest.mark.usefixtures("_long_reads")
async def test_a_worker_that_stops_ends_its_read_and_takes_nothing_more(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    runs = Runs()
    async with standing(valkey_url, runs.take):
        pass
    receipt = await producer.send(Note("later"))
    assert runs.attempts == {}
    assert await redis.zscore(KEYS.leases, receipt.id) is None


@pytest.mark.usefixtures("_long_reads")
async def test_a_job_that_comes_while_its_worker_stops_goes_back_uncharged(
    valkey_url: str, redis: Redis, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs()
    async with standing(valkey_url, runs.take, lease=_HOUR) as worker:
        read = wake_of(worker)
        asked = asyncio.Event()
        monkeypatch.setattr(read, "end_read", asked.set)  # the job is quicker than the end of the read
        worker.handle_sig(signal.SIGTERM)
        await asked.wait()
        receipt = await producer.send(Note("too late"))
    assert runs.attempts == {}
    assert await redis.zscore(KEYS.leases, receipt.id) is None
    async with running(worker_for(valkey_url, runs.take)):
        await eventually(lambda: runs.attempts)
    assert runs.attempts == {"too late": [1]}
    assert not await redis.exists(KEYS.history(receipt.id))


async def test_a_pump_at_its_end_leaves_no_read_that_would_take_a_job(
    valkey_url: str, redis: Redis, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wake, "_BLOCK_SECONDS", 3600)
    monkeypatch.setattr(StandingClaim, "place", lambda *_: [])  # as while the limits are not declared
    worker = worker_for(valkey_url, Runs().take)
    (shard,) = worker.shards
    reader = asyncio.create_task(shard.wake.run())
    begun = asyncio.Event()
    pumping = asyncio.create_task(shard.pump.run(begun.is_set))
    await eventually(lambda: somebody_reads(redis))
    assert not shard.wake.standing.stands
    shard.pump.claiming = False
    begun.set()
    shard.pump.end_rest()
    await pumping  # as one primary's pump on a cluster, while jobs of another primary's lanes still run
    await eventually(lambda: nobody_waits(redis))
    receipt = await producer.send(Note("later"))
    assert await redis.zscore(KEYS.leases, receipt.id) is None
    assert await redis.llen(KEYS.wake) == 1
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    await shard.close()


async def nobody_waits(redis: Redis) -> bool:
    return all("b" not in client["flags"] for client in await redis.client_list())


async def test_a_reply_that_is_read_too_late_starts_no_job(
    valkey_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def send() -> None:
        async with Producer.connect(valkey_url, budget=5) as producer:
            await producer.send(Note("late"))

    runs = Runs()
    monkeypatch.setattr(wake, "_BLOCK_SECONDS", 3600)
    monkeypatch.setattr(wake, "_WATCHDOG_SECONDS", 0.2)
    async with standing(valkey_url, runs.take, lease=_HOUR) as worker:
        replies: list[CycleResult] = []
        monkeypatch.setattr(wake_of(worker).standing, "on_reply", replies.append)
        with ThreadPoolExecutor() as elsewhere:  # this loop stands still meanwhile, as if the worker was paused
            elsewhere.submit(asyncio.run, send()).result()
            time.sleep(wake._BLOCK_SECONDS_SHORT + 0.5)  # noqa: ASYNC251  the pause itself
        await eventually(lambda: runs.attempts)  # returned, and claimed by a cycle
    assert not any(reply.claims for reply in replies)
    assert runs.attempts == {"late": [1]}


@pytest.mark.usefixtures("_long_reads")
async def test_the_slot_of_a_standing_claim_serves_a_job_that_falls_due(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    holder = Holder()
    async with standing(valkey_url, holder.take, slots=2) as worker:
        for number in (1, 2):  # their tokens are taken at once; then the claim stands until the second is due
            await producer.send(Note(str(number)), delay=timedelta(milliseconds=300 * number))
            await eventually(lambda: token_is_taken(redis))
            await stands(worker)
        await eventually(lambda: holder.running == ["1", "2"])
        holder.let_go.set()


async def test_a_lane_runs_no_more_jobs_than_it_has_slots(valkey_url: str, producer: Producer) -> None:
    holder = Holder()
    async with standing(valkey_url, holder.take, slots=3) as worker:
        for number in range(12):
            await producer.send(Note(str(number)))
        await eventually(lambda: len(holder.running) == 3)
        (lane,) = worker.lanes
        assert (lane.free, lane.stands) == (0, False)
        holder.let_go.set()
        await eventually(lambda: worker.jobs_complete == 12)
    assert holder.most == 3
    assert lane.reserved == 0


@pytest.mark.parametrize("options", [{"slots": 1}, {"max_running": 5}])
async def test_none_stands_for_the_last_slot_or_under_a_ceiling(
    valkey_url: str, producer: Producer, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    runs = Runs()
    placed: list[Any] = []
    worker = worker_for(valkey_url, runs.take, **options)
    place = wake_of(worker).standing.place

    def note(wake_keys: Iterable[str]) -> Any:
        placed.append(place(wake_keys))
        return placed[-1]

    monkeypatch.setattr(wake_of(worker).standing, "place", note)
    async with running(worker):
        for text in ("a", "b", "c"):
            await producer.send(Note(text))
            await eventually(lambda text=text: text in runs.attempts)
        await eventually(lambda: len(placed) > 3)
    assert not any(placed)


async def test_a_held_lane_gives_nothing_to_a_standing_claim(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    runs = Runs()
    async with standing(valkey_url, runs.take):
        await redis.hset(KEYS.holds, f"lane:{LANE}", '{"until_ms": null, "reason": "maintenance"}')
        await producer.send(Note("patient"))
        await eventually(lambda: token_is_taken(redis))
        assert await redis.zcard(KEYS.leases) == 0
        await redis.hdel(KEYS.holds, f"lane:{LANE}")
        await redis.lpush(KEYS.wake, "1")
        await eventually(lambda: runs.attempts)


@pytest.mark.usefixtures("_long_reads")
async def test_a_released_job_does_not_go_to_a_standing_claim_of_a_worker_that_cannot_run_it(
    valkey_url: str, redis: Redis, producer: Producer, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs()
    monkeypatch.setattr(pump, "_SAFETY_POLL", 3600)
    async with running(worker_for(valkey_url, runs.take, kind="other.kind")) as unable:
        receipt = await producer.send(Note("new feature"))
        await eventually(lambda: redis.hexists(KEYS.parked, receipt.id))
        await stands(unable)
        async with running(worker_for(valkey_url, runs.take)):
            await eventually(lambda: runs.attempts)
    assert runs.attempts == {"new feature": [1]}
    assert len(await redis.lrange(KEYS.history(receipt.id), 0, -1)) == 1  # parked once


async def token_is_taken(redis: Redis) -> bool:
    return not await redis.llen(KEYS.wake)
