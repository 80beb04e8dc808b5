"""Large sets: stored in parts that are small, visible at once, and gone without a trace when nobody ends them."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from redis.asyncio import Redis

from producers.link.client import connect
from reports.compress import SMALLEST
from reports.document import Document, microseconds
from reports.keys import closed, snapshot, staged, staging
from reports.node_ids import NodeId
from reports.staging import BYTES, DIRECT_SCOPES, SCOPES
from reports.store import NewSet, ReportStore
from worker.reports.history import days_past_keep, days_to_close
from worker.reports.refresh_context import publish_set

pytestmark = [pytest.mark.on_cluster_too, pytest.mark.usefixtures("staged_soon")]
KEY = snapshot("default", "sales")
BEGAN = datetime.now(UTC)
Numbers = Mapping[int, int]
"""A number for each node."""


@pytest.fixture
async def redis(valkey_url: str) -> Any:
    client = connect(valkey_url, seconds=5)
    yield client
    await client.aclose()


@pytest.fixture
def store(redis: Redis) -> ReportStore:
    return ReportStore(redis, tenant="default")


@pytest.fixture
def staged_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stage sets of which more than a part has changed, so that small sets are enough to see it."""
    monkeypatch.setattr("reports.staging.DIRECT_SCOPES", SCOPES)


def new_set(second: int, numbers: Numbers, *, day: str = "", keep: timedelta = timedelta(0)) -> NewSet:
    """Documents of even numbers are large enough for variants."""
    at = BEGAN + timedelta(seconds=second)
    documents: dict[NodeId, Document] = {scope: document(scope, number, at) for scope, number in numbers.items()}
    times = {"as_of_us": microseconds(at), "verified_us": microseconds(at), "valid_until_us": None}
    meta = {**times, "cost_ms": 1.0, "snapshot": "1:1:", "number": second}
    return NewSet(report="sales", as_of=at, documents=documents, meta=meta, day=day, keep=keep)


def document(scope: int, number: int, at: datetime) -> Document:
    body = orjson.dumps({"scope": scope, "number": number, "filling": "x" * SMALLEST * (number % 2 == 0)})
    head = orjson.dumps({"etag": f"{number:016x}", "path": [1, scope], "as_of_us": microseconds(at)})
    return Document(f"{number:016x}", body, head)


def histories(seed: int) -> Iterator[Numbers]:
    """Sets of one report, one after the other: nodes change, go and come back, few or many at a time."""
    chance = random.Random(seed)  # noqa: S311  a history, no secret
    numbers = dict.fromkeys(range(1, chance.choice([20, SCOPES + 1, 300])), 0)
    for number in range(1, 12):
        share = chance.choice([0, 0.02, 0.4, 1])
        for scope in range(1, 301):
            if chance.random() < share:
                numbers.pop(scope, None)
                if chance.random() < 0.7:
                    numbers[scope] = number
        yield dict(numbers)


async def content(redis: Redis, key: str) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = await redis.hgetall(key)
    return found


@pytest.mark.parametrize("seed", range(6))
async def test_a_set_that_is_stored_in_parts_is_the_same_as_one_stored_where_it_stands(
    redis: Redis, store: ReportStore, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    other = ReportStore(redis, tenant="whole")
    for second, numbers in enumerate(histories(seed)):
        new = new_set(second, numbers)
        assert (await publish_set(store, new))["state"] == "stored"
        with monkeypatch.context() as patch:
            patch.setattr("reports.staging.DIRECT_SCOPES", 10_000)
            patch.setattr("reports.staging.BYTES", 10**9)
            await publish_set(other, new)
        assert await content(redis, KEY) == await content(redis, snapshot("whole", "sales"))
        stored = await store.read_set("sales")
        assert stored.etags == {scope: one.etag for scope, one in new.documents.items()}
        assert not await redis.exists(staging("default"))


async def test_no_call_carries_more_than_a_part(store: ReportStore) -> None:
    calls: list[list[Any]] = []
    with_calls_noted(store, calls.append)
    await publish_set(store, new_set(1, dict.fromkeys(range(1, 2000), 2)))
    await publish_set(store, new_set(2, dict.fromkeys(range(1, 2000), 4)))
    await publish_set(store, new_set(3, dict.fromkeys(range(1, 1000), 4)))  # the others are gone
    assert len(calls) > 3 * 1000 / SCOPES
    for arguments in calls:
        assert len(arguments) < 10 * SCOPES
        assert sum(len(one) for one in arguments if isinstance(one, bytes)) < 2 * BYTES


@pytest.mark.parametrize(("changes", "calls"), [(DIRECT_SCOPES, 1), (DIRECT_SCOPES + 1, 9 + 55 + 1)])
async def test_a_few_changes_of_a_large_set_are_stored_by_one_call_and_nothing_is_copied(
    store: ReportStore, monkeypatch: pytest.MonkeyPatch, changes: int, calls: int
) -> None:
    monkeypatch.setattr("reports.staging.DIRECT_SCOPES", DIRECT_SCOPES)
    await publish_set(store, new_set(1, dict.fromkeys(range(2000), 1)))
    noted: list[list[Any]] = []
    with_calls_noted(store, noted.append)
    await publish_set(store, new := new_set(2, {scope: 3 if scope < changes else 1 for scope in range(2000)}))
    assert len(noted) == calls
    assert (await store.read_set("sales")).etags == {scope: one.etag for scope, one in new.documents.items()}


async def test_a_document_larger_than_a_part_goes_alone(store: ReportStore, redis: Redis) -> None:
    new = new_set(1, {1: 2, 2: 2})
    large = Document("f" * 16, b"x" * (2 * BYTES), b'{"etag":"ffffffffffffffff","path":[1],"as_of_us":1}')
    await publish_set(
        store, NewSet(report="sales", as_of=new.as_of, documents={**new.documents, 3: large}, meta=new.meta)
    )
    assert await redis.hget(KEY, "3") == large.body


def with_calls_noted(store: ReportStore, note: Callable[[list[Any]], None]) -> None:
    """Note the arguments of each call that writes."""
    for name in ("_stage", "_publish"):
        script = getattr(store, name)

        async def noted(keys: Any, args: list[Any], script: Any = script) -> Any:
            note(args)
            return await script(keys=keys, args=args)

        setattr(store, name, noted)


def before_part(store: ReportStore, number: int, meanwhile: Callable[[], Awaitable[object]]) -> None:
    """Let something happen before the n-th part is sent, once."""
    script = store._stage
    sent = 0

    async def interrupted(keys: Any, args: Any) -> Any:
        nonlocal sent
        sent += 1
        if sent == number:
            await meanwhile()
        return await script(keys=keys, args=args)

    store._stage = interrupted  # type: ignore[assignment]


@pytest.mark.parametrize("number", [1, 2, 4, 6])
async def test_what_is_lost_while_a_set_is_put_together_has_it_put_together_again(
    redis: Redis, store: ReportStore, number: int
) -> None:
    await publish_set(store, new_set(1, dict.fromkeys(range(1, 300), 2)))
    numbers = {scope: 4 if scope < 200 else 2 for scope in range(1, 300)}

    async def everything_is_lost() -> None:
        async for key in redis.scan_iter("momentus:{reports}:*"):
            await redis.delete(key)

    before_part(store, number, everything_is_lost)
    facts = await publish_set(store, new := new_set(2, numbers))
    assert facts["state"] == "stored"
    stored = await store.read_set("sales")
    assert stored.etags == {scope: one.etag for scope, one in new.documents.items()}
    assert (await content(redis, KEY))[b"250"] == new.documents[250].body


@pytest.mark.parametrize("changes", [3, 200])
async def test_of_two_workers_that_store_at_once_the_later_state_stays_whole(
    redis: Redis, store: ReportStore, changes: int
) -> None:
    await publish_set(store, new_set(1, dict.fromkeys(range(1, 300), 2)))
    other = ReportStore(redis, tenant="default")
    later = new_set(3, {scope: 6 if scope < changes else 2 for scope in range(1, 300)})
    before_part(store, 3, lambda: publish_set(other, later))
    facts = await publish_set(store, new_set(2, dict.fromkeys(range(1, 300), 4)))
    assert facts["state"] == "superseded"
    assert (await other.read_set("sales")).etags == {scope: one.etag for scope, one in later.documents.items()}
    assert [key async for key in redis.scan_iter("momentus:{reports}:staged:*")] == []


async def test_a_worker_that_dies_half_way_leaves_the_former_set_and_nothing_that_lasts(
    redis: Redis, store: ReportStore
) -> None:
    await publish_set(store, new_set(1, dict.fromkeys(range(1, 300), 2)))
    former = await content(redis, KEY)

    async def die() -> None:
        raise asyncio.CancelledError

    before_part(store, 3, die)
    with pytest.raises(asyncio.CancelledError):
        await publish_set(store, new_set(2, dict.fromkeys(range(1, 300), 4)))
    assert await content(redis, KEY) == former
    (left,) = [key async for key in redis.scan_iter("momentus:{reports}:staged:*")]
    assert 0 < await redis.pttl(left) <= 600_000
    assert 0 < await redis.pttl(staging("default")) <= 600_000
    assert await store.remove_left_behind() == 0, "a set that got a part a moment ago is somebody's"
    await redis.pexpire(left, 539_000)  # a minute later
    assert await store.remove_left_behind() == 1
    assert not await redis.exists(left, staging("default"))
    assert (await publish_set(store, new_set(3, {1: 2})))["state"] == "stored"


async def test_a_closed_day_that_is_stored_in_parts_lives_as_long_as_any(redis: Redis, store: ReportStore) -> None:
    for second in (1, 2):
        numbers = dict.fromkeys(range(1, 300), 2 * second)
        await publish_set(store, new_set(second, numbers, day="2026-01-02", keep=timedelta(hours=1)))
        assert 3_500_000 < await redis.pttl(closed("default", "sales", "2026-01-02")) <= 3_600_000
    assert await redis.exists(KEY, staged("default", "sales", "")) == 0


async def test_days_past_their_keep_are_removed_and_none_that_is_kept(redis: Redis, store: ReportStore) -> None:
    now, keep = datetime(2026, 3, 9, 9, tzinfo=UTC), timedelta(days=2)
    for day in range(1, 9):
        new = new_set(day, {1: 2}, day=f"2026-03-0{day}", keep=timedelta(hours=1))
        await publish_set(store, new)
    past = [day.isoformat() for day in days_past_keep(now, ZoneInfo("UTC"), keep=keep)]
    await store.remove_days("sales", past)
    kept = [day for day in range(1, 9) if await redis.exists(closed("default", "sales", f"2026-03-0{day}"))]
    assert kept == [7, 8], "the 7th ended on the 8th at midnight, two days before the 10th"
    closing = days_to_close(now, ZoneInfo("UTC"), window=timedelta(days=9), keep=keep)
    assert not {day.isoformat() for day in closing} & set(past)


async def test_a_set_as_it_is_now_has_no_end_however_it_was_stored(redis: Redis, store: ReportStore) -> None:
    for second, count in ((1, 300), (2, 3)):
        await publish_set(store, new_set(second, dict.fromkeys(range(1, count), 2 * second)))
        assert await redis.pttl(KEY) == -1
