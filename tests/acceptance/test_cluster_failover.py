"""A failover in the middle of mails: with marks on a replica no held mail leaves twice, and doubts are listed."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from jobs import Mail
from jobs.lanes import MAIL_NORMAL
from ops.depth.read import read_depth
from ops.mail.uncertain import list_uncertain
from producers import Producer
from producers.keys import LaneKeys
from producers.link.client import connect
from tests.delivering import delivering
from tests.provider import Provider
from tests.support import eventually
from tests.topologies import Cluster, cluster

KEYS = LaneKeys(MAIL_NORMAL)
PATIENCE = 60.0
COUNT = 600
LETTERS = [Mail(to=f"u{n}@example.com", subject="Hola", text="Hola", stream="code") for n in range(COUNT)]


@pytest.fixture
async def six() -> AsyncIterator[Cluster]:
    async with cluster(replicas=1) as formed:
        yield formed


async def is_over(redis: Redis) -> bool:
    """Whether nothing waits or runs but what waits for people."""
    try:
        lanes = (await read_depth(redis, tenant="default")).lanes
    except (RedisError, OSError):
        return False
    return not any(lane.ready or lane.leased or lane.scheduled > lane.parked for lane in lanes)


async def parked(redis: Redis) -> set[str]:
    return {job_id.decode() for job_id in await redis.hkeys(KEYS.parked)}


async def nothing_twice_and_all_listed(redis: Redis, provider: Provider) -> None:
    waiting = await parked(redis)
    listed, total = await list_uncertain(redis, limit=1_000)
    assert provider.duplicates == 0
    assert len(provider.mails) + len(waiting) >= COUNT, "lost"
    assert waiting <= {one.id for one in listed if one.state == "uncertain"}
    assert total == len(listed)


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_after_forced_failovers_no_held_mail_left_twice_and_every_doubt_is_listed(six: Cluster) -> None:
    async with (
        Provider(seconds=0.02) as provider,
        Producer.connect(six.url, budget=5, confirm_replicas=1) as producer,
        connect(six.url) as redis,
    ):
        await producer.send_many(LETTERS)
        async with delivering(six.url, provider, confirm_replicas=1):
            for at in (50, 200, 350):
                await eventually(lambda at=at: provider.accepted >= at, timeout=PATIENCE)
                await fail_over(six)
            await eventually(lambda: is_over(redis), timeout=PATIENCE)
        await nothing_twice_and_all_listed(redis, provider)


async def fail_over(six: Cluster) -> None:
    """The replica takes over without asking its primary, which becomes its replica."""
    old = await six.owner(KEYS.tag)
    heir = await six.replica_of(old)
    await eventually(lambda: is_forced(six, heir), timeout=PATIENCE)
    await eventually(lambda: six.took_over(heir, KEYS.tag), timeout=PATIENCE)
    await eventually(lambda: follows(six, heir), timeout=PATIENCE)


async def is_forced(six: Cluster, heir: str) -> bool:
    try:
        return bool(await six.ask(heir, "CLUSTER", "FAILOVER", "FORCE"))
    except ResponseError:
        return False


async def follows(six: Cluster, primary: str) -> bool:
    """Whether the primary has a replica again."""
    async with Redis(port=six.nodes[primary]) as node:
        found = await node.info("replication")
    return any(isinstance(one, dict) and one.get("state") == "online" for one in found.values())


@pytest.mark.long
@pytest.mark.timeout(240)
async def test_after_the_loss_of_the_primary_no_held_mail_left_twice_and_every_doubt_is_listed(
    six: Cluster,
) -> None:
    async with (
        Provider(seconds=0.02, silent=40) as provider,
        Producer.connect(six.url, budget=5, confirm_replicas=1) as producer,
        connect(six.url) as redis,
    ):
        await producer.send_many(LETTERS)
        lost = await six.owner(KEYS.tag)
        heir = await six.replica_of(lost)
        async with delivering(six.url, provider, confirm_replicas=1):
            await eventually(lambda: provider.accepted >= COUNT // 3, timeout=PATIENCE)
            await six.kill(lost)
            await eventually(lambda: six.took_over(heir, KEYS.tag), timeout=PATIENCE)
            await six.start(lost)  # as a replica of its heir: marks are confirmed again
            await eventually(lambda: is_over(redis), timeout=PATIENCE)
        await nothing_twice_and_all_listed(redis, provider)
