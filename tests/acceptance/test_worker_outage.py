"""Whatever happens to Redis or to the way there, a worker lives on and by itself takes up its work again.

Jobs that run when it happens go on, their outcomes are recorded once afterwards, what was waiting runs, and
nothing that was accepted is lost. Leases are long here, so that it is never a lapsed one that heals the fault;
one test is about leases that do lapse.
"""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError as RedisConnectionError,
    OutOfMemoryError,
    RedisError,
)

from producers import NotEnqueued, Producer
from producers.keys import LaneKeys
from tests.faulty_proxy import FaultyProxy
from tests.notes import Note
from tests.support import OwnValkey, eventually
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler

OwnServer = Callable[..., Awaitable[OwnValkey]]
LANE = "mail.normal"
KEYS = LaneKeys(LANE)
LONG = timedelta(minutes=5)
PATIENCE = 30.0
"""Seconds, for what is certain to happen however slow the machine."""
RUNNING = ["running 0", "running 1"]
WAITING = [f"waiting {number}" for number in range(20)]
AFTER = ["after"]


@dataclass(kw_only=True)
class Scene:
    """A worker of two slots, and a producer and a client that have a way of their own to the server."""

    producer: Producer
    redis: Redis
    worker: Worker = field(init=False)
    working: asyncio.Task[None] = field(init=False)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    begun: Counter[str] = field(default_factory=Counter)
    ended: Counter[str] = field(default_factory=Counter)

    async def take(self, _: dict[str, Any], text: str) -> None:
        self.begun[text] += 1
        await self.may_end.wait()
        self.ended[text] += 1

    async def fill(self) -> None:
        """Both slots taken, and more waiting."""
        await self.producer.send_many([Note(text) for text in RUNNING])
        await eventually(lambda: len(self.begun) == len(RUNNING))
        await self.producer.send_many([Note(text) for text in WAITING])

    async def let_running_jobs_end(self) -> None:
        self.may_end.set()
        await eventually(lambda: len(self.ended) >= len(RUNNING))

    async def notices(self) -> None:
        """The worker has found out that Redis is away."""
        await eventually(lambda: self.worker.shards[0].pump.failed_cycles, timeout=PATIENCE)

    async def goes_on(self) -> None:
        """A new job is taken, and runs."""
        await eventually(self._sent, timeout=PATIENCE)
        await eventually(lambda: self.ended["after"], timeout=PATIENCE)
        assert not self.working.done()

    async def _sent(self) -> bool:
        with suppress(NotEnqueued):
            await self.producer.send(Note("after"), key="after")
            return True
        return False

    async def lost_nothing(self) -> None:
        """Every job ran once, was recorded once, and none is held by anybody."""
        everything = [*RUNNING, *WAITING, *AFTER]
        await eventually(lambda: self.count("done", len(everything)), timeout=PATIENCE)
        assert self.begun == self.ended == Counter(everything)
        assert await self.count("accepted", len(everything))
        for event in ("lapsed", "vanished", "dead"):
            assert await self.count(event, 0)
        assert await self.redis.zcard(KEYS.queue) == await self.redis.zcard(KEYS.leases) == 0

    async def count(self, event: str, wanted: int) -> bool:
        return int(await self.redis.hget(KEYS.counters, f"{event}:{LANE}") or 0) == wanted


@asynccontextmanager
async def at_work(server: OwnValkey, *, url: str = "", lease: timedelta = LONG) -> AsyncIterator[Scene]:
    """A worker that reaches the server by `url`."""
    async with Producer.connect(server.url, budget=5) as producer, Redis.from_url(server.url) as redis:
        scene = Scene(producer=producer, redis=redis)
        scene.worker = Worker(
            [handler(scene.take, kind=Note.kind)],
            redis_url=url or server.url,
            handle_signals=False,
            lanes=[LaneSlots(LANE, len(RUNNING))],
            lease=lease,
            renew_every=timedelta(milliseconds=200),
            grace=timedelta(seconds=1),
        )
        scene.working = asyncio.create_task(scene.worker.async_run())
        try:
            yield scene
        finally:
            scene.may_end.set()
            scene.worker.handle_sig(signal.SIGTERM)
            await scene.working
            await scene.worker.close()


@pytest.fixture
async def server(own_valkey: OwnServer) -> OwnValkey:
    return await own_valkey()


# The server


async def test_a_worker_goes_on_after_a_frozen_server_and_loses_nothing(server: OwnValkey) -> None:
    async with at_work(server) as scene:
        await scene.fill()
        server.pause()
        try:
            await scene.let_running_jobs_end()
            await scene.notices()
        finally:
            server.resume()
        await scene.goes_on()
        await scene.lost_nothing()


async def test_a_worker_goes_on_after_a_killed_server_that_kept_its_data_and_loses_nothing(
    server: OwnValkey,
) -> None:
    async with at_work(server) as scene:
        await scene.fill()
        await server.kill()
        await scene.let_running_jobs_end()
        await scene.notices()
        await server.start()
        await scene.goes_on()
        await scene.lost_nothing()


@pytest.mark.long
async def test_a_worker_runs_each_job_once_though_its_server_is_killed_ten_times_under_load(
    own_valkey: OwnServer,
) -> None:
    """Each write is synced: with ``everysec`` a slow disk makes the server answer before it has written."""
    server = await own_valkey("--appendfsync", "always")
    async with at_work(server) as scene:
        scene.may_end.set()
        texts = [f"job {number}" for number in range(3000)]
        await scene.producer.send_many([Note(text) for text in texts])
        for _ in range(10):
            before = len(scene.ended)
            await server.restart()
            await eventually(lambda before=before: len(scene.ended) > before or len(scene.ended) == len(texts))
        await eventually(lambda: set(scene.ended) == set(texts), timeout=PATIENCE)
        await eventually(lambda: scene.count("done", len(texts)), timeout=PATIENCE)
        assert scene.begun == Counter(texts)


async def test_a_worker_goes_on_with_new_jobs_when_its_server_lost_the_others(own_valkey: OwnServer) -> None:
    """What was in it is gone for the engine, too; new jobs run."""
    server = await own_valkey("--appendonly", "no")
    async with at_work(server) as scene:
        await scene.fill()
        await server.kill()
        await scene.let_running_jobs_end()
        await scene.notices()
        await server.start()
        await scene.goes_on()
        await eventually(lambda: scene.count("done", 1), timeout=PATIENCE)
        assert set(scene.ended) == {*RUNNING, *AFTER}


@pytest.mark.parametrize("stale", ["yes", "no"])
async def test_a_worker_goes_on_when_its_server_is_a_primary_again_and_loses_nothing(
    own_valkey: OwnServer, stale: str
) -> None:
    server = await own_valkey("--replica-serve-stale-data", stale)
    async with at_work(server) as scene:
        await scene.fill()
        await scene.redis.replicaof("127.0.0.1", "1")  # a master that is not there
        await scene.let_running_jobs_end()
        await scene.notices()
        await scene.redis.replicaof("NO", "ONE")
        await scene.goes_on()
        await scene.lost_nothing()


async def test_a_worker_waits_for_a_server_that_loads_its_data_and_loses_nothing(own_valkey: OwnServer) -> None:
    """The load is made slow, 1 ms a key, until the worker has met it."""
    server = await own_valkey("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
    async with at_work(server) as scene:
        await scene.fill()
        await scene.redis.mset({f"filler:{number}": "x" * 500 for number in range(20_000)})
        await scene.redis.execute_command("BGREWRITEAOF")  # type: ignore[no-untyped-call]
        await eventually(lambda: is_settled(scene.redis), timeout=PATIENCE)
        await server.kill()
        starting = asyncio.create_task(server.start())
        await eventually(lambda: is_loading(scene.redis))
        await scene.let_running_jobs_end()
        await scene.notices()
        await scene.redis.config_set("key-load-delay", 0)
        await starting
        await scene.goes_on()
        await scene.lost_nothing()


async def is_settled(redis: Redis) -> bool:
    facts = await redis.info("persistence")
    return not (facts["aof_rewrite_in_progress"] or facts["aof_rewrite_scheduled"])


async def is_loading(redis: Redis) -> bool:
    with suppress(RedisConnectionError):
        try:
            await redis.get("anything")
        except BusyLoadingError:
            return True
    return False


@pytest.mark.long
async def test_a_worker_goes_on_when_its_server_can_save_again_and_loses_nothing(own_valkey: OwnServer) -> None:
    server = await own_valkey("--save", "3600 1")
    in_its_way = server.directory / "dump.rdb" / "not empty"
    async with at_work(server) as scene:
        await scene.fill()
        in_its_way.mkdir(parents=True)
        await eventually(lambda: refuses_writes(scene.redis), timeout=PATIENCE)
        await scene.let_running_jobs_end()
        await scene.notices()
        in_its_way.rmdir()
        in_its_way.parent.rmdir()
        await scene.redis.bgsave()
        await scene.goes_on()
        await scene.lost_nothing()


async def refuses_writes(redis: Redis) -> bool:
    try:
        await redis.set("probe", "1")
    except RedisError as error:
        return str(error).startswith("MISCONF")
    with suppress(RedisError):  # one is under way
        await redis.bgsave()
    return False


async def test_a_worker_brings_its_scripts_again_to_a_server_that_forgot_them(server: OwnValkey) -> None:
    async with at_work(server) as scene:
        await scene.fill()
        await scene.redis.script_flush()
        await scene.let_running_jobs_end()
        await scene.goes_on()
        await scene.lost_nothing()
        assert scene.worker.shards[0].pump.failed_cycles == 0


async def test_a_server_at_its_memory_limit_is_drained(own_valkey: OwnServer) -> None:
    server = await own_valkey("--maxmemory", "12mb")
    async with at_work(server) as scene:
        await scene.fill()
        await fill_memory(scene.redis)
        await scene.let_running_jobs_end()
        await eventually(lambda: scene.count("done", len(RUNNING) + len(WAITING)), timeout=PATIENCE)
        assert await scene.redis.zcard(KEYS.leases) == 0
        await scene.redis.config_set("maxmemory", 0)
        await scene.goes_on()
        await scene.lost_nothing()


async def fill_memory(redis: Redis) -> None:
    for size in (64 * 1024, 1024, 1):
        for number in range(20_000):
            try:
                await redis.set(f"filler:{size}:{number}", b"x" * size)
            except OutOfMemoryError:
                break


# The way to the server


@asynccontextmanager
async def behind_a_proxy(server: OwnValkey) -> AsyncIterator[tuple[Scene, FaultyProxy]]:
    async with FaultyProxy(server.port) as proxy, at_work(server, url=f"redis://127.0.0.1:{proxy.port}") as scene:
        await scene.fill()
        try:
            yield scene, proxy
        finally:
            proxy.let_pass()
        await scene.goes_on()
        await scene.lost_nothing()


async def test_a_worker_goes_on_over_new_connections_after_a_reset_and_loses_nothing(server: OwnValkey) -> None:
    async with behind_a_proxy(server) as (scene, proxy):
        proxy.cut()
        await scene.let_running_jobs_end()


@pytest.mark.long
async def test_a_worker_loses_nothing_by_connections_that_are_reset_again_and_again_under_load(
    server: OwnValkey,
) -> None:
    async with behind_a_proxy(server) as (scene, proxy):
        await scene.let_running_jobs_end()
        for octets in range(0, 4000, 400):
            proxy.limit(octets)
            await eventually(lambda: proxy.is_stalled)
            proxy.cut()
            proxy.let_pass()


async def test_a_worker_goes_on_when_somebody_listens_again_and_loses_nothing(server: OwnValkey) -> None:
    async with behind_a_proxy(server) as (scene, proxy):
        await proxy.refuse()
        await scene.let_running_jobs_end()
        await scene.notices()
        await proxy.accept()


async def test_a_worker_goes_on_when_the_way_carries_again_and_loses_nothing(server: OwnValkey) -> None:
    async with behind_a_proxy(server) as (scene, proxy):
        proxy.stall()
        await scene.let_running_jobs_end()
        await scene.notices()


async def test_a_worker_goes_on_after_a_reply_that_stops_in_its_middle_and_loses_nothing(
    server: OwnValkey,
) -> None:
    async with behind_a_proxy(server) as (scene, proxy):
        proxy.limit(1000)
        await scene.let_running_jobs_end()
        await scene.notices()


@pytest.mark.parametrize("direction", ["to_server", "to_client"])
async def test_a_worker_goes_on_after_a_connection_of_one_direction_and_loses_nothing(
    server: OwnValkey, direction: Any
) -> None:
    async with behind_a_proxy(server) as (scene, proxy):
        proxy.swallow(direction)
        await scene.let_running_jobs_end()
        await scene.notices()


async def test_a_slow_way_is_no_outage(server: OwnValkey) -> None:
    async with behind_a_proxy(server) as (scene, proxy):
        proxy.delay(0.05)
        await scene.let_running_jobs_end()
        await eventually(lambda: scene.count("done", len(RUNNING) + len(WAITING)), timeout=PATIENCE)
        assert scene.worker.shards[0].pump.failed_cycles == 0


# Leases


async def test_a_job_whose_lease_lapsed_meanwhile_runs_again_and_is_recorded_once(server: OwnValkey) -> None:
    async with (
        FaultyProxy(server.port) as proxy,
        at_work(server, url=f"redis://127.0.0.1:{proxy.port}", lease=timedelta(seconds=1)) as scene,
    ):
        await scene.producer.send(Note("running 0"))
        await eventually(lambda: scene.begun["running 0"])
        await proxy.refuse()
        await eventually(lambda: lease_is_over(scene.redis), timeout=PATIENCE)
        scene.may_end.set()
        await eventually(lambda: scene.ended["running 0"])
        await proxy.accept()
        await scene.goes_on()
        await eventually(lambda: scene.count("done", 2), timeout=PATIENCE)
        assert scene.begun["running 0"] == 2
        assert await scene.count("lapsed", 1)


async def lease_is_over(redis: Redis) -> bool:
    return not [key async for key in redis.scan_iter("arq:in-progress:*")]


async def test_a_worker_that_starts_while_redis_is_away_runs_jobs_when_it_is_there(server: OwnValkey) -> None:
    await server.kill()
    async with at_work(server) as scene:
        await scene.notices()
        await server.start()
        scene.may_end.set()
        await scene.goes_on()


@pytest.mark.long
async def test_a_worker_can_be_stopped_while_redis_is_away(server: OwnValkey) -> None:
    async with at_work(server) as scene:
        await scene.fill()
        await server.kill()
        await scene.let_running_jobs_end()
        await scene.notices()
    assert scene.working.done()
