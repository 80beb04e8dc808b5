"""Limits: how many begin in a time, how many run at once, who goes first; against a real Valkey and real workers.

Where a test needs no handlers it claims by itself (`Fleet`), so that what a claim brings is seen and not awaited.
Rates are judged by Redis's own clock, from the results; the arithmetic itself is in tests/conformance, in
test_rates.py and test_windows.py.
"""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from redis.asyncio import Redis

from ops.depth.read import read_depth
from ops.jobs.operations import cancel_job, discard_job, revive_job
from producers import Producer
from producers.envelope import read_envelope
from producers.keys import LaneKeys
from producers.link import Link
from tests.notes import Note, looked_at, running
from tests.support import OwnValkey, eventually
from tests.topologies import client_of
from worker.engine import LaneLimit, LaneSlots, Limit, Limits, Rate, Window, Worker
from worker.engine.handler import handler
from worker.engine.lane import Claim, Completion, Lane
from worker.engine.store import JobStore

pytestmark = pytest.mark.on_cluster_too

LANE, URGENT, BULK = "mail.normal", "mail.urgent", "mail.bulk"
KEYS = LaneKeys(LANE)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@dataclass(frozen=True)
class UrgentNote(Note):
    lane: ClassVar[str] = URGENT


@dataclass(frozen=True)
class BulkNote(Note):
    lane: ClassVar[str] = BULK


@pytest.fixture
def limits(redis: Redis) -> Limits:
    return Limits(redis, KEYS.tag)


@dataclass
class Desk:
    """What the handlers of a test's workers do: they hold on until they are let go."""

    begun: list[str] = field(default_factory=list)
    from_limit: dict[str, str] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    most: int = 0
    opened: bool = False

    async def take(self, context: dict[str, Any], text: str) -> None:
        self.begun.append(text)
        self.from_limit[text] = context["limit"]
        self.held.add(text)
        self.most = max(self.most, len(self.held))
        try:
            if not self.opened:
                await self.gates.setdefault(text, asyncio.Event()).wait()
        finally:
            self.held.discard(text)

    def let_go(self, *texts: str) -> None:
        for text in texts:
            self.gates[text].set()

    def open(self) -> None:
        """Nobody waits from now on."""
        self.opened = True
        for gate in self.gates.values():
            gate.set()


@pytest.fixture
def desk() -> Desk:
    return Desk()


@asynccontextmanager
async def working(url: str, desk: Desk, *, workers: int = 1, **options: Any) -> AsyncIterator[list[Worker]]:
    arguments = {"lanes": [LaneSlots(URGENT, 10), LaneSlots(LANE, 10)], "grace": timedelta(0), **options}
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(workers):
            one = Worker([handler(desk.take, kind=Note.kind)], redis_url=url, handle_signals=False, **arguments)
            found.append(await stack.enter_async_context(running(one)))
        yield found
        desk.open()


@dataclass
class Fleet:
    """Claims without handlers: what one store takes, and how it ends them."""

    store: JobStore
    lanes: dict[str, Lane] = field(default_factory=dict)

    async def claim(self, count: int = 1, lane: str = LANE) -> list[Claim]:
        turn = await self.store.run_cycle([], [(self.lane(lane), count)])
        assert turn.error is None
        assert not turn.faults
        return turn.claims

    async def end(self, *claims: Claim, outcome: str = "done", delay: timedelta = timedelta(0)) -> None:
        endings = [
            (self.lane(one.lane), [Completion(one, outcome, delay, b"", HOUR, "asked for")]) for one in claims
        ]
        turn = await self.store.run_cycle(endings, [])
        assert turn.error is None
        assert not turn.faults
        assert not turn.refused

    def lane(self, name: str) -> Lane:
        return self.lanes.setdefault(name, Lane(LaneKeys(name), 100))


def store(url: str, name: str, lease: timedelta = timedelta(seconds=10)) -> JobStore:
    return JobStore(Link(url, KEYS.tag), worker_id=name, lease=lease, crash_limit=3)


@pytest.fixture
async def fleet(valkey_url: str) -> AsyncIterator[Fleet]:
    it = Fleet(store(valkey_url, "f"))
    yield it
    await it.store.close()


def texts(claims: Iterable[Claim]) -> list[str]:
    return [str(read_envelope(claim.payload).payload["text"]) for claim in claims]


def notes(count: int, name: str = "") -> list[Note]:
    return [Note(f"{name}{number}") for number in range(count)]


async def began_ms(redis: Redis, count: int) -> list[int]:
    """When the jobs of the lane began, once so many are done, by Redis's clock."""
    await eventually(lambda: is_done(redis, count))
    results = [json.loads(await redis.get(key)) for key in await redis.keys("arq:result:*")]
    return sorted(int(result["st"]) for result in results)


async def is_done(redis: Redis, count: int) -> bool:
    return int(await redis.hget(KEYS.counters, f"done:{LANE}") or 0) == count


async def conserved(redis: Redis) -> bool:
    return (await read_depth(redis, tenant="")).conserved


# Rates


async def test_three_workers_together_begin_no_more_than_a_rate_allows(
    valkey_url: str, redis: Redis, producer: Producer, desk: Desk
) -> None:
    desk.open()
    limit = Limit("account:main", (Rate.within(10, timedelta(milliseconds=200)),))
    bound = {LANE: LaneLimit(["account:main"])}
    await producer.send_many(notes(45))
    async with working(valkey_url, desk, workers=3, limits=[limit], lane_limits=bound):
        began = await began_ms(redis, 45)
    assert all(later - earlier >= 200 for earlier, later in zip(began, began[10:], strict=False))
    assert set(desk.from_limit.values()) == {"account:main"}
    assert await conserved(redis)


async def test_three_workers_together_begin_no_more_than_a_window_allows(
    valkey_url: str, redis: Redis, producer: Producer, desk: Desk
) -> None:
    desk.open()
    limit = Limit("account:main", (Window(10, timedelta(milliseconds=250)),))
    bound = {LANE: LaneLimit(["account:main"])}
    await producer.send_many(notes(35))
    async with working(valkey_url, desk, workers=3, limits=[limit], lane_limits=bound):
        began = await began_ms(redis, 35)
    assert all(later - earlier >= 250 for earlier, later in zip(began, began[10:], strict=False))
    assert await conserved(redis)


async def test_all_of_a_window_may_begin_at_once_and_then_it_says_when_the_next_may(
    producer: Producer, limits: Limits, fleet: Fleet
) -> None:
    await limits.define(Limit("account:main", (Window(300, HOUR), Rate(1, MINUTE, burst=500))))
    await limits.bind(LANE, LaneLimit(["account:main"]))
    await producer.send_many(notes(310))
    assert (await limits.state("account:main")).room == 300
    assert len([*await fleet.claim(200), *await fleet.claim(200)]) == 300
    state = await limits.state("account:main")
    assert state.free_in is not None
    assert HOUR - MINUTE < state.free_in <= HOUR * 49 / 48
    assert (state.room, state.limit and state.limit.rates[0]) == (0, Window(300, HOUR))
    assert not fleet.lane(LANE).has_more


async def test_jobs_of_a_limit_of_their_own_begin_at_its_pace_in_the_order_in_which_they_came(
    valkey_url: str, redis: Redis, producer: Producer, limits: Limits, desk: Desk
) -> None:
    desk.open()
    await limits.define(Limit("customer:*", (Rate(1, timedelta(milliseconds=40)),)))
    await producer.send_many(notes(8), limit="customer:7")
    async with working(valkey_url, desk, workers=2):
        began = await began_ms(redis, 8)
    assert all(later - earlier >= 40 for earlier, later in itertools.pairwise(began))
    assert desk.begun == [note.text for note in notes(8)]
    assert await conserved(redis)


async def test_several_rates_of_a_limit_are_all_kept(producer: Producer, limits: Limits, fleet: Fleet) -> None:
    await limits.define(Limit("account:main", (Rate(1, MINUTE, burst=5), Rate(1, HOUR, burst=3))))
    await limits.bind(LANE, LaneLimit(["account:main"]))
    await producer.send_many(notes(9))
    assert len(await fleet.claim(9)) == 3


async def test_a_lane_whose_rate_is_used_up_says_when_the_next_may_begin(
    producer: Producer, limits: Limits, fleet: Fleet
) -> None:
    await limits.define(Limit("account:main", (Rate(60, HOUR),)))
    await limits.bind(LANE, LaneLimit(["account:main"]))
    await producer.send_many(notes(2))
    assert len(await fleet.claim(2)) == 1
    due = fleet.lane(LANE).next_due
    assert due is not None
    assert MINUTE - timedelta(seconds=10) < due <= MINUTE
    assert not fleet.lane(LANE).has_more


async def test_a_job_put_back_uncharged_takes_a_new_token(
    producer: Producer, limits: Limits, fleet: Fleet
) -> None:
    await limits.define(Limit("account:main", (Rate(1, HOUR, burst=2),), concurrency=1))
    await limits.bind(LANE, LaneLimit(["account:main"]))
    await producer.send(Note("one"))
    for _ in range(2):
        (claim,) = await fleet.claim()
        await fleet.end(claim, outcome="defer")
    assert await fleet.claim() == []
    assert (await limits.state("account:main")).running == 0


# Places


async def test_no_more_jobs_of_a_customer_run_at_once_than_there_are_places(
    valkey_url: str, redis: Redis, producer: Producer, limits: Limits, desk: Desk
) -> None:
    await limits.define(Limit("customer:*", concurrency=2))
    await producer.send_many(notes(12), limit="customer:7")
    async with working(valkey_url, desk, workers=3):
        for ended in range(12):
            await eventually(lambda ended=ended: len(desk.begun) == min(12, ended + 2))
            desk.let_go(desk.begun[ended])
        assert await is_done(redis, 12) or await eventually(lambda: is_done(redis, 12))
    assert desk.most == 2
    assert await redis.exists(KEYS.limited, KEYS.blocked("customer:7"), KEYS.occupying("customer:7")) == 0
    assert await redis.exists(KEYS.held_back) == 0


async def test_one_customers_flood_leaves_anothers_jobs_alone(
    valkey_url: str, redis: Redis, producer: Producer, limits: Limits, desk: Desk
) -> None:
    await limits.define(Limit("customer:*", concurrency=1))
    await producer.send_many(notes(600, "flood "), limit="customer:1")
    async with working(valkey_url, desk):
        await eventually(lambda: desk.begun == ["flood 0"])
        await producer.send(Note("mine"), limit="customer:2")
        await eventually(lambda: desk.begun == ["flood 0", "mine"])
        await eventually(lambda: held_back(redis, 599))
        now = (await redis.time())[0] * 1000
        assert await redis.zcount(KEYS.queue, "-inf", now) == 0  # nobody looks at them again for a minute
        desk.let_go("flood 0")
        await eventually(lambda: desk.begun == ["flood 0", "mine", "flood 1"])
        assert await conserved(redis)


async def held_back(redis: Redis, count: int) -> bool:
    return bool(await redis.scard(KEYS.held_back) == count)


async def test_the_place_of_a_killed_worker_is_kept_until_its_lease_lapses_and_then_used_again(
    valkey_url: str, producer: Producer, limits: Limits, fleet: Fleet
) -> None:
    await limits.define(Limit("account:main", concurrency=1))
    await limits.bind(LANE, LaneLimit(["account:main"]))
    killed = Fleet(store(valkey_url, "killed", lease=timedelta(milliseconds=300)))
    await producer.send_many(notes(2))
    (lost,) = await killed.claim()
    assert await fleet.claim() == []  # 300 ms are long for two commands
    (other,) = await eventually(fleet.claim)
    assert (await limits.state("account:main")).running == 1
    assert await fleet.claim() == []
    await fleet.end(other)
    (again,) = await eventually(fleet.claim)
    assert {other.id: other.attempt, again.id: again.attempt}[lost.id] == 2
    await killed.store.close()


@pytest.mark.parametrize("outcome", ["done", "dead", "retry", "defer", "cancelled", "expired", "park"])
async def test_whatever_becomes_of_a_job_it_gives_its_place_back(
    redis: Redis, producer: Producer, limits: Limits, fleet: Fleet, outcome: str
) -> None:
    await limits.define(Limit("account:main", concurrency=1), Limit("customer:7", concurrency=1))
    await limits.bind(LANE, LaneLimit(["account:main"]))
    await producer.send_many(notes(2), limit="customer:7")
    (first,) = await fleet.claim(2)
    await fleet.end(first, outcome=outcome, delay=HOUR)
    assert (await limits.state("account:main")).running == (await limits.state("customer:7")).running == 0
    (second,) = await fleet.claim(2)
    assert second.id != first.id
    assert await conserved(redis)
    keeps_its_name = outcome in {"dead", "retry", "defer", "park"}
    assert await redis.hexists(KEYS.limited, first.id) == keeps_its_name


@pytest.mark.parametrize("take_out", [cancel_job, discard_job])
async def test_taking_out_a_blocked_job_lets_the_next_one_of_its_limit_come_up(
    redis: Redis, producer: Producer, limits: Limits, fleet: Fleet, take_out: Callable[..., Any]
) -> None:
    await limits.define(Limit("customer:7", (Rate(1, timedelta(milliseconds=50)),)))
    receipts = await producer.send_many(notes(3), limit="customer:7")
    assert texts(await fleet.claim(3)) == ["0"]
    assert await redis.zcard(KEYS.blocked("customer:7")) == 2
    await take_out(redis, receipts[1].id)
    assert texts(await eventually(lambda: fleet.claim(3))) == ["2"]
    assert await redis.exists(KEYS.blocked("customer:7"), KEYS.held_back) == 0
    assert await redis.hkeys(KEYS.limited) == [receipts[0].id.encode(), receipts[2].id.encode()]
    assert await conserved(redis)


async def test_a_cancelled_running_job_gives_its_place_to_the_next(
    valkey_url: str, redis: Redis, producer: Producer, limits: Limits, desk: Desk
) -> None:
    await limits.define(Limit("customer:7", concurrency=1))
    first, _ = await producer.send_many(notes(2), limit="customer:7")
    async with working(valkey_url, desk, renew_every=timedelta(milliseconds=50)):
        await eventually(lambda: desk.begun == ["0"])
        await cancel_job(redis, first.id)
        await eventually(lambda: desk.begun == ["0", "1"])
        assert await conserved(redis)


async def test_a_dead_job_counts_against_its_limit_again_when_it_is_revived(
    redis: Redis, producer: Producer, limits: Limits, fleet: Fleet
) -> None:
    await limits.define(Limit("customer:7", concurrency=1))
    await producer.send(Note("dead"), limit="customer:7")
    (claim,) = await fleet.claim()
    await fleet.end(claim, outcome="dead")
    await revive_job(redis, claim.id)
    (again,) = await fleet.claim()
    assert again.limit == "customer:7"
    assert (await limits.state("customer:7")).running == 1


# A flood of one limit


async def line_of(redis: Redis, key: str) -> list[tuple[str, int]]:
    """The jobs that a limit holds back, in their order, and when each was due first."""
    line = await redis.zrange(KEYS.blocked(key), 0, -1, withscores=True)
    return [(member.decode().partition(" ")[2], int(due)) for member, due in line]


async def scores(redis: Redis) -> dict[str, int]:
    return {job.decode(): int(at) for job, at in await redis.zrange(KEYS.queue, 0, -1, withscores=True)}


async def claim_all(fleet: Fleet, count: int, lane: str = LANE) -> list[Claim]:
    """Claim, so many at a time, until nothing more is due."""
    found = await fleet.claim(count, lane)
    while fleet.lane(lane).next_due == timedelta(0):
        found += await fleet.claim(count, lane)
    return found


@pytest.mark.parametrize("count", [1, 10, 100])
async def test_a_flood_leaves_the_way_in_portions_however_few_jobs_a_claim_takes(
    redis: Redis, producer: Producer, limits: Limits, fleet: Fleet, count: int
) -> None:
    await limits.define(Limit("customer:7", concurrency=1))
    await producer.send_many(notes(600), limit="customer:7")
    queued = await scores(redis)
    assert len(await fleet.claim(count)) == 1
    for _ in range(5):
        before = await redis.scard(KEYS.held_back)
        assert await fleet.claim(count) == []
        assert min(599, before + 100) <= await redis.scard(KEYS.held_back) <= before + 256
    assert await line_of(redis, "customer:7") == list(queued.items())[1:]
    assert await conserved(redis)


async def test_a_flood_leaves_the_way_by_few_commands_for_many_jobs(
    redis: Redis, producer: Producer, limits: Limits, fleet: Fleet
) -> None:
    await limits.define(Limit("customer:7", concurrency=1))
    await producer.send_many(notes(600), limit="customer:7")
    before = await commands(redis)
    assert len(await claim_all(fleet, 1)) == 1
    assert await commands(redis) - before < 600


async def commands(redis: Redis) -> int:
    """How many the server has run, those of scripts included."""
    return sum(facts["calls"] for facts in (await redis.info("commandstats")).values())


async def test_the_jobs_of_a_flood_are_looked_at_again_in_their_order_and_not_all_at_once(
    redis: Redis, producer: Producer, limits: Limits, fleet: Fleet
) -> None:
    await limits.define(Limit("customer:7", concurrency=1))
    await producer.send_many(notes(300), limit="customer:7")
    (running,) = await claim_all(fleet, 10)
    later = [at for job, at in (await scores(redis)).items() if job != running.id]
    now = (await redis.time())[0] * 1000
    assert all(60 <= later_one - one < 60_000 for one, later_one in itertools.pairwise(later))
    assert now + 30_000 < later[0] <= later[-1] <= now + 61_000 + 300 * 60
    assert list(await scores(redis))[1:] == [job for job, _ in await line_of(redis, "customer:7")]


async def test_who_has_room_is_claimed_past_a_flood_whose_claims_end_without_a_job(
    redis: Redis, producer: Producer, limits: Limits, fleet: Fleet
) -> None:
    await limits.define(Limit("customer:*", concurrency=1))
    for number in range(120):
        await producer.send_many(notes(5, f"flood {number} "), limit="customer:1")
        await producer.send(Note(f"other {number}"), limit=f"customer:other{number}")
    begun = texts(await claim_all(fleet, 10))
    assert begun == ["flood 0 0", *[f"other {number}" for number in range(120)]]
    assert await redis.scard(KEYS.held_back) == 599
    assert await conserved(redis)


async def test_an_earlier_job_of_a_limit_goes_first_though_later_ones_were_set_aside_before_it(
    redis: Redis, producer: Producer, limits: Limits, fleet: Fleet
) -> None:
    await limits.define(Limit("customer:7", concurrency=1))
    await producer.send_many([UrgentNote(f"urgent {number}") for number in range(150)], limit="customer:7")
    earlier = await producer.send(Note("earlier"), limit="customer:7")
    await redis.zadd(KEYS.queue, {earlier.id: 1_000})
    (running,) = await claim_all(fleet, 9, URGENT)
    assert await fleet.claim(9) == []
    await fleet.end(running)
    assert await fleet.claim(9, URGENT) == []
    assert texts(await fleet.claim(9)) == ["earlier"]


async def test_of_a_flood_those_that_were_cancelled_or_lost_their_payload_end_at_once(
    redis: Redis, producer: Producer, limits: Limits, fleet: Fleet
) -> None:
    await limits.define(Limit("customer:7", concurrency=1))
    receipts = await producer.send_many(notes(200), limit="customer:7")
    await redis.delete(f"arq:job:{receipts[100].id}")
    await redis.sadd(KEYS.cancelled, receipts[150].id)
    assert texts(await claim_all(fleet, 10)) == ["0"]
    assert await redis.scard(KEYS.held_back) == 197
    for event in ("vanished", "cancelled"):
        assert await redis.hget(KEYS.counters, f"{event}:{LANE}") == b"1"
    assert await conserved(redis)


@pytest.mark.parametrize("others", [[], [Limit("other", concurrency=1)]], ids=["the last one", "one of two"])
async def test_all_that_a_limit_held_back_begin_in_their_order_when_it_is_removed(
    redis: Redis, producer: Producer, limits: Limits, fleet: Fleet, others: list[Limit]
) -> None:
    await limits.define(Limit("customer:7", concurrency=1), *others)
    await producer.send_many(notes(700), limit="customer:7")
    (running,) = await claim_all(fleet, 10)
    await limits.remove("customer:7")
    begun = texts(await claim_all(fleet, 10))
    assert begun == [note.text for note in notes(700)[1:]]
    assert await redis.exists(KEYS.blocked("customer:7"), KEYS.held_back) == 0
    await fleet.end(running)
    assert await conserved(redis)


async def test_the_jobs_of_a_lane_come_up_behind_many_of_one_that_nobody_claims(
    producer: Producer, redis: Redis, limits: Limits, fleet: Fleet
) -> None:
    await limits.define(Limit("customer:7", concurrency=1))
    await producer.send_many([UrgentNote(f"urgent {number}") for number in range(150)], limit="customer:7")
    await producer.send_many(notes(150), limit="customer:7")
    (running,) = await claim_all(fleet, 10, URGENT)
    assert await claim_all(fleet, 10) == []
    await limits.define(Limit("customer:7", concurrency=1000))
    first = (await line_of(redis, "customer:7"))[149][0]
    await redis.zadd(KEYS.queue, {first: 1_000})  # its own look, a minute later
    assert len(await claim_all(fleet, 10)) > 100
    await fleet.end(running)


async def test_a_limit_that_nobody_defined_may_be_held_though_no_limit_is_defined(
    producer: Producer, limits: Limits, fleet: Fleet
) -> None:
    await limits.hold("customer:7", None, "they asked for it")
    await producer.send_many(notes(3), limit="customer:7")
    assert await fleet.claim(9) == []
    await limits.release("customer:7")
    assert texts(await fleet.claim(9)) == ["0", "1", "2"]


# Several limits


async def test_a_lane_takes_from_its_first_limit_with_room_and_one_claim_from_several(
    producer: Producer, limits: Limits, fleet: Fleet
) -> None:
    await limits.define(Limit("account:a", concurrency=2), Limit("account:b", concurrency=10))
    await limits.bind(LANE, LaneLimit(["account:a", "account:b"]))
    await producer.send_many(notes(5))
    claims = await fleet.claim(5)
    assert [claim.limit for claim in claims] == ["account:a"] * 2 + ["account:b"] * 3
    await fleet.end(claims[0])
    await producer.send(Note("more"))
    assert [claim.limit for claim in await fleet.claim(5)] == ["account:a"]


async def test_a_job_may_insist_on_one_of_its_lanes_limits(
    redis: Redis, producer: Producer, limits: Limits, fleet: Fleet
) -> None:
    await limits.define(Limit("account:a", concurrency=2), Limit("account:b", concurrency=1))
    await limits.bind(LANE, LaneLimit(["account:a", "account:b"]))
    await producer.send_many(notes(2, "b "), limit="account:b")
    await producer.send_many(notes(3, "any "))
    claims = await fleet.claim(9)
    assert [(claim.limit, text) for claim, text in zip(claims, texts(claims), strict=True)] == [
        ("account:b", "b 0"),
        ("account:a", "any 0"),
        ("account:a", "any 1"),
    ]
    assert await redis.scard(KEYS.held_back) == 1
    assert await fleet.claim(9) == []


async def test_a_job_needs_room_in_its_lanes_limit_and_in_its_own(
    producer: Producer, limits: Limits, fleet: Fleet
) -> None:
    await limits.define(Limit("account:a", concurrency=3), Limit("customer:*", concurrency=1))
    await limits.bind(LANE, LaneLimit(["account:a"]))
    await producer.send_many(notes(2, "seven "), limit="customer:7")
    await producer.send_many(notes(1, "eight "), limit="customer:8")
    claims = await fleet.claim(9)
    assert texts(claims) == ["seven 0", "eight 0"]
    assert (await limits.state("account:a")).running == 2
    assert (await limits.state("customer:7")).running == 1


async def test_only_urgent_lanes_may_take_the_reserve(producer: Producer, limits: Limits, fleet: Fleet) -> None:
    await limits.define(Limit("account:a", (Rate(1, HOUR, burst=10),), concurrency=8, reserve=0.25))
    await limits.bind(LANE, LaneLimit(["account:a"]))
    await limits.bind(URGENT, LaneLimit(["account:a"], urgent=True))
    await producer.send_many(notes(20))
    await producer.send_many([UrgentNote(note.text) for note in notes(20)])
    assert len(await fleet.claim(20)) == 6  # of eight places two are reserved
    assert len(await fleet.claim(20, URGENT)) == 2
    await limits.define(Limit("account:a", (Rate(1, HOUR, burst=10),), reserve=0.25))
    assert await fleet.claim(20) == []  # of ten tokens two are left, and three are reserved
    assert len(await fleet.claim(20, URGENT)) == 2


async def test_a_waiting_urgent_job_gets_the_next_place_before_the_lane_that_gave_it_back(
    valkey_url: str, producer: Producer, desk: Desk
) -> None:
    bound = {LANE: LaneLimit(["account:a"]), URGENT: LaneLimit(["account:a"], urgent=True)}
    limit = Limit("account:a", concurrency=2)
    await producer.send_many(notes(5))
    async with working(valkey_url, desk, limits=[limit], lane_limits=bound):
        await eventually(lambda: desk.begun == ["0", "1"])
        await producer.send(UrgentNote("urgent"))
        await eventually(lambda: waits_for_a_place(desk, valkey_url))
        desk.let_go("0")
        await eventually(lambda: len(desk.begun) == 3)
        assert desk.begun[2] == "urgent"


async def waits_for_a_place(desk: Desk, url: str) -> bool:
    async with client_of(url) as client:
        assert "urgent" not in desk.begun
        return bool(await client.sismember(KEYS.short, URGENT))


# Changes at run time


async def test_a_held_limit_gives_nothing_until_it_is_released_and_the_next_one_stands_in(
    producer: Producer, limits: Limits, fleet: Fleet
) -> None:
    await limits.define(Limit("account:a", concurrency=9), Limit("account:b", concurrency=1))
    await limits.bind(LANE, LaneLimit(["account:a", "account:b"]))
    assert await limits.hold("account:a", None, "the provider asks for a pause")
    assert not await limits.hold("account:a", None, "the provider asks for a pause")
    await producer.send_many(notes(3))
    assert [claim.limit for claim in await fleet.claim(3)] == ["account:b"]
    state = await limits.state("account:a")
    assert (state.room, state.free_in) == (0, None)
    assert state.held is not None
    assert (state.held.until, state.held.reason) == (None, "the provider asks for a pause")
    assert await limits.release("account:a")
    assert not await limits.release("account:a")
    assert [claim.limit for claim in await fleet.claim(3)] == ["account:a"] * 2


async def test_a_hold_for_a_time_ends_by_itself(producer: Producer, limits: Limits, fleet: Fleet) -> None:
    await limits.define(Limit("account:a", concurrency=9))
    await limits.bind(LANE, LaneLimit(["account:a"]))
    await limits.hold("account:a", timedelta(milliseconds=300), "slow down")
    await producer.send(Note("x"))
    assert await fleet.claim() == []
    due = fleet.lane(LANE).next_due
    assert due is not None
    assert timedelta(0) < due <= timedelta(milliseconds=300)
    assert await eventually(fleet.claim)


async def test_jobs_that_a_hold_blocked_go_on_when_it_is_released(
    valkey_url: str, redis: Redis, producer: Producer, limits: Limits, desk: Desk
) -> None:
    desk.open()
    await limits.hold("customer:7", timedelta(hours=2), "they asked for it")
    await producer.send_many(notes(150), limit="customer:7")
    await producer.send(Note("other"))
    await limits.define(Limit("customer:7", concurrency=1000))
    async with working(valkey_url, desk):
        await eventually(lambda: desk.begun == ["other"])
        await eventually(lambda: held_back(redis, 150))
        await limits.release("customer:7")
        await eventually(lambda: is_done(redis, 151))
        assert await conserved(redis)


async def test_a_limit_without_a_definition_has_no_bounds(
    producer: Producer, limits: Limits, fleet: Fleet
) -> None:
    await limits.define(Limit("customer:7", concurrency=1))
    await producer.send_many(notes(3), limit="invoice:3")
    assert [claim.limit for claim in await fleet.claim(9)] == ["invoice:3"] * 3


async def test_removing_or_widening_a_limit_frees_what_it_held_back(
    producer: Producer, limits: Limits, fleet: Fleet
) -> None:
    await limits.define(Limit("customer:7", concurrency=1))
    await producer.send_many(notes(6), limit="customer:7")
    assert len(await fleet.claim(6)) == 1
    await limits.define(Limit("customer:7", concurrency=3))
    assert len(await fleet.claim(6)) == 2
    assert await limits.remove("customer:7")
    assert not await limits.remove("customer:7")
    assert texts(await fleet.claim(6)) == ["3", "4", "5"]


async def test_a_limit_that_is_slowed_down_gives_its_share_until_it_is_restored(
    producer: Producer, limits: Limits, fleet: Fleet
) -> None:
    await limits.define(Limit("account:a", (Rate(10, HOUR, burst=8),), concurrency=8))
    await limits.bind(LANE, LaneLimit(["account:a"]))
    await limits.slow("account:a", 0.5)
    await producer.send_many(notes(20))
    assert len(await fleet.claim(20)) == 4
    state = await limits.state("account:a")
    assert (state.pace, state.room, state.running) == (0.5, 0, 4)
    assert await limits.restore("account:a")
    assert not await limits.restore("account:a")
    assert (await limits.state("account:a")).pace == 1


async def test_a_definition_that_cannot_be_read_gives_nothing_and_spares_the_others(
    redis: Redis, producer: Producer, limits: Limits, fleet: Fleet
) -> None:
    await limits.define(Limit("customer:8", concurrency=1))
    for number, octets in enumerate([b"{", b"[]", b"7", b'{"rates":[{"count":0,"per_ms":"x"}]}']):
        await redis.hset(KEYS.limits, f"broken:{number}", octets.decode())
        await producer.send(Note(f"broken {number}"), limit=f"broken:{number}")
    await redis.set(KEYS.occupying("customer:9"), "not a set")
    await limits.define(Limit("customer:9", concurrency=1))
    await producer.send(Note("nine"), limit="customer:9")
    await producer.send(Note("fine"), limit="customer:8")
    assert texts(await fleet.claim(9)) == ["fine"]
    states = {state.key: state for state in await limits.all()}
    assert {key for key, state in states.items() if state.readable} == {"customer:8"}
    assert states["broken:0"].room == 0
    assert await conserved(redis)


async def test_what_is_used_up_of_a_rate_outlives_a_new_definition_but_no_longer_than_that_allows(
    producer: Producer, limits: Limits, fleet: Fleet
) -> None:
    await limits.define(Limit("account:a", (Rate(1, timedelta(days=300)),)))
    await limits.bind(LANE, LaneLimit(["account:a"]))
    await producer.send_many(notes(3))
    assert len(await fleet.claim(3)) == 1
    await limits.define(Limit("account:a", (Rate(60, HOUR),)))
    state = await limits.state("account:a")
    assert state.free_in is not None
    assert timedelta(0) < state.free_in <= MINUTE


# What a worker declares


async def test_a_worker_defines_its_limits_before_it_claims_and_unbinds_lanes_that_it_leaves_out(
    valkey_url: str, producer: Producer, limits: Limits, desk: Desk
) -> None:
    await limits.bind(URGENT, LaneLimit(["account:gone"]))
    await producer.send_many(notes(5))
    mine = Limit("account:a", concurrency=2, reserve=0.5)
    async with working(valkey_url, desk, limits=[mine], lane_limits={LANE: LaneLimit(["account:a"], urgent=True)}):
        await eventually(lambda: len(desk.begun) == 2)
        assert (await limits.state("account:a")).limit == mine
        assert await limits.bindings() == {LANE: LaneLimit(("account:a",), urgent=True)}


async def test_limits_are_defined_anew_for_a_server_that_lost_them_and_kept_where_people_changed_them(
    own_valkey: Callable[..., Awaitable[OwnValkey]], desk: Desk
) -> None:
    valkey = await own_valkey("--appendonly", "no", "--save", "")
    mine = [Limit("account:a", concurrency=1), Limit("account:b", concurrency=1)]
    bound = {LANE: LaneLimit(["account:a"])}
    async with (
        Redis.from_url(valkey.url, retry=None) as redis,
        working(valkey.url, desk, limits=mine, lane_limits=bound) as (worker,),
    ):
        limits = Limits(redis, KEYS.tag)
        await eventually(lambda: redis.hexists(KEYS.limits, "account:a"))
        await looked_at(worker, redis)  # it has been told so, too
        await valkey.restart()
        await limits.define(Limit("account:b", concurrency=7))
        await eventually(lambda: redis.hexists(KEYS.limits, "account:a"))
        assert {one.key: one.limit and one.limit.concurrency for one in await limits.all()} == {
            "account:a": 1,
            "account:b": 7,
        }
        assert await limits.bindings() == {LANE: LaneLimit(("account:a",))}


def test_a_worker_refuses_a_binding_of_a_lane_that_it_has_not() -> None:
    with pytest.raises(ValueError, match=r"lane_limits: this worker has no lane mail\.bulk"):
        Worker(
            [],
            redis_url="redis://127.0.0.1:1",
            lanes=[LaneSlots(LANE, 1)],
            lane_limits={"mail.bulk": LaneLimit(["account:a"])},
        )


# A ceiling


async def test_under_a_ceiling_a_flood_keeps_another_lanes_job_waiting_for_one_job_at_most(
    valkey_url: str, producer: Producer, desk: Desk
) -> None:
    await producer.send_many(notes(30))
    async with working(valkey_url, desk, max_running=3):
        for number in range(5):
            await eventually(lambda: len(desk.held) == 3)
            before, urgent = len(desk.begun), f"urgent {number}"
            await producer.send(UrgentNote(urgent))
            while urgent not in desk.begun:
                count = len(desk.begun)
                desk.let_go(next(text for text in desk.begun if text in desk.held))
                await eventually(lambda count=count: len(desk.begun) > count)
            assert desk.begun.index(urgent) - before <= 1
    assert desk.most == 3


async def test_a_worker_without_a_slot_hands_the_wake_token_on_to_one_that_has(
    valkey_url: str, redis: Redis, producer: Producer, desk: Desk
) -> None:
    await producer.send(Note("only"))
    async with working(valkey_url, desk, max_running=1):
        await eventually(lambda: desk.begun == ["only"])
        await eventually(lambda: is_read(redis, URGENT))
        await producer.send(UrgentNote("urgent"))
        await eventually(lambda: has_token_that_nobody_reads(redis, URGENT))
        assert desk.begun == ["only"]


async def is_read(redis: Redis, lane: str) -> bool:
    """Whether somebody blocks on the lane's wake token."""
    blocked = [client for client in await redis.client_list() if "b" in client["flags"]]
    return bool(blocked) and not await redis.llen(LaneKeys(lane).wake)


async def has_token_that_nobody_reads(redis: Redis, lane: str) -> bool:
    return bool(await redis.llen(LaneKeys(lane).wake))


async def test_slots_that_one_lane_does_not_need_are_anothers(
    valkey_url: str, producer: Producer, desk: Desk
) -> None:
    await producer.send_many(notes(8))
    async with working(valkey_url, desk, max_running=5):
        await eventually(lambda: len(desk.held) == 5)


async def test_a_lane_of_twice_the_weight_has_twice_the_slots(
    valkey_url: str, producer: Producer, desk: Desk
) -> None:
    await producer.send_many(notes(20))
    await producer.send_many([UrgentNote(f"urgent {number}") for number in range(20)])
    lanes = [LaneSlots(URGENT, 6, weight=2), LaneSlots(LANE, 6)]
    async with working(valkey_url, desk, max_running=6, lanes=lanes):
        await eventually(lambda: len(desk.held) == 6)
        for ended, text in enumerate(list(desk.begun), start=7):  # the lane that was looked at first may have more
            desk.let_go(text)
            await eventually(lambda ended=ended: len(desk.begun) == ended and len(desk.held) == 6)
        assert len([text for text in desk.held if text.startswith("urgent")]) == 4


@pytest.mark.parametrize("ceiling", [0, -1])
def test_a_ceiling_below_one_is_refused(ceiling: int) -> None:
    with pytest.raises(ValueError, match="max_running"):
        Worker([], redis_url="redis://127.0.0.1:1", lanes=[LaneSlots(LANE, 1)], max_running=ceiling)


# Turns


async def contended(limits: Limits, fleet: Fleet, *, rate: bool = False) -> None:
    """One place, or one token at a time, for three lanes that are all looked at by workers."""
    limit = (
        Limit("account:a", (Rate(1, timedelta(milliseconds=1)),)) if rate else Limit("account:a", concurrency=1)
    )
    await limits.define(limit)
    for lane in (URGENT, LANE, BULK):
        await limits.bind(lane, LaneLimit(["account:a"], urgent=lane == URGENT))
        assert await fleet.claim(1, lane) == []


async def test_a_place_that_falls_free_is_left_to_an_urgent_job_that_nobody_has_looked_at_yet(
    producer: Producer, limits: Limits, fleet: Fleet
) -> None:
    await contended(limits, fleet)
    await producer.send_many(notes(9))
    for number in range(3):
        (running,) = await fleet.claim()
        await producer.send(UrgentNote(f"urgent {number}"))
        await fleet.end(running)
        assert await fleet.claim() == [], "the worker whose job ended asks first, and for its own lane"
        (urgent,) = await fleet.claim(1, URGENT)
        assert texts([urgent]) == [f"urgent {number}"]
        await fleet.end(urgent)


async def test_a_lane_that_left_its_place_to_another_has_that_one_woken_and_looks_again_soon(
    producer: Producer, redis: Redis, limits: Limits, fleet: Fleet
) -> None:
    await contended(limits, fleet)
    await producer.send(Note("ordinary"))
    await producer.send(UrgentNote("urgent"))
    await redis.delete(LaneKeys(URGENT).wake)
    assert await fleet.claim() == []
    assert await redis.llen(LaneKeys(URGENT).wake) == 1
    due = fleet.lane(LANE).next_due
    assert due is not None
    assert timedelta(0) < due <= timedelta(milliseconds=100)


async def test_lanes_that_are_not_urgent_take_turns_at_a_place_that_all_of_them_want(
    producer: Producer, redis: Redis, limits: Limits, fleet: Fleet
) -> None:
    await contended(limits, fleet)
    await producer.send_many(notes(20))
    await producer.send_many([BulkNote(f"bulk {number}") for number in range(20)])
    begun = []
    for _ in range(20):
        await next_millisecond(redis)  # of those that began to wait in the same one, who asks first goes first
        begun.append(await next_begun(fleet, [LANE, BULK]))
    assert all(one != following for one, following in itertools.pairwise(begun)), begun


async def next_millisecond(redis: Redis) -> None:
    """Wait until Redis's clock, as scripts read it, shows another millisecond."""

    async def now() -> int:
        seconds, microseconds = await redis.eval("return redis.call('TIME')", 1, KEYS.turns)
        return int(seconds) * 1000 + int(microseconds) // 1000

    began = await now()

    async def has_gone_on() -> bool:
        return await now() != began

    await eventually(has_gone_on, every=0.0005)


async def test_a_flood_of_urgent_jobs_leaves_each_fifth_place_to_the_others(
    producer: Producer, limits: Limits, fleet: Fleet
) -> None:
    await contended(limits, fleet)
    await producer.send_many(notes(20))
    await producer.send_many([UrgentNote(f"urgent {number}") for number in range(40)])
    await producer.send_many([BulkNote(f"bulk {number}") for number in range(20)])
    begun = [await next_begun(fleet, [URGENT, LANE, BULK]) for _ in range(40)]
    assert 30 <= begun.count(URGENT) <= 34
    assert begun.count(LANE) >= 2
    assert begun.count(BULK) >= 2


async def next_begun(fleet: Fleet, lanes: list[str]) -> str:
    """The lane that gets the place; all are asked in their order, as a worker does, until one does."""
    for lane in lanes * 2:
        if claims := await fleet.claim(1, lane):
            await fleet.end(*claims)
            return lane
    raise AssertionError("nobody took the place")


async def test_no_place_is_kept_for_a_lane_that_no_worker_looks_at(
    producer: Producer, redis: Redis, limits: Limits, fleet: Fleet
) -> None:
    await contended(limits, fleet)
    await redis.hset(KEYS.turns, URGENT, "1 0")
    await producer.send(UrgentNote("urgent"))
    await producer.send(Note("ordinary"))
    assert texts(await fleet.claim()) == ["ordinary"]


async def test_no_place_is_kept_for_a_job_that_was_passed_over_with_room_for_it(
    producer: Producer, redis: Redis, limits: Limits, fleet: Fleet
) -> None:
    await contended(limits, fleet)
    receipt = await producer.send(UrgentNote("urgent"))
    await redis.set(f"arq:in-progress:{receipt.id}", "a stock arq worker", px=3_600_000)
    assert await fleet.claim(1, URGENT) == []
    await redis.hset(KEYS.turns, URGENT, f"{2**41 + 2**40} 0")  # it was looked at later than it fell due
    await producer.send(Note("ordinary"))
    assert texts(await fleet.claim()) == ["ordinary"]


async def test_a_token_of_a_rate_is_left_to_the_urgent_job_that_waits_for_it(
    producer: Producer, limits: Limits, fleet: Fleet
) -> None:
    await contended(limits, fleet, rate=True)
    await producer.send_many(notes(9))
    await producer.send(UrgentNote("urgent"))
    assert await fleet.claim() == []
    assert texts(await fleet.claim(1, URGENT)) == ["urgent"]


async def test_what_only_urgent_lanes_may_use_is_left_to_nobody(
    producer: Producer, redis: Redis, limits: Limits, fleet: Fleet
) -> None:
    await contended(limits, fleet)
    await limits.define(Limit("account:a", concurrency=5, reserve=0.2))
    await producer.send_many(notes(9))
    assert len(await fleet.claim(9)) == 4
    await redis.hset(KEYS.turns, "row", "4")  # it would be the others' turn
    await producer.send(UrgentNote("urgent"))
    assert texts(await fleet.claim(1, URGENT)) == ["urgent"]
