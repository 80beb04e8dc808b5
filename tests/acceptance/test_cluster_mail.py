"""Mail on a cluster of three, many mails at a time: what holds on one server holds there.

Nothing fails here, so nothing may be uncertain.
"""

from collections.abc import Sequence

import pytest
from redis.asyncio import Redis

from jobs import Mail
from ops.depth.read import read_depth
from ops.mail.uncertain import list_uncertain
from producers import Producer
from producers.link.client import connect
from tests.delivering import delivering
from tests.provider import Provider
from tests.support import eventually


def mails(count: int, stream: str | None) -> Sequence[Mail]:
    return [
        Mail(to=f"u{number}@example.com", subject="Hola", text="Buenos días", stream=stream)
        for number in range(count)
    ]


async def all_arrive(url: str, count: int, stream: str | None) -> None:
    async with Provider() as provider, Producer.connect(url, budget=5) as producer, connect(url) as redis:
        await producer.send_many(mails(count, stream))
        async with delivering(url, provider):
            await eventually(lambda: provider.accepted >= count, timeout=120)
            await eventually(lambda: is_over(redis, count), timeout=20)
        assert (provider.accepted, provider.duplicates) == (count, 0)
        assert await list_uncertain(redis, limit=1) == ([], 0)
        depth = await read_depth(redis, tenant="default")
        assert depth.conserved
        assert not any(lane.uncertain or lane.parked or lane.dead for lane in depth.lanes)


async def is_over(redis: Redis, count: int) -> bool:
    """Whether every outcome is recorded."""
    lanes = (await read_depth(redis, tenant="default")).lanes
    return sum(lane.done + lane.dead + lane.parked for lane in lanes) == count


@pytest.mark.parametrize("stream", ["code", None])
async def test_every_mail_arrives_once_and_none_is_uncertain(cluster_url: str, stream: str | None) -> None:
    await all_arrive(cluster_url, 100, stream)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("stream", ["code", None])
async def test_fifteen_hundred_mails_arrive_once_and_none_is_uncertain(
    cluster_url: str, stream: str | None
) -> None:
    await all_arrive(cluster_url, 1_500, stream)
