"""What must not be in Redis, and is: a worker names it, puts it aside, and goes on with everything else.

Foreign bytes in every key of a lane and of a job, jobs that are none, ids of every shape, and requests that cannot
be meant. A real worker serves two lanes of different groups throughout.
"""

import asyncio
import math
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import orjson
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

import worker.engine.pump
from jobs import Policy
from jobs.schedule import InvalidSchedule
from ops.depth.read import LaneDepth, read_depth
from ops.depth.wrong_keys import wrong_keys
from ops.jobs.dead import list_dead
from ops.jobs.explain import explain_job
from ops.jobs.operations import discard_job, revive_job
from ops.jobs.parked import list_parked
from producers import InvalidRequest, NotEnqueued, Producer
from producers.key_types import key_types
from producers.keys import LaneKeys
from tests.notes import Note, running
from tests.support import eventually
from worker.engine import Cron, LaneSlots, Schedule, TryLater, Worker
from worker.engine.handler import handler
from worker.engine.lane import Completion

LANE, OTHER = "mail.normal", "reports"
KEYS = LaneKeys(LANE)
READ_BY_WORKERS = (
    *("queue", "leases", "wake", "counters", "retrying", "lapses", "effects", "dead", "adopted", "next", "holds"),
    *("cancelled", "parked", "progress", "limits"),
)


@dataclass(frozen=True)
class Elsewhere(Note):
    lane: ClassVar[str] = OTHER


class Notebook:
    def __init__(self) -> None:
        self.seen: list[str] = []

    async def take(self, _: dict[str, Any], text: str = "") -> None:
        self.seen.append(text)
        if text == "fails once" and self.seen.count(text) == 1:
            raise TryLater("not yet", after=timedelta(0))


@pytest.fixture(autouse=True)
def _lanes_rest_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.engine.pump, "_LANE_REST", 0.05)


@asynccontextmanager
async def working(url: str, notes: Notebook, **options: Any) -> AsyncIterator[Worker]:
    worker = Worker(
        [handler(notes.take, kind=Note.kind)],
        redis_url=url,
        lanes=[LaneSlots(LANE, 5), LaneSlots(OTHER, 5)],
        handle_signals=False,
        renew_every=timedelta(milliseconds=50),
        grace=timedelta(0),
        policies={Note.kind: Policy(tries=5)},
        **options,
    )
    async with running(worker):
        yield worker


def written(notes: Notebook, *texts: str) -> Callable[[], bool]:
    return lambda: set(texts) <= set(notes.seen)


async def lane_of(redis: Redis) -> LaneDepth:
    lane = (await read_depth(redis, tenant="default")).lane(LANE)
    assert lane is not None
    return lane


def reached(redis: Redis, **counts: int) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        lane = await lane_of(redis)
        return all(getattr(lane, name) == count for name, count in counts.items())

    return condition


async def foreign(redis: Redis, key: str) -> None:
    """A value of a type that the key must not have."""
    await redis.delete(key)
    await (
        redis.geoadd(key, (13.36, 38.11, "x"))
        if key.endswith(("retrying", "wake", "adopted", "cancelled"))
        else redis.set(key, b"\x80\x04foreign")
    )


async def why_dead(redis: Redis) -> list[str]:
    return [job.reason for job in await list_dead(redis, [LANE], limit=100)]


# Keys of a lane and of its group


@pytest.mark.parametrize("name", READ_BY_WORKERS)
async def test_a_lane_whose_key_holds_something_else_is_named_and_rests_while_others_go_on(
    valkey_url: str, redis: Redis, producer: Producer, name: str
) -> None:
    notes, key = Notebook(), getattr(KEYS, name)
    await producer.send(Note("fails once"))
    before = await redis.dump(key)
    await foreign(redis, key)
    with capture_logs() as said:
        async with working(valkey_url, notes):
            await eventually(lambda: events(said, "lane.broken"))
            await producer.send(Elsewhere("elsewhere"))
            await eventually(written(notes, "elsewhere"))
            assert any(key in words for words in await wrong_keys(redis))
            await redis.delete(key)
            if before is not None and name not in {"wake", "leases"}:
                await redis.restore(key, 0, before)
            await producer.send(Note("afterwards"))
            await eventually(written(notes, "afterwards"))
    (broken, *_) = events(said, "lane.broken")
    assert broken["lane"] == LANE
    assert any(words.startswith(f"{key} holds a ") for words in broken["keys"])


def events(said: list[Any], name: str) -> list[Mapping[str, Any]]:
    return [one for one in said if one["event_name"] == name]


async def test_every_key_that_workers_read_has_a_type_to_be_checked_against() -> None:
    known = key_types(KEYS)
    assert {getattr(KEYS, name) for name in READ_BY_WORKERS} <= known.keys()


async def test_outcomes_that_cannot_be_recorded_for_a_wrong_key_are_recorded_once_it_is_gone(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    begun, on = asyncio.Event(), asyncio.Event()

    async def wait(_: dict[str, Any], text: str) -> None:
        del text
        begun.set()
        await on.wait()

    notes = Notebook()
    notes.take = wait  # type: ignore[method-assign, assignment]
    with capture_logs() as said:
        async with working(valkey_url, notes):
            await producer.send(Note("running"))
            await begun.wait()
            await redis.rename(KEYS.counters, "aside")
            await foreign(redis, KEYS.counters)
            on.set()
            await eventually(lambda: events(said, "lane.broken"))
            await redis.rename("aside", KEYS.counters)
            await eventually(reached(redis, done=1))
            await eventually(lambda: events(said, "lane.mended"))
    lane = await lane_of(redis)
    assert (lane.accepted, lane.leased, lane.ready, lane.conserved) == (1, 0, 0, True)


@pytest.mark.parametrize("name", ["queue", "wake", "counters"])
async def test_a_producer_is_told_which_key_is_not_what_it_must_be_and_nothing_is_written(
    redis: Redis, producer: Producer, name: str
) -> None:
    key = getattr(KEYS, name)
    await foreign(redis, key)
    with pytest.raises(NotEnqueued, match=f"WRONGTYPE {key.replace('{', '.').replace('}', '.')}"):
        await producer.send(Note("a"), key="k")
    assert await redis.keys() == [key.encode()]


async def test_a_count_that_is_no_number_stops_its_lane_and_loses_nothing(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    notes = Notebook()
    await producer.send(Note("counted"))
    await redis.hset(KEYS.counters, f"done:{LANE}", "many")
    with capture_logs() as said:
        async with working(valkey_url, notes):
            await eventually(lambda: events(said, "lane.broken"))
            await redis.hset(KEYS.counters, f"done:{LANE}", "0")
            await eventually(reached(redis, done=1))
    assert (await lane_of(redis)).conserved


@pytest.mark.parametrize("garbled", ["done", "dead", "cancelled", "expired"])
async def test_outcomes_beside_one_whose_count_is_no_number_are_counted_once_in_the_end(
    valkey_url: str, redis: Redis, producer: Producer, garbled: str
) -> None:
    await producer.send_many([Note(str(number)) for number in range(4)])
    worker = Worker(
        [handler(Notebook().take, kind=Note.kind)],
        redis_url=valkey_url,
        lanes=[LaneSlots(LANE, 5)],
        handle_signals=False,
    )
    (lane,), store = worker.lanes, worker.shards[0].store
    claims = (await store.run_cycle([], [(lane, 4)])).claims
    none = timedelta(0)
    ended = [
        Completion(claim, outcome, none, b"", none, "")
        for claim, outcome in zip(claims, ("done", "dead", "cancelled", "expired"), strict=True)
    ]
    await redis.hset(KEYS.counters, f"{garbled}:{LANE}", "many")
    await redis.script_flush()  # what a script says when it has to be loaded first is its word too
    turn = await store.run_cycle([(lane, ended)], [])
    assert (turn.unrecorded, list(turn.faults), turn.error) == (ended, [LANE], None)
    await redis.hdel(KEYS.counters, f"{garbled}:{LANE}")
    assert (await store.run_cycle([(lane, ended)], [])).refused == []
    counts = await redis.hmget(
        KEYS.counters, [f"{event}:{LANE}" for event in ("done", "dead", "cancelled", "expired")]
    )
    assert counts == [b"1"] * 4
    await worker.close()


# Keys of a job


async def _as_list(redis: Redis, key: str) -> None:
    await redis.delete(key)
    await redis.rpush(key, "foreign")


@pytest.mark.parametrize(
    ("prefix", "reason"),
    [
        ("arq:job:", "holds a list, must be a payload"),
        ("arq:in-progress:", "must hold the token of a worker"),
    ],
)
async def test_a_job_whose_own_key_holds_something_else_is_dead_and_the_reason_names_the_key(
    valkey_url: str, redis: Redis, producer: Producer, prefix: str, reason: str
) -> None:
    notes = Notebook()
    receipt = await producer.send(Note("bad"))
    await _as_list(redis, prefix + receipt.id)
    await producer.send(Note("good"))
    async with working(valkey_url, notes):
        await eventually(reached(redis, dead=1, done=1))
    assert await why_dead(redis) == [f"{prefix}{receipt.id}: {reason}"]
    assert (await lane_of(redis)).conserved
    assert (await explain_job(redis, receipt.id)).job.state == "dead"
    assert (await revive_job(redis, receipt.id))[0] == "revived"
    assert (await discard_job(redis, receipt.id))[0] == "gone"
    assert (await lane_of(redis)).conserved


async def test_a_lock_that_never_ends_and_attempts_that_are_no_number_are_dead_with_a_reason(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    locked, *counted = [await producer.send(Note("bad")) for _ in range(4)]
    await redis.set(f"arq:in-progress:{locked.id}", "somebody, for ever")
    for receipt, attempts in zip(counted, ("many", "-3", "1e99"), strict=True):
        await redis.set(f"arq:retry:{receipt.id}", attempts)
    notes = Notebook()
    async with working(valkey_url, notes):
        await producer.send(Note("good"))
        await eventually(reached(redis, dead=4, done=1))
    assert notes.seen == ["good"]
    reasons = [f"arq:retry:{receipt.id}: must hold a number of attempts" for receipt in counted]
    assert sorted(await why_dead(redis)) == sorted(
        [f"arq:in-progress:{locked.id}: must hold the token of a worker", *reasons]
    )
    assert (await lane_of(redis)).conserved


async def test_a_history_a_result_or_a_count_of_lapses_of_another_kind_costs_the_job_nothing(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    notes = Notebook()
    receipt = await producer.send(Note("fails once"))
    await redis.set(KEYS.history(receipt.id), "foreign")
    await redis.rpush(f"arq:result:{receipt.id}", "foreign")
    await redis.hset(KEYS.lapses, receipt.id, "some")
    await redis.hset(KEYS.effects, receipt.id, "foreign")
    await redis.hset(KEYS.next, receipt.id, "foreign")
    await redis.hset(KEYS.parked, receipt.id, "foreign")
    async with working(valkey_url, notes):
        await eventually(reached(redis, done=1, leased=0, ready=0))
    found = await explain_job(redis, receipt.id)
    assert found.job.state == "done"
    assert [event.outcome for event in found.job.history] == ["uncertain", "retry"]
    assert (await lane_of(redis)).conserved


async def test_a_lapse_beside_a_count_that_is_no_number_is_counted_from_one(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    notes = Notebook()
    receipt = await producer.send(Note("orphan"))
    await redis.zadd(KEYS.leases, {receipt.id: 1})
    await redis.hset(KEYS.lapses, receipt.id, "some")
    async with working(valkey_url, notes):
        await eventually(reached(redis, done=1))


async def test_a_figure_for_people_that_is_no_number_refuses_no_job(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    (seconds, _), notes = await redis.time(), Notebook()
    for minute in range(seconds // 60, seconds // 60 + 3):
        await redis.set(f"momentus:{KEYS.tag}:minute:{minute}", "foreign")
    async with working(valkey_url, notes):
        await producer.send(Note("counted"))
        await eventually(lambda: redis.hget(KEYS.counters, f"done:{LANE}"))
    assert await redis.hget(KEYS.counters, f"done:{LANE}") == b"1"


# Jobs that are none

NOT_A_JOB = {
    "nothing": b"",
    "bytes": b"\x00\xff\xfe",
    "pickle": pickle.dumps({"f": "note.take", "a": (), "k": {}, "et": 1, "t": None}),
    "truncated": b'{"v":1,"f":"note.take","t":null,"a":[],"k":{"text":"trunc',
    "array": b"[1,2,3]",
    "kind": b'{"v":1,"f":{"note":"take"},"t":null,"a":[],"k":{},"et":1}',
    "time": b'{"v":1,"f":"note.take","t":null,"a":[],"k":{},"et":1e300}',
    "negative delay": b'{"v":1,"f":"note.take","t":null,"a":[],"k":{},"et":1,"d":-5}',
    "version": b'{"v":-1,"f":"note.take","t":null,"a":[],"k":{},"et":1}',
    "deep": b'{"v":' + b"[" * 50_000,
}


async def test_whatever_is_no_job_is_dead_with_a_reason_and_the_job_behind_it_is_done(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    notes = Notebook()
    for number, (name, octets) in enumerate(NOT_A_JOB.items()):
        await redis.set(f"arq:job:{{mail}}{name}", octets)
        await redis.zadd(KEYS.queue, {f"{{mail}}{name}": number})
    await redis.hincrby(
        KEYS.counters, f"accepted:{LANE}", sum(octets[:5] == b'{"v":' for octets in NOT_A_JOB.values())
    )
    async with working(valkey_url, notes):
        await producer.send(Note("good"))
        await eventually(reached(redis, dead=len(NOT_A_JOB), done=1))
    dead = {job.id: job.reason for job in await list_dead(redis, [LANE], limit=100)}
    assert dead.keys() == {f"{{mail}}{name}" for name in NOT_A_JOB}
    assert all(dead.values())
    assert (await lane_of(redis)).conserved


async def test_a_payload_from_a_newer_version_waits_and_nothing_else_does(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    @dataclass(frozen=True)
    class Newer(Note):
        version: ClassVar[int] = 7

    notes = Notebook()
    newer = await producer.send(Newer("newer"))
    async with working(valkey_url, notes):
        await producer.send(Note("good"))
        await eventually(reached(redis, parked=1, done=1))
    (parked,) = await list_parked(redis, [LANE], limit=10)
    newest = "version: 7 of note.take is newer than this worker's 1; deploy a newer worker"
    assert (parked.id, parked.parking.reason) == (newer.id, newest)


async def test_a_handlers_result_that_json_does_not_have_is_told_in_its_place_and_the_job_is_done(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    async def odd(_: dict[str, Any], text: str) -> object:
        return {"lone surrogate": "\ud800", "large": 2**70, "keys": {1: 2}}[text]

    notes = Notebook()
    notes.take = odd  # type: ignore[method-assign, assignment]
    receipts = [await producer.send(Note(text)) for text in ("lone surrogate", "large", "keys")]
    async with working(valkey_url, notes):
        await eventually(reached(redis, done=3))
    results = [orjson.loads(await redis.get(f"arq:result:{receipt.id}"))["r"] for receipt in receipts]
    assert results == ["result: a str that JSON cannot hold", "result: a int that JSON cannot hold", {"1": 2}]


# Ids and scores

IDS = [
    "{mail}with blanks  in it",
    "{mail}{with}{braces}",
    "{mail}line\nbreak\r\n",
    "{mail}\x00nul",
    "{mail}ñandú-東京",
    "no tag",
    "{mail}",
]


async def test_a_job_may_have_any_id_that_is_text(valkey_url: str, redis: Redis) -> None:
    notes = Notebook()
    for job_id in IDS:
        content = {"v": 1, "f": Note.kind, "t": None, "a": [], "k": {"text": job_id}, "et": 1}
        await redis.set(f"arq:job:{job_id}", orjson.dumps(content))
        await redis.zadd(KEYS.queue, {job_id: 1})
    async with working(valkey_url, notes):
        await eventually(written(notes, *IDS))
        await eventually(lambda: empty(redis))
    assert sorted(notes.seen) == sorted(IDS)


async def empty(redis: Redis) -> bool:
    return not await redis.zcard(KEYS.queue)


async def test_an_id_that_is_no_text_is_dead_and_the_others_are_done(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    bad: list[Any] = [
        b"{mail}\xff\xfe",
        b"{mail}\xc3",
        b"{mail}\xed\xa0\x80",
        b"{mail}\xc0\x80",
        b"{mail}\xf5\x80\x80\x80",
        b"\xff",
    ]
    for job_id in bad:
        await redis.set(b"arq:job:" + job_id, orjson.dumps({"f": Note.kind, "t": None, "a": [], "k": {}, "et": 1}))
        await redis.zadd(KEYS.queue, {job_id: 1})
    notes = Notebook()
    async with working(valkey_url, notes):
        await producer.send(Note("good"))
        await eventually(reached(redis, dead=len(bad), done=1))
    assert set(await why_dead(redis)) == {"id: must be UTF-8"}
    assert notes.seen == ["good"]


async def test_scores_beyond_every_calendar_hold_nobody_up(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    notes = Notebook()
    receipts = [await producer.send(Note(text)) for text in ("first", "negative", "never", "huge")]
    for receipt, score in zip(receipts, (-math.inf, -1e300, math.inf, 1e300), strict=True):
        await redis.zadd(KEYS.queue, {receipt.id: score})
    async with working(valkey_url, notes):
        await eventually(written(notes, "first", "negative"))
        await producer.send(Note("good"))
        await eventually(written(notes, "good"))
        assert {(await explain_job(redis, receipt.id)).job.state for receipt in receipts[2:]} == {"scheduled"}
    assert (await lane_of(redis)).conserved


async def test_a_member_of_the_queue_without_a_payload_has_vanished_and_is_counted(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    notes = Notebook()
    await redis.zadd(KEYS.queue, {"nobody's": 1})
    async with working(valkey_url, notes):
        await producer.send(Note("good"))
        await eventually(reached(redis, done=1, vanished=1))
    assert (await lane_of(redis)).conserved


@pytest.mark.parametrize("last", ["soon", "1e999", str(10**30), ""])
async def test_a_cron_whose_last_tick_is_no_time_ticks_on(valkey_url: str, redis: Redis, last: str) -> None:
    notes = Notebook()
    await redis.hset(KEYS.crons, "every second", last)
    every_second = Schedule(second=range(60))
    cron = Cron(name="every second", schedule=every_second, kind=Note.kind, lane=LANE, payload={"text": "tick"})
    async with working(valkey_url, notes, crons=[cron]):
        await eventually(written(notes, "tick"))


# Requests that cannot be meant


@pytest.mark.parametrize(
    ("terms", "named"),
    [
        ({"delay": timedelta(seconds=-1)}, "delay: "),
        ({"at": datetime(2030, 1, 1)}, "at: "),  # noqa: DTZ001  a naive one is what is refused
        ({"at": datetime.max.replace(tzinfo=UTC)}, "at: "),
        ({"expires": timedelta(0)}, "expires: "),
        ({"expires": timedelta.max}, "expires: "),
        ({"expires": datetime(2000, 1, 1, tzinfo=UTC)}, "expires: "),
        ({"expires": timedelta(hours=1), "delay": timedelta(hours=2)}, "expires: "),
        ({"limit": ""}, "limit: "),
        ({"limit": "two words"}, "limit: "),
    ],
)
async def test_terms_that_cannot_be_meant_are_refused_by_name_and_nothing_is_queued(
    redis: Redis, producer: Producer, terms: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"^{named}"):
        await producer.send(Note("a"), **terms)
    assert not await redis.keys()


@pytest.mark.parametrize("job_id", ["", "no tag", "{mail}", "{mail}two\nlines", "{}x", 7, None])
async def test_an_id_that_no_producer_made_is_refused_by_name(producer: Producer, job_id: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^job_id: "):
        await producer.cancel(job_id)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ({"day": 30, "month": 2}, "day 30"),
        ({"hour": 24}, "hour: must be from 0 to 23"),
        ({"weekday": ()}, "weekday: "),
    ],
)
def test_a_cron_line_that_never_fires_is_refused_by_name_when_it_is_made(line: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidSchedule, match=named):
        Schedule(**line)
