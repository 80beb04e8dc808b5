"""`why` and `depth` give the true reason: one row for every reason that there is, each caused for real.

A row makes a job wait (or run), and says which reasons `why` must give for it and which `depth` for its lane.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, get_args

import pytest
from redis.asyncio import Redis

from ops.depth.drain import Reason
from ops.jobs.explain import Wait
from ops.workers.order import order_worker
from producers import Producer
from producers.keys import LaneKeys
from producers.limits.limit import LaneLimit, Limit
from producers.limits.limits import Limits
from tests.command_line import run_ops
from tests.ledgers import ledger_of
from tests.notes import LANE, Note, running
from tests.support import OwnValkey, eventually
from worker.engine import GiveUp, LaneSlots, Park, TryLater, Worker
from worker.engine.handler import handler

KEYS = LaneKeys(LANE)
BULK = "mail.bulk"
HOUR = timedelta(hours=1)
PASSWORD = "p" * 32


@dataclass(frozen=True)
class Stranger(Note):
    kind: ClassVar[str] = "note.unknown"


@dataclass(frozen=True)
class BulkNote(Note):
    lane: ClassVar[str] = BULK


@dataclass(slots=True)
class Place:
    """A Redis of one row, and what lasts until the row is looked at."""

    url: str
    redis: Redis
    producer: Producer
    lasting: AsyncExitStack
    dsn: str
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def work(self, url: str = "", *, slots: int = 5, **options: Any) -> None:
        """Start a worker for both lanes; a job "hang" ends with the row."""
        await self.lasting.enter_async_context(_working(url or self.url, self.go, slots, options))

    async def runs(self, job_id: str) -> None:
        """Wait until a job is leased."""

        async def leased() -> bool:
            return await self.redis.exists(f"arq:in-progress:{job_id}") == 1

        await eventually(leased)

    async def is_alive(self) -> None:
        """Wait for a worker's heartbeat."""
        await eventually(lambda: self.redis.zcard(KEYS.workers))


@asynccontextmanager
async def _working(url: str, go: asyncio.Event, slots: int, options: dict[str, Any]) -> AsyncIterator[None]:
    async def obey(_: dict[str, Any], text: str) -> None:
        match text:
            case "hang":
                await go.wait()
            case "fail":
                raise TryLater("the bank is closed", after=HOUR)
            case "defer":
                raise TryLater("the account is closed", after=HOUR, charged=False)
            case "give up":
                raise GiveUp("no such person")
            case "ask":
                raise Park("it may have been delivered", why="uncertain")

    worker = Worker(
        [handler(obey, kind=Note.kind)],
        redis_url=url,
        lanes=[LaneSlots(LANE, slots), LaneSlots(BULK, slots)],
        handle_signals=False,
        renew_every=timedelta(milliseconds=50),
        grace=timedelta(0),
        **options,
    )
    async with running(worker):
        yield
        go.set()


async def staged(place: Place) -> str:
    async with ledger_of(place.dsn) as ledger:
        return str(await ledger.fetchval("SELECT momentus_ledger.stage('note.take', '{}'::jsonb, 'mail.normal')"))


async def held(place: Place) -> str:
    await place.work()
    await place.is_alive()
    await run_ops("pause", LANE, "--reason", "wrong figures", REDIS_URL=place.url)
    return (await place.producer.send(Note("x"))).id


async def delayed(place: Place) -> str:
    await place.work()
    await place.is_alive()
    return (await place.producer.send(Note("x"), delay=HOUR + timedelta(minutes=1))).id


async def _after(place: Place, text: str) -> str:
    """A job whose worker has tried it."""
    await place.work()
    receipt = await place.producer.send(Note(text))
    await eventually(lambda: place.redis.exists(KEYS.history(receipt.id)))
    return receipt.id


async def failed(place: Place) -> str:
    return await _after(place, "fail")


async def deferred(place: Place) -> str:
    return await _after(place, "defer")


async def gave_up(place: Place) -> str:
    return await _after(place, "give up")


async def asks(place: Place) -> str:
    return await _after(place, "ask")


async def unknown_kind(place: Place) -> str:
    await place.work()
    receipt = await place.producer.send(Stranger("x"))
    await eventually(lambda: place.redis.hexists(KEYS.parked, receipt.id))
    return receipt.id


async def unserved(place: Place) -> str:
    return (await place.producer.send(Note("x"))).id


async def all_slots_busy(place: Place) -> str:
    await place.work(slots=1)
    busy = await place.producer.send(Note("hang"))
    await place.runs(busy.id)
    return (await place.producer.send(Note("x"))).id


async def at_the_ceiling(place: Place) -> str:
    await place.work(max_running=1)
    busy = await place.producer.send(BulkNote("hang"))
    await place.runs(busy.id)
    return (await place.producer.send(Note("x"))).id


async def _without_claims(place: Place) -> None:
    """Let the worker that serves the lane claim no more, though it lives: it loses a right."""

    async def allow(*more: str) -> None:
        rules = ["on", f">{PASSWORD}", "~*", "&*", "+@all", *more]
        call: Any = place.redis.execute_command
        await call("ACL", "SETUSER", "limited", *rules)

    await allow()
    await place.work(place.url.replace("redis://", f"redis://limited:{PASSWORD}@"))
    first = await place.producer.send(Note("x"))
    await eventually(lambda: place.redis.exists(f"arq:result:{first.id}"))
    await place.is_alive()
    await allow("-evalsha")
    place.lasting.push_async_callback(allow)


async def next_in_turn(place: Place) -> str:
    await _without_claims(place)
    return (await place.producer.send(Note("x"))).id


async def nobody_claims(place: Place) -> str:
    await _without_claims(place)
    receipt = await place.producer.send(Note("x"))
    await place.redis.zincrby(KEYS.queue, -60_000, receipt.id)
    for minute in await place.redis.keys("momentus:{mail}:minute:*"):
        await place.redis.hdel(minute, f"out:{LANE}")  # the first job ended more than a minute ago
    return receipt.id


async def only_quiet_workers(place: Place) -> str:
    await place.work()
    await place.is_alive()
    (worker,) = await place.redis.zrange(KEYS.workers, 0, -1)
    assert await order_worker(place.redis, worker.decode(), "quiet") == "ordered"

    async def is_quiet() -> bool:
        return b'"state":"quiet"' in (await place.redis.get(KEYS.worker(worker.decode())) or b"")

    await eventually(is_quiet)
    return (await place.producer.send(Note("x"))).id


async def lane_s_limit_is_used_up(place: Place) -> str:
    limits = Limits(place.redis, KEYS.tag)
    await limits.define(Limit("account:main", (), concurrency=1))
    await limits.bind(LANE, LaneLimit(["account:main"]))
    await place.work()
    busy = await place.producer.send(Note("hang"))
    await place.runs(busy.id)
    return (await place.producer.send(Note("x"))).id


async def its_own_limit_is_held(place: Place) -> str:
    await place.work()
    await place.is_alive()
    await Limits(place.redis, KEYS.tag).hold("customer:42", HOUR, "they asked for it")
    receipt = await place.producer.send(Note("x"), limit="customer:42")
    await eventually(lambda: place.redis.sismember(KEYS.held_back, receipt.id))
    return receipt.id


async def runs_now(place: Place) -> str:
    await place.work()
    receipt = await place.producer.send(Note("hang"))
    await place.runs(receipt.id)
    return receipt.id


@dataclass(frozen=True, slots=True)
class Row:
    """How a job comes to wait, what `why` must say of it, in words too, and `depth` of its lane."""

    make: Callable[[Place], Awaitable[str]]
    waits: tuple[Wait, ...]
    words: str
    lane: Reason | None = None


ROWS = [
    Row(staged, ("handover",), "a worker that hands it over from the ledger"),
    Row(held, ("held", "turn"), "held until it is released: wrong figures", "held"),
    Row(delayed, ("time",), "its time, in 1 h"),
    Row(failed, ("time",), "the bank is closed"),
    Row(deferred, ("time",), "(deferred: the account is closed)"),
    Row(unserved, ("worker",), "no live one serves mail.normal", "no_worker"),
    Row(all_slots_busy, ("slot",), "all 1 are in use", "slots_busy"),
    Row(at_the_ceiling, ("ceiling",), "MOMENTUS_WORKER__MAX_RUNNING", "ceiling"),
    Row(only_quiet_workers, ("quiet",), "are quiet or stopping", "quiet"),
    Row(nobody_claims, ("claiming",), "slots are free, and none does", "not_claiming"),
    Row(lane_s_limit_is_used_up, ("limit", "turn"), "limit account:main: all places are in use", "limits"),
    Row(its_own_limit_is_held, ("limit",), "limit customer:42: held until"),
    Row(next_in_turn, ("turn",), "its turn: no ready job before it"),
    Row(unknown_kind, ("ability",), "a worker that knows note.unknown@1"),
    Row(asks, ("decision",), "an operator, uncertain: it may have been delivered"),
    Row(gave_up, ("people",), "./run ops revive"),
    Row(runs_now, ("end",), "it runs on worker"),
]


def test_there_is_a_row_for_every_reason_of_a_job_and_of_a_lane() -> None:
    assert {wait for row in ROWS for wait in row.waits} == set(get_args(Wait))
    assert {row.lane for row in ROWS} - {None} == set(get_args(Reason))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.make.__name__)
async def test_why_gives_the_true_reason(
    own_valkey: Callable[..., Awaitable[OwnValkey]], database: str, row: Row
) -> None:
    valkey = await own_valkey()
    settings = {"REDIS_URL": valkey.url, "POSTGRES_DSN": database}
    async with (
        Redis.from_url(valkey.url) as redis,
        Producer.connect(valkey.url, budget=5) as producer,
        AsyncExitStack() as lasting,
    ):
        place = Place(valkey.url, redis, producer, lasting, database)
        job_id = await row.make(place)

        async def said() -> bool:
            facts = json.loads((await run_ops("why", job_id, "--json", **settings))[1])
            return tuple(facts["waits_for"]) == row.waits

        await eventually(said)
        _, out, _ = await run_ops("why", job_id, **settings)
        assert row.words in out
        _, out, _ = await run_ops("depth", "--json", **settings)
        (lane,) = [one for one in json.loads(out)["lanes"] if one["lane"] == LANE]
        assert lane["why_code"] == row.lane
        assert (lane["why"] is None) == (row.lane is None)
