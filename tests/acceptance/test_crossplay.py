"""Stock arq 0.28.0 and ours on one wire: either may queue, either may run, both may share a queue.

The oracle is the same everywhere: each job writes its number down when it runs, and at the end every number is
there once. Where our scripts saw the whole life of the jobs, their counters must add up too.
"""

import asyncio
import logging
import pickle
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

import pytest
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.jobs import Job, JobStatus
from arq.worker import JobExecutionFailed, Retry, Worker as StockWorker, func
from redis import Redis as Blocking
from redis.asyncio import Redis

from producers import Producer
from producers.keys import LaneKeys
from tests.support import eventually
from worker.arq_compat import StandIn
from worker.arq_compat.wire import QueueKeys, from_json, to_json
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler

pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")  # arq's own call

MANY = pytest.mark.parametrize(
    "count", [300, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(300)])]
)
KIND = "note.take"
LANE = LaneKeys("mail.normal")
QUEUE = QueueKeys("arq:queue")
JSON: dict[str, Any] = {"job_serializer": to_json, "job_deserializer": from_json}
PICKLE: dict[str, Any] = {"job_serializer": pickle.dumps, "job_deserializer": pickle.loads}


@dataclass(frozen=True)
class Note:
    kind: ClassVar[str] = KIND
    lane: ClassVar[str] = LANE.lane

    number: int

    def fingerprint(self) -> str:
        return str(self.number)

    def compose(self, *, job_id: str, now: datetime) -> Mapping[str, object]:
        del job_id, now
        return {"number": self.number}


@asynccontextmanager
async def arq_pool(url: str, queue: str, **serializers: Any) -> AsyncIterator[ArqRedis]:
    """What a stock arq application enqueues with."""
    pool = await create_pool(RedisSettings.from_dsn(url), default_queue_name=queue, **(serializers or JSON))
    try:
        yield pool
    finally:
        await pool.aclose(close_connection_pool=True)


def worker_of(
    kind: Callable[..., Any], url: str, coroutine: Callable[..., Any], *, queue: str = QUEUE.queue, **options: Any
) -> Any:
    """A worker constructed arq's way, stock or ours, that ends when the queue is empty."""
    settings = {
        "redis_settings": RedisSettings.from_dsn(url),
        "burst": True,
        "poll_delay": 0.01,
        **JSON,
        **options,
    }
    return kind([func(coroutine, name=KIND)], queue_name=queue, handle_signals=False, **settings)


@asynccontextmanager
async def working(url: str, coroutine: Callable[..., Any]) -> AsyncIterator[Worker]:
    """Our lane worker."""
    worker = Worker(
        [handler(coroutine, kind=KIND)], redis_url=url, lanes=[LaneSlots(LANE.lane, 20)], handle_signals=False
    )
    task = asyncio.create_task(worker.async_run())
    try:
        yield worker
    finally:
        worker.handle_sig(signal.SIGTERM)
        await task
        await worker.close()


def writing_down(seen: Counter[int]) -> Callable[..., Any]:
    """A handler that counts the numbers it is given."""

    async def take(_: dict[str, Any], number: int) -> None:
        await asyncio.sleep(0)
        seen[number] += 1

    return take


async def enqueue(pool: ArqRedis, count: int) -> None:
    """Jobs 0 to count - 1, a hundred at a time."""
    for start in range(0, count, 100):
        numbers = range(start, min(start + 100, count))
        await asyncio.gather(*[pool.enqueue_job(KIND, number=number) for number in numbers])


def each_once(count: int) -> Counter[int]:
    return Counter(range(count))


async def counters(redis: Redis, keys: LaneKeys) -> dict[str, int]:
    found = await redis.hgetall(keys.counters)
    return {name.decode().partition(":")[0]: int(number) for name, number in found.items()}


async def end(*workers: Any) -> None:
    for worker in workers:
        await worker.close()


@MANY
async def test_jobs_of_a_stock_producer_run_once_each_on_our_worker(
    valkey_url: str, redis: Redis, count: int
) -> None:
    seen = Counter[int]()
    async with arq_pool(valkey_url, LANE.queue) as pool, working(valkey_url, writing_down(seen)):
        await enqueue(pool, count)
        await eventually(lambda: seen.total() >= count, timeout=200)
        await eventually(lambda: _empty(redis, LANE))
    assert seen == each_once(count)
    assert await counters(redis, LANE) == {"accepted": count, "done": count}
    assert not await redis.exists(LANE.adopted, LANE.leases)


@MANY
@pytest.mark.parametrize("serializers", [JSON, PICKLE], ids=["json", "pickle asked for"])
async def test_jobs_of_a_stock_producer_run_once_each_on_our_stand_in(
    valkey_url: str, redis: Redis, count: int, serializers: dict[str, Any]
) -> None:
    seen = Counter[int]()
    async with arq_pool(valkey_url, QUEUE.queue, **serializers) as pool:
        await enqueue(pool, count)
    ours = worker_of(StandIn, valkey_url, writing_down(seen), **serializers)
    await ours.async_run()
    await end(ours)
    assert seen == each_once(count)
    assert await counters(redis, QUEUE) == {"accepted": count, "done": count}
    assert not await redis.exists(QUEUE.queue, QUEUE.adopted, QUEUE.leases)


@MANY
async def test_jobs_of_our_producer_run_once_each_on_a_stock_worker(
    valkey_url: str, redis: Redis, count: int
) -> None:
    seen = Counter[int]()
    async with Producer.connect(valkey_url, budget=5) as producer:
        await producer.send_many([Note(number) for number in range(count)])
    stock = worker_of(StockWorker, valkey_url, writing_down(seen), queue=LANE.queue)
    await stock.async_run()
    await end(stock)
    assert seen == each_once(count)
    assert stock.jobs_complete == count
    assert not await redis.exists(LANE.queue)


@MANY
async def test_a_stock_worker_and_our_stand_in_share_a_queue_and_run_each_job_once(
    valkey_url: str, redis: Redis, count: int
) -> None:
    seen, workers = Counter[int](), set[str]()

    def taking(name: str) -> Callable[..., Any]:
        async def take(_: dict[str, Any], number: int) -> None:
            seen[number] += 1
            workers.add(name)
            await eventually(lambda: len(workers) == 2)  # nobody takes all before the other has started

        return take

    async with arq_pool(valkey_url, QUEUE.queue) as pool:
        await enqueue(pool, count)
    stock = worker_of(StockWorker, valkey_url, taking("stock"))
    ours = worker_of(StandIn, valkey_url, taking("ours"))
    await asyncio.gather(stock.async_run(), ours.async_run())
    await end(stock, ours)
    assert seen == each_once(count)
    assert min(stock.jobs_complete, ours.jobs_complete) > 0
    assert stock.jobs_complete + ours.jobs_complete == count
    assert await counters(redis, QUEUE) == {"accepted": ours.jobs_complete, "done": ours.jobs_complete}
    assert not await redis.exists(QUEUE.queue, QUEUE.adopted, QUEUE.leases)


@MANY
async def test_a_stock_worker_and_our_worker_share_a_lane_and_run_each_job_once(
    valkey_url: str, redis: Redis, count: int
) -> None:
    theirs, mine = Counter[int](), Counter[int]()
    async with Producer.connect(valkey_url, budget=5) as producer:
        await producer.send_many([Note(number) for number in range(count)])
    stock = worker_of(StockWorker, valkey_url, writing_down(theirs), queue=LANE.queue)
    running = asyncio.create_task(stock.async_run())
    await eventually(lambda: theirs)
    async with working(valkey_url, writing_down(mine)):
        await running
    await end(stock)
    assert theirs + mine == each_once(count)
    assert mine
    assert await counters(redis, LANE) == {"accepted": count, "done": mine.total()}


async def test_a_handler_past_arqs_limit_loses_its_lease_to_the_second_try_and_records_nothing(
    valkey_url: str, redis: Redis
) -> None:
    class Brief(StandIn):
        lease = timedelta(milliseconds=100)
        renew_every = timedelta(milliseconds=10)

    begun, resume = asyncio.Event(), asyncio.Event()

    async def hang(_: dict[str, Any], number: int) -> str:
        begun.set()
        await resume.wait()
        return f"lost {number}"

    async def answer(ctx: dict[str, Any], number: int) -> list[int]:
        return [ctx["job_try"], number]

    async with arq_pool(valkey_url, QUEUE.queue) as pool:
        job = await pool.enqueue_job(KIND, number=7)
        assert job
        lost, other = worker_of(Brief, valkey_url, hang), worker_of(StandIn, valkey_url, answer)
        lost.in_progress_timeout_s = 0  # the longest job timeout and ten seconds
        losing = asyncio.create_task(lost.async_run())
        await begun.wait()
        lost.allow_pick_jobs = False  # it would claim the job itself
        await other.async_run()
        resume.set()
        await losing
        assert await job.result(timeout=1) == [2, 7]
    await end(lost, other)
    counts = await counters(redis, QUEUE)
    assert (counts["accepted"], counts["done"], counts["lapsed"]) == (1, 1, 1)


@pytest.mark.parametrize("address", ["tcp", "unix"])
async def test_a_lease_is_renewed_while_a_handler_blocks_the_event_loop(
    own_valkey: Callable[..., Any], address: str
) -> None:
    class Eager(StandIn):
        renew_every = timedelta(milliseconds=20)

    valkey = await own_valkey("--unixsocket", "valkey.sock")
    url = valkey.url if address == "tcp" else f"unix://{valkey.directory}/valkey.sock"
    renewed: list[bool] = []

    async def block(ctx: dict[str, Any], number: int) -> None:
        del number
        with Blocking.from_url(url) as client:
            first, give_up = client.zscore(QUEUE.leases, ctx["job_id"]), time.monotonic() + 5
            while client.zscore(QUEUE.leases, ctx["job_id"]) == first and time.monotonic() < give_up:
                time.sleep(0.01)  # noqa: ASYNC251  what a careless handler does
            renewed.append(client.zscore(QUEUE.leases, ctx["job_id"]) != first)

    async with arq_pool(url, QUEUE.queue) as pool:
        await enqueue(pool, 1)
    ours = worker_of(Eager, url, block)
    await ours.async_run()
    await end(ours)
    assert renewed == [True]
    async with Redis.from_url(url) as redis:
        assert await counters(redis, QUEUE) == {"accepted": 1, "done": 1}


async def test_a_job_that_a_stock_worker_took_over_is_left_to_it(valkey_url: str, redis: Redis) -> None:
    begun, resume = asyncio.Event(), asyncio.Event()
    tries: list[int] = []

    async def take(ctx: dict[str, Any], number: int) -> None:
        del number
        tries.append(ctx["job_try"])
        begun.set()
        await resume.wait()

    async def never(_: dict[str, Any], number: int) -> None:
        raise AssertionError(number)

    async with arq_pool(valkey_url, LANE.queue) as pool:
        job = await pool.enqueue_job(KIND, number=1)
        assert job
        await redis.zadd(LANE.leases, {job.job_id: 1})  # a worker of ours had it, and was lost
        stock = worker_of(StockWorker, valkey_url, take, queue=LANE.queue)
        running = asyncio.create_task(stock.async_run())
        await begun.wait()
        async with working(valkey_url, never) as ours:
            for _ in range(5):
                await ours.shards[0].store.run_cycle([], [(ours.lanes[0], 1)])
            resume.set()
            await running
        assert await job.status() == JobStatus.complete
    await end(stock)
    assert tries == [1]
    assert not await redis.exists(LANE.dead, f"arq:retry:{job.job_id}")


async def test_retry_abort_and_results_are_arqs(valkey_url: str, redis: Redis) -> None:
    begun = asyncio.Event()

    async def fickle(ctx: dict[str, Any], number: int) -> Any:
        if number == 0 and ctx["job_try"] < 3:
            raise Retry
        if number == 1:
            begun.set()
            await asyncio.Event().wait()
        return ctx["job_try"]

    async with arq_pool(valkey_url, QUEUE.queue) as pool:
        again, endless = [await pool.enqueue_job(KIND, number=number) for number in range(2)]
        assert again
        assert endless
        ours = worker_of(StandIn, valkey_url, fickle, allow_abort_jobs=True, keep_result_forever=True)
        working = asyncio.create_task(ours.async_run())
        await begun.wait()
        stopped = asyncio.create_task(endless.abort(timeout=5, poll_delay=0.01))
        await working
        assert await again.result() == 3
        assert await stopped
        assert await redis.ttl(f"arq:result:{again.job_id}") == -1
    await end(ours)
    assert await counters(redis, QUEUE) == {"accepted": 2, "done": 2}


async def test_a_pickle_is_not_read_unless_it_is_asked_for(
    valkey_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, logger="arq")

    class Loaded:
        def __reduce__(self) -> Any:
            return pytest.fail, ("a pickle was read",)

    seen = Counter[int]()
    async with arq_pool(valkey_url, QUEUE.queue, **PICKLE) as pool:
        job = await pool.enqueue_job(KIND, number=Loaded())
        assert job
        ours = worker_of(StandIn, valkey_url, writing_down(seen), job_serializer=None, job_deserializer=None)
        await ours.async_run()
        result = await Job(job.job_id, pool, _deserializer=from_json).result_info()
        assert result
        assert result.result == "DeserializationError: unable to deserialize job"
    await end(ours)


async def test_a_job_whose_payload_expired_fails_once_however_many_workers_see_it(
    valkey_url: str, redis: Redis
) -> None:
    await redis.zadd(QUEUE.queue, {f"gone-{number}": 1 for number in range(20)})
    seen = Counter[int]()
    one, two = [worker_of(StandIn, valkey_url, writing_down(seen), **PICKLE) for _ in range(2)]
    await asyncio.gather(one.async_run(), two.async_run())
    async with arq_pool(valkey_url, QUEUE.queue, **PICKLE) as pool:
        results = await pool.all_job_results()
    await end(one, two)
    assert one.jobs_failed + two.jobs_failed == 20
    assert [one.result for one in results] == [JobExecutionFailed("job expired")] * 20
    assert await counters(redis, QUEUE) == {"accepted": 20, "vanished": 20}


async def test_a_lane_of_momentus_is_refused_because_its_dead_are_kept() -> None:
    with pytest.raises(ValueError, match=r"mail\.normal is a lane of Momentus"):
        StandIn([func(writing_down(Counter()), name=KIND)], queue_name=LANE.queue, handle_signals=False)


async def _empty(redis: Redis, keys: LaneKeys) -> bool:
    return not await redis.exists(keys.queue)
