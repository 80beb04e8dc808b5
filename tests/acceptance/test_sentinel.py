"""Behind sentinels: a producer and a worker find the new primary by themselves, and nothing confirmed is lost."""

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as ConnectionLost, ResponseError

from local.embedded.ports import free_port
from local.supervisor.process import Process
from local.supervisor.ready import http_ok
from local.supervisor.supervisor import Supervisor
from ops.depth.read import read_depth
from producers import NotEnqueued, Producer, RedisUnavailable, SyncProducer
from producers.keys import LaneKeys
from producers.link import Link
from producers.link.address import read_address
from producers.link.client import connect
from sessions import Sessions, SessionsUnavailable, SyncSessions
from tests.callers import asker
from tests.notes import Note
from tests.support import OwnValkey, eventually
from tests.topologies import SERVICE, Sentinels, sentinels
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler

LANE = "mail.normal"
KEYS = LaneKeys(LANE)
PATIENCE = 40.0
PLENTY = timedelta(seconds=2)


@pytest.fixture
async def three() -> AsyncIterator[Sentinels]:
    async with sentinels() as found:
        yield found


@asynccontextmanager
async def working(url: str, ran: Counter[str]) -> AsyncIterator[asyncio.Task[None]]:
    async def take(_: dict[str, Any], text: str) -> None:
        ran[text] += 1

    worker = Worker(
        [handler(take, kind=Note.kind)],
        redis_url=url,
        handle_signals=False,
        lanes=[LaneSlots(LANE, 10)],
        lease=timedelta(seconds=2),
        renew_every=timedelta(milliseconds=200),
        grace=timedelta(seconds=1),
    )
    task = asyncio.create_task(worker.async_run())
    try:
        yield task
    finally:
        worker.handle_sig(signal.SIGTERM)
        await task
        await worker.close()


class Load:
    """Sends notes one after the other, each until it is taken, and keeps what was acknowledged."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self.acknowledged: set[str] = set()
        self.refused = 0

    async def send(self, text: str) -> None:
        while text not in self.acknowledged:
            try:
                await self._producer.send(Note(text), key=text)
                self.acknowledged.add(text)
            except NotEnqueued:
                self.refused += 1
                await asyncio.sleep(0.02)

    async def send_for_ever(self) -> None:
        for number in range(1_000_000):
            await self.send(str(number))


@asynccontextmanager
async def under_load(producer: Producer) -> AsyncIterator[Load]:
    load = Load(producer)
    sending = asyncio.create_task(load.send_for_ever())
    try:
        await eventually(lambda: len(load.acknowledged) > 200, timeout=PATIENCE)
        yield load
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_what_was_confirmed_survives_a_primary_that_dies_under_load(three: Sentinels) -> None:
    ran: Counter[str] = Counter()
    async with (
        Producer.connect(three.url, budget=1, confirm_replicas=1) as producer,
        working(three.url, ran) as task,
    ):
        async with under_load(producer) as load:
            await three.kill("first")
            await eventually(lambda: three.took_over("second"), timeout=PATIENCE)
        await eventually(lambda: load.acknowledged <= set(ran), timeout=PATIENCE)
        assert load.refused
        assert not task.done()


@pytest.mark.long
async def test_what_was_confirmed_survives_a_primary_that_had_lost_its_replica(three: Sentinels) -> None:
    """What it took after that is lost with it, so it must not have been acknowledged."""
    ran: Counter[str] = Counter()
    async with Producer.connect(three.url, budget=1, confirm_replicas=1) as producer:
        async with under_load(producer) as load:
            await part_the_replica(three)
            known = len(load.acknowledged)
            await eventually(lambda: load.refused or len(load.acknowledged) > known + 50, timeout=PATIENCE)
            await three.kill("first")
        for port in three.sentinels:
            three.resume(f"sentinel {port}")
        await eventually(lambda: three.took_over("second"), timeout=PATIENCE)
    async with working(three.url, ran):
        await eventually(lambda: load.acknowledged <= set(ran), timeout=PATIENCE)


async def part_the_replica(three: Sentinels) -> None:
    """With the sentinels frozen, which would join them again."""
    for port in three.sentinels:
        three.pause(f"sentinel {port}")
    async with Redis(port=three.nodes["second"]) as replica:
        await replica.replicaof("127.0.0.1", "1")


@pytest.mark.long
async def test_without_a_replica_nothing_is_confirmed_and_the_caller_is_told(three: Sentinels) -> None:
    async with Producer.connect(three.url, budget=0.5, confirm_replicas=1) as producer:
        await producer.send(Note("a"), key="a")
        await three.kill("second")
        with pytest.raises(NotEnqueued, match="replica"):
            await producer.send(Note("b"), key="b")
        with pytest.raises(NotEnqueued, match="replica"):  # nor is what stands already, however it came there
            await producer.send(Note("b"), key="b")


@pytest.mark.long
async def test_producer_and_worker_follow_the_primary_and_go_on(three: Sentinels) -> None:
    ran: Counter[str] = Counter()
    async with Producer.connect(three.url, budget=1) as producer, working(three.url, ran) as task:
        load = Load(producer)
        await load.send("before")
        await eventually(lambda: ran["before"])
        await three.kill("first")
        async with asyncio.timeout(PATIENCE):
            await load.send("after")
        await eventually(lambda: ran["after"], timeout=PATIENCE)
        assert not task.done()
        assert await three.took_over("second")


@pytest.mark.long
async def test_a_primary_that_was_frozen_and_comes_back_as_a_replica_is_left(three: Sentinels) -> None:
    """Until the sentinels make it one, it takes writes, but nobody confirms them."""
    ran: Counter[str] = Counter()
    async with Producer.connect(three.url, budget=1, confirm_replicas=1) as producer, working(three.url, ran):
        load = Load(producer)
        await load.send("before")
        await eventually(lambda: ran["before"])
        three.pause("first")
        try:
            await eventually(lambda: three.took_over("second"), timeout=PATIENCE)
        finally:
            three.resume("first")
        async with asyncio.timeout(PATIENCE):
            await load.send("after")
        async with Redis(port=three.nodes["second"]) as primary:
            await eventually(lambda: has_done(primary, 2), timeout=PATIENCE)


async def has_done(redis: Redis, wanted: int) -> bool:
    return int(await redis.hget(KEYS.counters, f"done:{LANE}") or 0) >= wanted


@pytest.mark.long
async def test_a_link_leaves_a_server_that_takes_no_writes(three: Sentinels) -> None:
    """It asks again whom to write to, although its connection is sound."""
    link = Link(three.url)
    await link.call("SET", "a", "1")
    async with Redis(port=three.nodes["first"]) as first:
        number = await link.call("CLIENT", "ID")
        await first.replicaof("127.0.0.1", str(three.nodes["second"]))
        await eventually(lambda: was_left(link, number), timeout=PATIENCE)
    await link.close()


async def was_left(link: Link, number: int) -> bool:
    with suppress(ConnectionLost, OSError, ResponseError):
        await link.call("SET", "a", "2")
    with suppress(ConnectionLost, OSError):
        return bool(await link.call("CLIENT", "ID") != number)
    return True


@pytest.mark.long
async def test_a_dead_sentinel_does_no_harm(three: Sentinels) -> None:
    await three.kill(f"sentinel {three.sentinels[0]}")
    link = Link(three.url)
    assert await link.call("PING") == b"PONG"
    await link.close()


async def test_all_find_the_primary_and_say_which_service_they_do_not(three: Sentinels) -> None:
    """Commands, sessions, the producers with and without asyncio."""
    other = three.url.replace(SERVICE, "another")
    sessions = Sessions.connect(three.url, deadline=timedelta(seconds=2))
    token, _ = await sessions.create("u-1", {})
    assert await sessions.load(token)
    await sessions.close()
    with SyncProducer.connect(three.url, budget=2, confirm_replicas=1) as producer:
        assert producer.send(Note("a"), key="a").state == "queued"
    async with connect(three.url) as redis:
        depth = await read_depth(redis, tenant="default")
    assert depth.conserved
    with pytest.raises(ConnectionLost, match="another"):
        await Link(other).call("PING")
    with SyncProducer.connect(other, budget=2) as producer, pytest.raises(RedisUnavailable, match="another"):
        producer.send(Note("b"))
    async with connect(other) as redis:
        with pytest.raises(ConnectionLost, match="another"):
            await redis.ping()


async def test_sessions_without_asyncio_find_the_primary_and_say_which_service_they_do_not(
    three: Sentinels,
) -> None:
    """Started with a sentinel that is dead in front."""
    dead = f"127.0.0.1:{free_port()}"
    with closing(SyncSessions.connect(three.url.replace("://", f"://{dead},"), deadline=PLENTY)) as sessions:
        token, session = sessions.create("u-1", {"roots": [1]})
        assert sessions.load(token) == session
        rotated = sessions.rotate(token)
        assert rotated is not None
        assert sessions.revoke(rotated[0])
        assert sessions.load(token) is None
    other = SyncSessions.connect(three.url.replace(SERVICE, "another"), deadline=PLENTY)
    with closing(other), pytest.raises(SessionsUnavailable, match="another"):
        other.create("u-1", {})


@pytest.mark.long
async def test_sessions_without_asyncio_follow_the_primary(three: Sentinels) -> None:
    with closing(SyncSessions.connect(three.url, deadline=PLENTY)) as sessions:
        token, _ = sessions.create("u-1", {"roots": [1]})
        async with Redis(port=three.nodes["first"]) as first:
            assert await first.wait(1, 5000) == 1, "the replica has it"
        await three.kill("first")
        with pytest.raises(SessionsUnavailable):
            sessions.load(token)
        await eventually(lambda: three.took_over("second"), timeout=PATIENCE)
        await eventually(lambda: is_there(sessions, token), timeout=PATIENCE)
        assert sessions.revoke(token)


@pytest.mark.long
async def test_sessions_without_asyncio_leave_a_server_that_takes_no_writes(three: Sentinels) -> None:
    """Their connection to it is sound, but it has become a replica."""
    with closing(SyncSessions.connect(three.url, deadline=PLENTY)) as sessions:
        sessions.create("u-1", {})
        async with Redis(port=three.nodes["first"]) as first:
            for port in three.sentinels:
                three.pause(f"sentinel {port}")
            await first.replicaof("127.0.0.1", str(three.nodes["second"]))
        with pytest.raises(SessionsUnavailable, match="primary"):
            sessions.create("u-1", {})
        for port in three.sentinels:
            three.resume(f"sentinel {port}")
        await eventually(lambda: is_created(sessions), timeout=PATIENCE)


def is_there(sessions: SyncSessions, token: str) -> bool:
    with suppress(SessionsUnavailable):
        return sessions.load(token) is not None
    return False


def is_created(sessions: SyncSessions) -> bool:
    with suppress(SessionsUnavailable):
        return bool(sessions.create("u-1", {}))
    return False


@pytest.mark.long
async def test_commands_sessions_reader_and_a_producer_without_asyncio_follow_the_primary(
    three: Sentinels,
) -> None:
    port = free_port()
    environment = {"MOMENTUS_REDIS_URL": three.url, "MOMENTUS_READER__PORT": str(port)}
    reader = Process(
        name="reader", argv=[sys.executable, "-m", "reader"], environment=environment, ready=http_ok(port)
    )
    sessions = Sessions.connect(three.url, deadline=timedelta(seconds=2))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(Supervisor([reader]))
        redis = await stack.enter_async_context(connect(three.url))
        producer = stack.enter_context(SyncProducer.connect(three.url, budget=1))
        stack.push_async_callback(sessions.close)
        token, _ = await sessions.create("u-1", {"roots": [1]})
        await eventually(lambda: is_answered(port, token), timeout=PATIENCE)
        producer.send(Note("before"), key="before")
        await three.kill("first")
        with pytest.raises(NotEnqueued):
            producer.send(Note("after"), key="after")
        await eventually(lambda: three.took_over("second"), timeout=PATIENCE)
        await eventually(lambda: is_taken(producer, "after"), timeout=PATIENCE)
        await eventually(lambda: is_known(sessions, token), timeout=PATIENCE)
        await eventually(lambda: is_answered(port, token), timeout=PATIENCE)
        assert (await read_depth(redis, tenant="default")).conserved


def is_taken(producer: SyncProducer, text: str) -> bool:
    with suppress(NotEnqueued):
        producer.send(Note(text), key=text)
        return True
    return False


async def is_known(sessions: Sessions, token: str) -> bool:
    with suppress(SessionsUnavailable):
        return await sessions.load(token) is not None
    return False


async def is_answered(port: int, token: str) -> bool:
    """Whether the reader could ask: it says that there is no such report, not that Redis is away."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = "GET /v1/reports/unknown/1 HTTP/1.1\r\nHost: x\r\n"
        writer.write(f"{head}Authorization: Bearer {token}\r\nConnection: close\r\n\r\n".encode("ascii"))
        return (await reader.readline()).split(b" ")[1:2] == [b"404"]
    finally:
        writer.close()


async def test_a_single_server_is_no_sentinel(own_valkey: Any) -> None:
    server: OwnValkey = await own_valkey()
    with pytest.raises(ConnectionLost, match="no sentinel"):
        await Link(f"sentinel://127.0.0.1:{server.port}/momentus").call("PING")


def test_an_address_of_sentinels_is_read_in_full() -> None:
    address = read_address("sentinel://ana:p%40ss@one:1,two,[::1]:3/momentus/4")
    assert address.sentinels == (("one", 1), ("two", 26379), ("::1", 3))
    assert address.service == "momentus"
    assert address.options == {"db": 4, "username": "ana", "password": "p@ss"}


@pytest.mark.parametrize("url", ["sentinel://", "sentinel://a:1", "sentinel://a:1,/name", "sentinel://a:1/name/x"])
def test_an_address_that_cannot_be_read_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"sentinel|host|int|Port"):
        read_address(url)


@pytest.mark.parametrize("kind", ["Producer", "SyncProducer", "Sessions", "SyncSessions"])
async def test_a_sentinel_that_accepts_and_never_answers_fails_no_call(three: Sentinels, kind: str) -> None:
    three.pause(f"sentinel {three.sentinels[0]}")
    async with AsyncExitStack() as stack:
        ask = await asker(stack, kind, three.url, seconds=0.8)  # whoever waited for it would wait for a second
        await ask()
    three.resume(f"sentinel {three.sentinels[0]}")
