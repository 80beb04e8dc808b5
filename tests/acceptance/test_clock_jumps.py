"""Redis's clock is put back, by hours or by a failover: nothing is held for longer than it was to be."""

from collections.abc import Iterator
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from producers.entry import JobEntry
from producers.keys import LaneKeys, mail_permits
from producers.link import Link
from reports.store import ReportStore
from tests.model.clock import step_clock
from tests.model.product import Product
from tests.model.wire import Wire
from tests.notes import LANE
from worker.mail.accounts.gate import Gate

LEASE = 10_000
HOURS = 48 * 3_600_000
KEYS = LaneKeys(LANE)
PAYLOAD = b'{"v":1,"n":1}'


@pytest.fixture
def wire(valkey_url: str) -> Iterator[Wire]:
    wire = Wire(urlsplit(valkey_url).port or 0)
    yield wire
    wire.close()


def claimed(product: Product, worker: str, number: int) -> list[str]:
    return [one.id for one in product.claim(worker, number, LANE, 10)[0]]


def test_the_job_of_a_worker_that_was_killed_before_runs_again_after_one_lease(wire: Wire) -> None:
    product = Product(wire, lease=LEASE, crash_limit=3)
    product.enqueue(LANE, [JobEntry("{mail}1", PAYLOAD, 0)])
    assert claimed(product, "killed", 1) == ["{mail}1"]
    step_clock(wire, -HOURS)
    assert claimed(product, "other", 1) == []
    step_clock(wire, LEASE)
    assert claimed(product, "other", 2) == ["{mail}1"]


def test_the_job_of_a_worker_that_lives_stays_its_own(wire: Wire) -> None:
    product = Product(wire, lease=LEASE, crash_limit=3)
    product.enqueue(LANE, [JobEntry("{mail}1", PAYLOAD, 0)])
    (claim,), _ = product.claim("living", 1, LANE, 10)
    step_clock(wire, -HOURS)
    assert claimed(product, "other", 1) == []
    assert product.renew(LANE, [(claim.id, claim.token)]) == ([], [])
    step_clock(wire, LEASE - 1_000)
    assert claimed(product, "other", 2) == []
    assert product.finish(LANE, [(claim, "done", 0, b"")]) == [1]


async def test_a_permit_of_a_worker_that_was_killed_before_is_free_after_its_life(
    valkey_url: str, redis: Redis
) -> None:
    link = Link(valkey_url)
    seconds, _ = await redis.time()
    await redis.zadd(mail_permits("main"), {"killed-1": seconds * 1000 + HOURS})
    assert not await Gate(link, "main", connections=1).take_permit()
    assert await redis.zscore(mail_permits("main"), "killed-1") <= seconds * 1000 + 60_000
    await link.close()


async def test_a_prober_that_was_killed_before_keeps_no_other_from_looking(redis: Redis) -> None:
    store = ReportStore(redis, tenant="default")
    assert await store.take_prober_lease("killed", ["sales"], lasting=timedelta(seconds=3))
    (key,) = [name async for name in redis.scan_iter("momentus:{reports}:prober:*")]
    await redis.pexpire(key, HOURS)
    assert not await store.take_prober_lease("other", ["sales"], lasting=timedelta(seconds=3))
    assert await redis.pttl(key) <= 3_000
