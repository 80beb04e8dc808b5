"""Every class that backends hold finds the primary alike: behind sentinels that hang or lie, and on a cluster."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from local.embedded.ports import free_port
from producers import RedisUnavailable
from reader.guard_of_cluster import ClusterGuard
from sessions import Sessions, SessionsUnavailable
from sessions.token import tag_of
from tests.callers import Ask, asker
from tests.false_sentinel import false_sentinel
from tests.support import OwnValkey, eventually
from tests.topologies import Cluster, lasting_cluster

KINDS = ["Producer", "SyncProducer", "Sessions", "SyncSessions"]
BUDGET = 1.0
"""Seconds for a call: no more than a client might give a single question, so that none may wait for one."""

Servers = Callable[..., Awaitable[OwnValkey]]
Refuse = (RedisUnavailable, SessionsUnavailable)


# Sentinels


@asynccontextmanager
async def calling(kind: str, *sentinels: int) -> AsyncIterator[Ask]:
    """The calls of one class, told of sentinels in this order."""
    hosts = ",".join(f"127.0.0.1:{port}" for port in sentinels)
    async with AsyncExitStack() as stack:
        yield await asker(stack, kind, f"sentinel://{hosts}/momentus/0", seconds=BUDGET)


async def hangs(_stack: AsyncExitStack, _start: Servers, _primary: int) -> int | None:
    return None


async def names_a_dead_address(_stack: AsyncExitStack, _start: Servers, _primary: int) -> int:
    return free_port()


async def names_a_server_that_hangs(stack: AsyncExitStack, _start: Servers, _primary: int) -> int:
    return await stack.enter_async_context(false_sentinel(lambda: None))


async def names_a_replica(_stack: AsyncExitStack, start: Servers, primary: int) -> int:
    return (await start("--replicaof", "127.0.0.1", str(primary))).port


async def knows_no_such_service(_stack: AsyncExitStack, _start: Servers, _primary: int) -> int:
    return 0


FAULTS = [hangs, names_a_dead_address, names_a_server_that_hangs, names_a_replica, knows_no_such_service]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: one.__name__)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_succeeds_in_its_time_when_one_sentinel_of_three_is_honest(
    kind: str, fault: Callable[..., Awaitable[int | None]], valkey_url: str, own_valkey: Servers
) -> None:
    primary = urlsplit(valkey_url).port or 0
    async with AsyncExitStack() as stack:
        told = await fault(stack, own_valkey, primary)
        first, second = [await stack.enter_async_context(false_sentinel(lambda: told)) for _ in range(2)]
        honest = await stack.enter_async_context(false_sentinel(lambda: primary))
        async with calling(kind, first, second, honest) as call:
            assert await call()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_follows_a_primary_that_has_become_a_replica(kind: str, own_valkey: Servers) -> None:
    """The connection to it is sound, and it refuses what it cannot do, so the call goes on to the other."""
    before, after = [await own_valkey("--shutdown-timeout", "0") for _ in range(2)]
    primary = before.port
    async with false_sentinel(lambda: primary) as sentinel, calling(kind, sentinel) as call:
        assert await call()
        async with Redis(port=before.port) as server:
            await server.replicaof("127.0.0.1", str(after.port))
        primary = after.port
        assert await call()
        async with Redis(port=after.port) as server:
            assert await server.dbsize()


@pytest.mark.parametrize("kind", KINDS)
async def test_without_an_honest_sentinel_a_call_is_refused_by_its_type_and_goes_on_with_the_next_honest_word(
    kind: str, valkey_url: str
) -> None:
    told: int | None = free_port()
    async with false_sentinel(lambda: told) as sentinel, calling(kind, sentinel) as call:
        with pytest.raises(Refuse):
            await call()
        told = None
        with pytest.raises(Refuse):
            await call()
        told = urlsplit(valkey_url).port
        assert await eventually(lambda: answered(call))


async def answered(call: Ask) -> bool:
    try:
        return bool(await call())
    except Refuse:  # a search that began before is still under way
        return False


# Slots


@pytest.fixture(scope="module")
def three() -> Iterator[Cluster]:
    with lasting_cluster() as formed:
        yield formed


def tag_for(kind: str) -> str:
    """Of the keys that a call of this class uses."""
    return "{mail}" if kind.endswith("Producer") else f"{{s:{tag_of('u-1')}}}"


@asynccontextmanager
async def on_its_way(formed: Cluster, tag: str) -> AsyncIterator[tuple[str, str]]:
    """The slot of a tag leaves one node for another key by key; the names of both."""
    slot, source = key_slot(tag.encode()), await formed.owner(tag)
    target = next(name for name in formed.nodes if name != source)
    number = {name: (await formed.ask(name, "CLUSTER", "MYID")).decode() for name in (source, target)}
    await formed.ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", number[source])
    await formed.ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", number[target])
    try:
        yield source, target
    finally:
        for name in (source, target):
            await formed.ask(name, "CLUSTER", "SETSLOT", slot, "STABLE")


async def move(formed: Cluster, tag: str) -> None:
    """Let another node have the slot, with all that lies in it, at once."""
    slot = key_slot(tag.encode())
    async with on_its_way(formed, tag) as (source, target):
        for key in await formed.ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 10_000):
            await formed.ask(source, "MIGRATE", "127.0.0.1", formed.nodes[target], key.decode(), 0, 5000)
        number = (await formed.ask(target, "CLUSTER", "MYID")).decode()
        for name in (target, source):
            await formed.ask(name, "CLUSTER", "SETSLOT", slot, "NODE", number)


@pytest.mark.parametrize("kind", KINDS)
async def test_no_call_fails_when_its_slot_is_with_another_node(kind: str, three: Cluster) -> None:
    async with AsyncExitStack() as stack:
        call = await asker(stack, kind, three.url, seconds=BUDGET)
        for _ in range(3):  # MOVED, but for the first
            assert await call()
            await move(three, tag_for(kind))
        assert await call()


@pytest.mark.parametrize("kind", KINDS)
async def test_while_a_slot_moves_key_by_key_a_call_does_nothing_and_says_so(kind: str, three: Cluster) -> None:
    """ASK and TRYAGAIN: a script that began would end in its middle."""
    tag = tag_for(kind)
    slot = key_slot(tag.encode())
    async with AsyncExitStack() as stack:
        call = await asker(stack, kind, three.url, seconds=BUDGET)
        assert await call()
        async with on_its_way(three, tag) as (source, target):
            before = await three.ask(source, "CLUSTER", "COUNTKEYSINSLOT", slot)
            with pytest.raises(Refuse):
                await call()
            assert await three.ask(source, "CLUSTER", "COUNTKEYSINSLOT", slot) == before
            assert await three.ask(target, "CLUSTER", "COUNTKEYSINSLOT", slot) == 0
        assert await call()


async def test_a_reader_sees_a_session_that_has_gone_ahead_of_its_slot(three: Cluster) -> None:
    sessions = Sessions.connect(three.url, deadline=timedelta(seconds=BUDGET))
    guard = ClusterGuard(three.url, deadline=timedelta(seconds=BUDGET))
    token, session = await sessions.create("u-1", {"roots": [7]})
    async with on_its_way(three, tag_for("Sessions")) as (source, target):
        key = session.place.session_key
        await three.ask(source, "MIGRATE", "127.0.0.1", three.nodes[target], key, 0, 5000)
        asked = await guard.send_query(token)
        assert asked is not None
        assert await guard.roots(token, asked) == {"7"}
    await guard.close()
    await sessions.close()


async def test_sessions_of_any_number_of_users_share_one_connection_to_each_primary(three: Cluster) -> None:
    before = {name: await connections(three, name) for name in three.nodes}
    sessions = Sessions.connect(three.url, deadline=timedelta(seconds=BUDGET))
    for number in range(50):
        await sessions.create(f"u-{number}", {})
    for name in three.nodes:
        assert await connections(three, name) - before[name] <= 1
    await sessions.close()


async def connections(formed: Cluster, name: str) -> int:
    async with Redis(port=formed.nodes[name]) as node:
        return len([one for one in await node.client_list() if one["flags"] == "N"])
