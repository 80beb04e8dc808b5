"""Whatever Redis does, every call of a producer answers: queued, or a typed error and nothing half-done.

Afterwards the same producer works again by itself, and what was sent again with its key is there once.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from inspect import isawaitable
from typing import ClassVar

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError, OutOfMemoryError, RedisError

from producers import NotEnqueued, Producer, QueueFull, RedisUnavailable
from producers.keys import LaneKeys
from tests.faulty_proxy import FaultyProxy
from tests.support import OwnValkey, eventually

OwnServer = Callable[..., Awaitable[OwnValkey]]
KEYS = LaneKeys("mail.normal")
USUAL = 0.1
AMPLE = 10.0
"""Seconds, for a server that does answer: it is the answer that is looked at, however slow the machine."""
A_HANG = 20.0
"""Seconds; a machine under load may need longer than the budget, but not for ever."""


@dataclass(frozen=True)
class Note:
    kind: ClassVar[str] = "note.take"
    lane: ClassVar[str] = "mail.normal"

    text: str

    def fingerprint(self) -> str:
        return self.text

    def compose(self, *, job_id: str, now: datetime) -> Mapping[str, object]:
        del job_id, now
        return {"text": self.text}


NOTES = [Note("b"), Note("c")]
CALLS: tuple[Callable[[Producer], Awaitable[object]], ...] = (
    lambda producer: producer.send(Note("a"), key="a"),
    lambda producer: producer.send_many(NOTES, keys=["b", "c"]),
    lambda producer: producer.refresh("sales"),
)


@asynccontextmanager
async def clients(server: OwnValkey, *, budget: float = USUAL) -> AsyncIterator[tuple[Producer, Redis]]:
    """A producer that has spoken to the server before, and a patient client beside it."""
    async with Producer.connect(server.url, budget=budget) as producer, Redis.from_url(server.url) as redis:
        await eventually(lambda: succeeds(lambda: producer.send(Note("before"), key="before")))
        yield producer, redis


async def succeeds(call: Callable[[], Awaitable[object]]) -> bool:
    with suppress(NotEnqueued):
        await call()
        return True
    return False


async def every_call_raises(producer: Producer, error: type[NotEnqueued]) -> None:
    """One after the other, and many at once."""
    async with asyncio.timeout(A_HANG):
        for call in CALLS:
            with pytest.raises(error):
                await call(producer)
        together = [call(producer) for call in CALLS * 10]
        outcomes = await asyncio.gather(*together, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {error}


async def every_call_succeeds_again(producer: Producer, redis: Redis) -> None:
    """By the same producer, and with the same keys, so that there is one job of each in the end."""
    for call in CALLS:
        await eventually(lambda call=call: succeeds(lambda: call(producer)))
    jobs = await redis.zrange(KEYS.queue, 0, -1)
    assert len(jobs) == 4
    assert await redis.exists(*(b"arq:job:" + job for job in jobs)) == 4
    assert await redis.hget(KEYS.counters, "accepted:mail.normal") == b"4"
    assert await redis.zcard(LaneKeys("reports").queue) == 1


async def test_a_killed_server_fails_each_call_in_time_and_takes_them_when_it_is_back(
    own_valkey: OwnServer,
) -> None:
    server = await own_valkey()
    async with clients(server) as (producer, redis):
        await server.kill()
        await every_call_raises(producer, RedisUnavailable)
        await server.start()
        await every_call_succeeds_again(producer, redis)


async def test_a_server_that_was_never_there_fails_each_call_in_time(own_valkey: OwnServer) -> None:
    server = await own_valkey()
    await server.kill()
    async with Producer.connect(server.url) as producer:
        await every_call_raises(producer, RedisUnavailable)


async def test_a_frozen_server_fails_each_call_in_time_and_takes_them_when_it_goes_on(
    own_valkey: OwnServer,
) -> None:
    server = await own_valkey()
    async with clients(server) as (producer, redis):
        server.pause()
        try:
            await every_call_raises(producer, RedisUnavailable)
        finally:
            server.resume()
        await every_call_succeeds_again(producer, redis)


@pytest.mark.parametrize("make", [Producer.connect, lambda url: Producer(Redis.from_url(url))])
async def test_a_frozen_server_fails_each_call_in_time_at_the_first_connection_too(
    own_valkey: OwnServer, make: Callable[[str], Producer]
) -> None:
    """Also by a client of the caller's own, which would wait for ever."""
    server = await own_valkey()
    server.pause()
    try:
        async with make(server.url) as producer:
            await every_call_raises(producer, RedisUnavailable)
    finally:
        server.resume()


async def test_a_server_at_its_memory_limit_is_full_and_takes_nothing_by_halves(own_valkey: OwnServer) -> None:
    server = await own_valkey("--maxmemory", "8mb")
    async with clients(server, budget=AMPLE) as (producer, redis):
        await fill(redis)
        before = sorted(await redis.keys())
        await every_call_raises(producer, QueueFull)
        assert sorted(await redis.keys()) == before
        assert await redis.zcard(KEYS.queue) == 1
        await redis.delete(*(key for key in before if key.startswith(b"filler:")))
        await every_call_succeeds_again(producer, redis)


async def fill(redis: Redis) -> None:
    for size in (64 * 1024, 1024, 1):
        for number in range(10_000):
            try:
                await redis.set(f"filler:{size}:{number}", b"x" * size)
            except OutOfMemoryError:
                break


@pytest.mark.parametrize("stale", ["yes", "no"])
async def test_a_replica_fails_each_call_in_time_until_it_is_a_primary_again(
    own_valkey: OwnServer, stale: str
) -> None:
    server = await own_valkey("--replica-serve-stale-data", stale)
    async with clients(server, budget=AMPLE) as (producer, redis):
        await redis.replicaof("127.0.0.1", "1")  # a master that is not there
        await every_call_raises(producer, RedisUnavailable)
        await redis.replicaof("NO", "ONE")
        await every_call_succeeds_again(producer, redis)


async def test_a_primary_without_the_replicas_it_must_have_fails_each_call_until_it_needs_none(
    own_valkey: OwnServer,
) -> None:
    server = await own_valkey()
    async with clients(server, budget=AMPLE) as (producer, redis):
        await redis.config_set("min-replicas-to-write", 1)
        await every_call_raises(producer, RedisUnavailable)
        await redis.config_set("min-replicas-to-write", 0)
        await every_call_succeeds_again(producer, redis)


async def test_a_server_that_loads_its_data_fails_each_call_in_time_and_takes_them_afterwards(
    own_valkey: OwnServer,
) -> None:
    """The load is made slow, 1 ms a key, until the calls have been made."""
    server = await own_valkey("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
    async with clients(server, budget=AMPLE) as (producer, redis):
        await redis.mset({f"filler:{number}": "x" * 500 for number in range(20_000)})
        await redis.execute_command("BGREWRITEAOF")  # type: ignore[no-untyped-call]
        await eventually(lambda: rewritten(redis))
        await server.kill()
        starting = asyncio.create_task(server.start())
        await eventually(lambda: is_loading(redis))
        await every_call_raises(producer, RedisUnavailable)
        await redis.config_set("key-load-delay", 0)
        await starting
        await every_call_succeeds_again(producer, redis)


async def rewritten(redis: Redis) -> bool:
    facts = await redis.info("persistence")
    return not (facts["aof_rewrite_in_progress"] or facts["aof_rewrite_scheduled"])


async def is_loading(redis: Redis) -> bool:
    with suppress(RedisConnectionError):
        return bool((await redis.info("persistence"))["loading"])
    return False


@pytest.mark.long
async def test_a_server_that_cannot_save_fails_each_call_in_time_until_it_can(own_valkey: OwnServer) -> None:
    server = await own_valkey("--save", "3600 1")
    in_its_way = server.directory / "dump.rdb" / "not empty"
    async with clients(server, budget=AMPLE) as (producer, redis):
        in_its_way.mkdir(parents=True)
        await eventually(lambda: refuses_writes(redis), timeout=30)
        await every_call_raises(producer, RedisUnavailable)
        in_its_way.rmdir()
        in_its_way.parent.rmdir()
        with suppress(RedisError):  # one is under way
            await redis.bgsave()
        await every_call_succeeds_again(producer, redis)


async def refuses_writes(redis: Redis) -> bool:
    try:
        await redis.set("probe", "1")
    except RedisError as error:
        return str(error).startswith("MISCONF")
    with suppress(RedisError):  # one is under way
        await redis.bgsave()
    return False


async def test_a_server_that_lost_its_data_takes_the_same_keys_again(own_valkey: OwnServer) -> None:
    server = await own_valkey("--appendonly", "no")
    async with clients(server) as (producer, redis):
        await server.kill()
        await every_call_raises(producer, RedisUnavailable)
        await server.start()
        await eventually(lambda: succeeds(lambda: producer.send(Note("before"), key="before")))
        await every_call_succeeds_again(producer, redis)


# The way to the server


FAULTS: Mapping[str, Callable[[FaultyProxy], object]] = {
    "nothing is carried": lambda proxy: proxy.stall(),
    "a reply stops in its middle": lambda proxy: proxy.limit(450),
    "requests are swallowed": lambda proxy: proxy.swallow("to_server"),
    "replies are swallowed": lambda proxy: proxy.swallow("to_client"),
    "nobody listens": lambda proxy: proxy.refuse(),
}


@asynccontextmanager
async def behind_a_proxy(
    server: OwnValkey, *, budget: float = USUAL
) -> AsyncIterator[tuple[Producer, FaultyProxy]]:
    async with (
        FaultyProxy(server.port) as proxy,
        Producer.connect(f"redis://127.0.0.1:{proxy.port}", budget=budget) as producer,
        Redis.from_url(server.url) as redis,
    ):
        await eventually(lambda: succeeds(lambda: producer.send(Note("before"), key="before")))
        yield producer, proxy
        proxy.let_pass()
        await every_call_succeeds_again(producer, redis)


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_broken_way_fails_each_call_in_time_and_carries_them_when_it_is_mended(
    own_valkey: OwnServer, fault: str
) -> None:
    async with behind_a_proxy(await own_valkey()) as (producer, proxy):
        begun = FAULTS[fault](proxy)
        if isawaitable(begun):
            await begun
        await every_call_raises(producer, RedisUnavailable)
        if fault == "nobody listens":
            await proxy.accept()


async def test_a_connection_that_is_reset_costs_the_calls_on_it_and_no_other(own_valkey: OwnServer) -> None:
    async with behind_a_proxy(await own_valkey(), budget=AMPLE) as (producer, proxy):
        proxy.stall()
        calls = [asyncio.create_task(producer.send(Note("a"), key="a")) for _ in range(10)]
        await asyncio.sleep(0)  # they are sent
        proxy.cut()
        told = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(one) for one in told} == {RedisUnavailable}


# Rights, and batches


async def test_a_user_without_the_right_is_told_so(own_valkey: OwnServer) -> None:
    server = await own_valkey()
    async with clients(server, budget=AMPLE) as (_, redis):
        await redis.acl_setuser("backend", enabled=True, passwords=["+made-up"], categories=["+@read"], keys=["*"])
        url = server.url.replace("redis://", "redis://backend:made-up@")
        async with Producer.connect(url, budget=AMPLE) as producer:
            await every_call_raises(producer, NotEnqueued)
            with pytest.raises(NotEnqueued, match="rights"):
                await producer.send(Note("a"))
        assert await redis.zcard(KEYS.queue) == 1


async def test_what_earlier_thousands_queued_is_told_when_a_later_one_fails(own_valkey: OwnServer) -> None:
    server = await own_valkey("--maxmemory", "16mb")
    async with Producer.connect(server.url, budget=AMPLE) as producer, Redis.from_url(server.url) as redis:
        notes = [Note(f"{number}:" + "x" * 5000) for number in range(4000)]
        with pytest.raises(QueueFull) as failure:
            await producer.send_many(notes, keys=[note.text[:9] for note in notes])
        receipts = failure.value.receipts
        assert receipts
        assert [receipt.id.encode() for receipt in receipts] == await redis.zrange(KEYS.queue, 0, -1)
        await redis.config_set("maxmemory", 0)
        again = await producer.send_many(notes, keys=[note.text[:9] for note in notes])
        assert again[: len(receipts)] == [
            type(receipt)(receipt.id, receipt.kind, receipt.lane, "duplicate") for receipt in receipts
        ]
        assert await redis.zcard(KEYS.queue) == len(notes)
