"""Deadlines, times, parking, versions, progress and taking back: real producer, real worker, real Valkey."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import orjson
import pytest
from redis.asyncio import Redis

from jobs import Policy
from ops.depth.read import LaneDepth, read_depth
from ops.jobs.explain import Explanation, explain_job
from ops.jobs.operations import cancel_job
from ops.jobs.parked import list_parked, unpark_job
from producers import Producer
from producers.keys import LaneKeys
from tests.command_line import run_ops
from tests.notes import Note, running
from tests.support import OwnValkey, eventually
from worker.engine import LaneSlots, Park, TryLater, Worker
from worker.engine.handler import handler

pytestmark = pytest.mark.on_cluster_too

LANE = "mail.normal"
KEYS = LaneKeys(LANE)
SOON = timedelta(milliseconds=5)


@dataclass(frozen=True)
class NoteV2(Note):
    version: ClassVar[int] = 2


@dataclass(frozen=True)
class NoteV4(Note):
    version: ClassVar[int] = 4


@asynccontextmanager
async def working(url: str, *handlers: Any, **options: Any) -> AsyncIterator[Worker]:
    options = {"lanes": [LaneSlots(LANE, 10)], "renew_every": timedelta(milliseconds=50), **options}
    worker = Worker(handlers, redis_url=url, handle_signals=False, grace=timedelta(0), **options)
    async with running(worker):
        yield worker


class Notebook:
    """Handlers that note what they got."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    async def take(self, _: dict[str, Any], **payload: Any) -> None:
        self.seen.append(payload)

    async def refuse(self, _: dict[str, Any], **payload: Any) -> None:
        self.seen.append(payload)
        raise TryLater("not today", after=timedelta(hours=1))

    async def park(self, _: dict[str, Any], **payload: Any) -> None:
        self.seen.append(payload)
        if len(self.seen) == 1:
            raise Park("the server did not say whether it took it", why="uncertain", uncertain=True)


async def lane_of(redis: Redis) -> LaneDepth:
    """The lane as `depth` has it; every job of it must be accounted for at any instant."""
    lane = (await read_depth(redis, tenant="default")).lane(LANE)
    assert lane is not None
    assert lane.conserved
    return lane


def reached(redis: Redis, **counts: int) -> Callable[[], Awaitable[bool]]:
    """Whether the lane has these counts, like ``dead=1``."""

    async def condition() -> bool:
        lane = await lane_of(redis)
        return all(getattr(lane, name) == count for name, count in counts.items())

    return condition


def outcomes(found: Explanation) -> list[str]:
    return [event.outcome for event in found.job.history]


async def ops(url: str, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of the command."""
    return await run_ops(*arguments, REDIS_URL=url)


# Deadlines


async def test_a_job_whose_deadline_passed_while_it_waited_never_runs_and_its_result_says_so(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    notes = Notebook()
    receipt = await producer.send(Note("late"), expires=SOON)
    in_time = await producer.send(Note("in time"), expires=timedelta(hours=1))
    deadline = (await explain_job(redis, in_time.id)).job.expires
    assert deadline is not None
    assert timedelta(minutes=59) < deadline - datetime.now(UTC) < timedelta(hours=1)
    await eventually(lambda: time_passed(redis, receipt.id))
    async with working(valkey_url, handler(notes.take, kind=Note.kind)):
        await eventually(reached(redis, expired=1, done=1))
    assert notes.seen == [{"text": "in time"}]
    result = orjson.loads(await redis.get(f"arq:result:{receipt.id}"))
    assert (result["s"], result["o"]) == (False, "expired")
    assert result["r"].startswith("expires: passed before the job began (")
    found = await explain_job(redis, receipt.id)
    assert (found.job.state, outcomes(found)) == ("expired", ["expired"])
    assert not await redis.exists(f"arq:job:{receipt.id}")


async def time_passed(redis: Redis, job_id: str) -> bool:
    """Whether the job's deadline has passed by the server's clock."""
    (seconds, micros), job = await redis.time(), (await explain_job(redis, job_id)).job
    return job.expires is not None and seconds * 1000 + micros / 1000 > job.expires.timestamp() * 1000


async def test_a_retry_beyond_the_deadline_comes_up_at_the_deadline_and_expires_instead_of_dying(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    notes = Notebook()
    policy = Policy(horizon=timedelta(minutes=1))
    async with working(valkey_url, handler(notes.refuse, kind=Note.kind), policies={Note.kind: policy}):
        receipt = await producer.send(Note("refused"), expires=timedelta(milliseconds=300))
        await eventually(reached(redis, expired=1))
    assert (len(notes.seen), (await lane_of(redis)).dead) == (1, 0)
    assert outcomes(await explain_job(redis, receipt.id)) == ["retry", "expired"]


# Times


async def test_a_job_for_an_instant_waits_for_it_by_the_servers_clock_and_its_age_counts_from_there(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    at = datetime.now(UTC) + timedelta(days=3)
    receipt = await producer.send(Note("in three days"), at=at)
    assert await redis.zscore(KEYS.queue, receipt.id) == round(at.timestamp() * 1000)
    await redis.zadd(KEYS.queue, {receipt.id: 1})
    notes, policy = Notebook(), Policy(horizon=timedelta(hours=2))
    async with working(valkey_url, handler(notes.refuse, kind=Note.kind), policies={Note.kind: policy}):
        await eventually(reached(redis, retrying=1))
    assert (await lane_of(redis)).dead == 0


async def test_an_instant_that_has_passed_means_now(valkey_url: str, redis: Redis, producer: Producer) -> None:
    notes = Notebook()
    receipts = await producer.send_many([Note("a"), Note("b")], at=datetime(2020, 1, 1, tzinfo=UTC))
    for receipt in receipts:
        assert abs(await redis.zscore(KEYS.queue, receipt.id) - time.time() * 1000) < 60_000
    async with working(valkey_url, handler(notes.take, kind=Note.kind)):
        await eventually(reached(redis, done=2))


# Parking


async def test_a_job_of_an_unknown_kind_is_parked_uncharged_and_let_go_when_a_capable_worker_starts(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    notes = Notebook()
    receipt = await producer.send(Note("new feature"))
    async with working(valkey_url, handler(notes.take, kind="other.kind")):
        await eventually(reached(redis, parked=1))
        found = await explain_job(redis, receipt.id)
        assert (found.job.state, found.job.attempt, found.waits_for) == ("parked", 1, ("ability",))
        assert found.job.parking is not None
        assert (found.job.parking.why, found.job.parking.needs) == ("kind", "note.take@1")
        async with working(valkey_url, handler(notes.take, kind=Note.kind)):
            await eventually(reached(redis, done=1, parked=0))
    assert notes.seen == [{"text": "new feature"}]
    assert outcomes(await explain_job(redis, receipt.id)) == ["parked"]


async def test_thousands_of_parked_jobs_are_all_let_go_and_what_is_still_unknown_stays(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    notes = Notebook()
    await producer.send_many([Note(str(number)) for number in range(1100)])
    await producer.send_many([NoteV2("newer"), NoteV4("newest")])
    async with working(valkey_url, handler(notes.take, kind="other.kind")):
        await eventually(reached(redis, parked=1102))
    async with working(valkey_url, handler(notes.take, kind=Note.kind, version=2, upcasters={1: dict})):
        await eventually(reached(redis, done=1101, parked=1))
    (left,) = await list_parked(redis, [LANE], limit=10)
    assert left.parking.needs == "note.take@4"


async def test_a_parked_job_is_looked_at_again_within_the_hour_whatever_happens_to_its_note(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    notes = Notebook()
    receipt = await producer.send(Note("forgotten"))
    async with working(valkey_url, handler(notes.take, kind="other.kind")):
        await eventually(reached(redis, parked=1))
    (seconds, _), due = await redis.time(), await redis.zscore(KEYS.queue, receipt.id)
    assert 3_500_000 < due - seconds * 1000 <= 3_601_000
    await redis.delete(KEYS.parked)
    await redis.zadd(KEYS.queue, {receipt.id: 1})
    async with working(valkey_url, handler(notes.take, kind="other.kind")):
        await eventually(reached(redis, parked=1))
    assert outcomes(await explain_job(redis, receipt.id)) == ["parked"]  # told once


async def test_a_payload_of_the_first_version_reaches_a_handler_of_the_third_through_both_upcasters(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    notes = Notebook()
    chain = {1: lambda old: {"words": old["text"]}, 2: lambda old: {**old, "urgent": False}}
    async with working(valkey_url, handler(notes.take, kind=Note.kind, version=3, upcasters=chain)):
        await producer.send(Note("old"))
        await eventually(reached(redis, done=1))
    assert notes.seen == [{"words": "old", "urgent": False}]


async def test_a_payload_of_the_fourth_version_waits_for_a_worker_that_knows_it(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    notes = Notebook()
    receipt = await producer.send(NoteV4("newest"))
    async with working(valkey_url, handler(notes.take, kind=Note.kind, version=3)):
        await eventually(reached(redis, parked=1))
    assert notes.seen == []
    async with working(valkey_url, handler(notes.take, kind=Note.kind, version=4)):
        await eventually(reached(redis, done=1))
    assert notes.seen == [{"text": "newest"}]
    assert not await redis.exists(KEYS.parked, f"arq:retry:{receipt.id}")


async def test_an_upcaster_that_raises_makes_the_job_dead_with_the_reason(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    receipt = await producer.send(Note("old"))
    broken = {1: lambda old: {"words": old["nothing"]}}
    async with working(valkey_url, handler(Notebook().take, kind=Note.kind, version=2, upcasters=broken)):
        await eventually(reached(redis, dead=1))
    (event,) = (await explain_job(redis, receipt.id)).job.history
    assert (
        event.reason
        == "upcasters: the one from version 1 to 2 failed (KeyError: 'nothing'); fix it and revive the job"
    )


async def test_an_envelope_of_a_later_version_is_parked_and_never_lost(valkey_url: str, redis: Redis) -> None:
    job_id = "{mail}from-the-future"
    await redis.set(f"arq:job:{job_id}", b'{"v":2,"kind":"note.take"}')
    await redis.zadd(KEYS.queue, {job_id: 1})
    await redis.hincrby(KEYS.counters, f"accepted:{LANE}", 1)
    async with working(valkey_url, handler(Notebook().take, kind=Note.kind)):
        await eventually(reached(redis, parked=1))
    (job,) = await list_parked(redis, [LANE], limit=10)
    assert (job.parking.why, job.parking.needs) == ("version", "envelope@2")


async def test_workers_that_find_redis_again_let_go_what_others_parked_meanwhile(
    own_valkey: Callable[..., Awaitable[OwnValkey]],
) -> None:
    valkey, notes = await own_valkey(), Notebook()
    async with (
        Redis.from_url(valkey.url) as redis,
        Producer.connect(valkey.url, budget=5) as producer,
        working(valkey.url, handler(notes.take, kind=Note.kind)) as worker,
    ):
        await producer.send(Note("first"))
        await eventually(reached(redis, done=1))
        receipt = await producer.send(Note("parked by another"), delay=timedelta(days=1))
        reason = "kind: no handler for note.take; deploy a worker that has one"
        note = {"why": "kind", "needs": "note.take@1", "reason": reason}
        await redis.hset(KEYS.parked, receipt.id, orjson.dumps(note))
        await valkey.kill()
        await eventually(lambda: worker.shards[0].pump.failed_cycles > 0)
        await valkey.start()
        await eventually(lambda: len(notes.seen) == 2, timeout=15)


async def test_a_job_that_is_taken_is_parked_no_more_whoever_made_it_due(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    receipt = await producer.send(Note("due again"))
    await redis.hset(KEYS.parked, receipt.id, '{"why":"uncertain","needs":"","reason":"an hour ago"}')
    async with working(valkey_url, handler(Notebook().take, kind=Note.kind)):
        await eventually(reached(redis, done=1))
    assert not await redis.exists(KEYS.parked)


# People's decisions


async def test_a_job_that_waits_for_a_decision_is_left_alone_by_workers_until_it_is_unparked(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    notes = Notebook()
    async with working(valkey_url, handler(notes.park, kind=Note.kind)):
        receipt = await producer.send(Note("uncertain"))
        await eventually(reached(redis, parked=1, uncertain=1))
    async with working(valkey_url, handler(notes.park, kind=Note.kind)):
        await producer.send(Note("another"))
        await eventually(reached(redis, done=1))
        code, out, _ = await ops(valkey_url, "why", receipt.id)
        assert code == 0
        assert "operator, uncertain: the server did not say whether it took it" in out
        code, out, _ = await ops(valkey_url, "parked", "--json")
        (parked,) = json.loads(out)["parked"]
        assert (parked["id"], parked["parking"]["why"]) == (receipt.id, "uncertain")
        assert len(notes.seen) == 2
        assert (await ops(valkey_url, "unpark", receipt.id))[0] == 0
        await eventually(reached(redis, done=2, parked=0))
    assert outcomes(await explain_job(redis, receipt.id)) == ["uncertain", "parked", "unparked"]
    assert await unpark_job(redis, receipt.id) == ("not parked", "")
    code, out, _ = await ops(valkey_url, "parked")
    assert (code, out) == (0, "There are no parked jobs.\n")


async def test_a_parked_job_can_be_cancelled_and_leaves_no_note(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    receipt = await producer.send(Note("unwanted"))
    async with working(valkey_url, handler(Notebook().take, kind="other.kind")):
        await eventually(reached(redis, parked=1))
    assert await cancel_job(redis, receipt.id) == ("gone", LANE)
    assert not await redis.exists(KEYS.parked, f"arq:job:{receipt.id}", KEYS.history(receipt.id))
    assert (await lane_of(redis)).cancelled == 1


# Taking back


async def test_a_producer_takes_a_waiting_job_back_and_has_a_running_one_stopped(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    begun = asyncio.Event()

    async def hang(_: dict[str, Any], **payload: Any) -> None:
        del payload
        begun.set()
        await asyncio.Event().wait()

    waiting = await producer.send(Note("waiting"), delay=timedelta(hours=1))
    assert [await producer.cancel(waiting.id) for _ in range(2)] == ["cancelled", "unknown"]
    async with working(valkey_url, handler(hang, kind=Note.kind)):
        receipt = await producer.send(Note("running"))
        await begun.wait()
        assert [await producer.cancel(receipt.id) for _ in range(2)] == ["stopping", "stopping"]
        await eventually(reached(redis, cancelled=2, leased=0))
    assert await producer.cancel(receipt.id) == "unknown"
    assert not await redis.exists(KEYS.cancelled)


# Progress


async def test_how_far_a_job_is_can_be_seen_while_it_runs_and_is_forgotten_when_it_ends(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    on = asyncio.Event()

    async def count(context: dict[str, Any], **payload: Any) -> None:
        del payload
        for done in range(1000):
            context["progress"](done, 1000, "nodes")
        await asyncio.to_thread(context["progress"], 400, 1000, "nodes")
        await on.wait()

    async def told() -> bool:
        progress = (await explain_job(redis, receipt.id)).job.progress
        return progress is not None and (progress.done, progress.total, progress.note) == (400, 1000, "nodes")

    async with working(valkey_url, handler(count, kind=Note.kind)):
        before = (await redis.info("commandstats")).get("cmdstat_hset", {"calls": 0})["calls"]
        receipt = await producer.send(Note("long"))
        await eventually(told)
        writes = (await redis.info("commandstats"))["cmdstat_hset"]["calls"] - before
        assert writes <= 3
        code, out, _ = await ops(valkey_url, "why", receipt.id)
        assert code == 0
        assert "progress   400 of 1000 (40 %) nodes, reported at " in out
        on.set()
        await eventually(reached(redis, done=1))
    assert not await redis.exists(KEYS.progress)


@pytest.mark.parametrize(
    ("done", "total", "note"), [(-1, 2, ""), (1, 0, ""), (float("nan"), 1, ""), (1, 2, "a\nb"), (1, 2, "x" * 201)]
)
async def test_a_progress_that_cannot_be_is_the_handlers_error(
    valkey_url: str, redis: Redis, producer: Producer, done: float, total: float, note: str
) -> None:
    async def wrong(context: dict[str, Any], **payload: Any) -> None:
        del payload
        context["progress"](done, total, note)

    async with working(valkey_url, handler(wrong, kind=Note.kind), policies={Note.kind: Policy(tries=1)}):
        receipt = await producer.send(Note("wrong"))
        await eventually(reached(redis, dead=1))
    assert "ValueError: progress: " in (await explain_job(redis, receipt.id)).job.history[-1].reason


# History


async def test_a_done_jobs_history_lives_as_long_as_its_result(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    tries = 0

    async def second_time(_: dict[str, Any], **payload: Any) -> None:
        nonlocal tries
        del payload
        tries += 1
        if tries == 1:
            raise TryLater("once", after=timedelta(0))

    async with working(valkey_url, handler(second_time, kind=Note.kind), keep_result=100):
        receipt = await producer.send(Note("twice"))
        await eventually(reached(redis, done=1))
    found = await explain_job(redis, receipt.id)
    assert (found.job.state, outcomes(found)) == ("done", ["retry"])
    lives = [await redis.pttl(key) for key in (f"arq:result:{receipt.id}", KEYS.history(receipt.id))]
    assert all(0 < life <= 100_000 for life in lives)


async def test_without_a_result_nothing_is_left_of_a_done_job(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    tries = 0

    async def second_time(_: dict[str, Any], **payload: Any) -> None:
        nonlocal tries
        del payload
        tries += 1
        if tries == 1:
            raise TryLater("once", after=timedelta(0))

    async with working(valkey_url, handler(second_time, kind=Note.kind), keep_result=0):
        receipt = await producer.send(Note("twice"))
        await eventually(reached(redis, done=1))
    assert not await redis.exists(f"arq:result:{receipt.id}", KEYS.history(receipt.id))
