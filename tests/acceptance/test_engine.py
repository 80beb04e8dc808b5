"""The engine's promises, against a real Valkey."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, ClassVar

import orjson
import pytest
from redis.asyncio import Redis

from jobs import Policy
from producers import Producer, QueueFull, Receipt
from producers.keys import LaneKeys
from tests.notes import Note, looked_at, running
from tests.support import eventually
from worker.engine import Cron, GiveUp, LaneSlots, Schedule, TryLater, Worker
from worker.engine.handler import handler
from worker.engine.lane import Claim, Completion
from worker.engine.store import engine_script

pytestmark = pytest.mark.on_cluster_too

LANE = "mail.normal"
KEYS = LaneKeys(LANE)


@asynccontextmanager
async def working(url: str, coroutine: Callable[..., Any], **options: Any) -> AsyncIterator[Worker]:
    worker = Worker(
        [handler(coroutine, kind=Note.kind)],
        redis_url=url,
        handle_signals=False,
        **{"lanes": [LaneSlots(LANE, 10)], **options},
    )
    async with running(worker):
        yield worker


async def counters(redis: Redis) -> dict[str, int]:
    return {name.decode(): int(count) for name, count in (await redis.hgetall(KEYS.counters)).items()}


async def conserved(redis: Redis) -> bool:
    counts = await counters(redis)
    ended = sum(counts.get(f"{how}:{LANE}", 0) for how in ("done", "discarded", "vanished", "cancelled"))
    left = await redis.zcard(KEYS.queue) + await redis.zcard(KEYS.dead)
    return counts.get(f"accepted:{LANE}", 0) == ended + left


async def test_every_job_runs_once_and_leaves_only_its_result(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    seen: list[str] = []

    async def take(_: dict[str, Any], text: str) -> None:
        seen.append(text)

    async with working(valkey_url, take):
        receipts = await producer.send_many([Note(str(n)) for n in range(2500)])
        await eventually(lambda: len(seen) == 2500)
        await eventually(lambda: redis.hget(KEYS.counters, f"done:{LANE}"))
        await eventually(lambda: conserved(redis))
    assert sorted(seen, key=int) == [str(n) for n in range(2500)]
    assert len({receipt.id for receipt in receipts}) == 2500
    left = {key.decode().split(":{")[0] for key in await redis.keys()}
    assert left <= {"arq:result", "momentus"}
    assert await redis.zcard(KEYS.leases) == 0


async def test_the_same_key_gives_the_same_receipt_and_one_job(redis: Redis, producer: Producer) -> None:
    first = await producer.send(Note("a"), key="k")
    again = await producer.send(Note("a"), key="k")
    assert (again.id, again.state) == (first.id, "duplicate")
    assert await redis.zcard(KEYS.queue) == 1


async def test_a_failing_job_is_tried_again_until_its_policy_gives_up(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    attempts: list[int] = []

    async def take(context: dict[str, Any], text: str) -> None:
        attempts.append(context["job_try"])
        raise RuntimeError(text)

    policy = Policy(tries=3, first_wait=timedelta(milliseconds=5))
    async with working(valkey_url, take, policies={Note.kind: policy}):
        receipt = await producer.send(Note("broken"))
        await eventually(lambda: redis.zscore(KEYS.dead, receipt.id))
    assert attempts == [1, 2, 3]
    history = await redis.lrange(KEYS.history(receipt.id), 0, -1)
    assert b"attempt 3 of 3 failed: RuntimeError: broken" in history[-1]
    assert await redis.exists(f"arq:job:{receipt.id}")
    assert await conserved(redis)


async def test_a_handler_that_gives_up_makes_the_job_dead_at_once(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    async def take(_: dict[str, Any], text: str) -> None:
        raise GiveUp(text)

    async with working(valkey_url, take):
        receipt = await producer.send(Note("no such person"))
        await eventually(lambda: redis.zscore(KEYS.dead, receipt.id))
    assert await conserved(redis)


async def test_a_wait_that_is_not_the_jobs_fault_costs_no_attempt(valkey_url: str, producer: Producer) -> None:
    attempts: list[int] = []

    async def take(context: dict[str, Any], text: str) -> None:
        del text
        attempts.append(context["job_try"])
        if len(attempts) < 4:
            raise TryLater("account is paused", after=timedelta(milliseconds=1), charged=False)

    async with working(valkey_url, take):
        await producer.send(Note("patient"))
        await eventually(lambda: len(attempts) == 4)
    assert attempts == [1, 1, 1, 1]


async def test_a_delayed_job_starts_when_it_is_due_and_not_before(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    started: list[float] = []

    async def take(context: dict[str, Any], text: str) -> None:
        del text
        seconds, micros = await redis.time()
        started.append(seconds * 1000 + micros / 1000 - context["score"])

    async with working(valkey_url, take):
        await producer.send(Note("later"), delay=timedelta(milliseconds=150))
        await eventually(lambda: started)
    assert started[0] >= 0


async def test_shutdown_hands_running_jobs_back_uncharged(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    begun = asyncio.Event()

    async def hang(_: dict[str, Any], text: str) -> None:
        del text
        begun.set()
        await asyncio.Event().wait()

    async with working(valkey_url, hang, grace=timedelta(milliseconds=10)):
        receipt = await producer.send(Note("long"))
        await begun.wait()
    assert await redis.zscore(KEYS.queue, receipt.id)
    assert not await redis.exists(f"arq:retry:{receipt.id}", f"arq:in-progress:{receipt.id}")
    assert await conserved(redis)


async def test_a_job_whose_worker_died_runs_again_when_the_lease_lapses(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    begun = asyncio.Event()

    async def hang(_: dict[str, Any], text: str) -> None:
        del text
        begun.set()
        await asyncio.Event().wait()

    lease: dict[str, Any] = {"lease": timedelta(milliseconds=300), "renew_every": timedelta(milliseconds=100)}
    dying = Worker(
        [handler(hang, kind=Note.kind)],
        redis_url=valkey_url,
        lanes=[LaneSlots(LANE, 1)],
        handle_signals=False,
        **lease,
    )
    task = asyncio.create_task(dying.async_run())
    receipt = await producer.send(Note("orphan"))
    await begun.wait()
    task.cancel()  # what a killed worker leaves: a lease that nobody renews
    await asyncio.gather(task, return_exceptions=True)
    attempts: list[int] = []

    async def take(context: dict[str, Any], text: str) -> None:
        del text
        attempts.append(context["job_try"])

    async with working(valkey_url, take, **lease):
        await eventually(lambda: attempts)
        await eventually(lambda: conserved(redis))
    dying.runner.stop_all()
    await asyncio.gather(*dying.runner.tasks, return_exceptions=True)
    (lane,) = dying.lanes
    late = await dying.shards[0].store.run_cycle([(lane, lane.take_ended())], [])
    assert [one.claim.id for one in late.refused] == [receipt.id]
    assert attempts == [2]
    assert not await redis.zscore(KEYS.queue, receipt.id)
    assert (await counters(redis))[f"lapsed:{LANE}"] == 1
    await dying.close()


async def test_a_worker_whose_lease_lapsed_can_record_nothing_while_another_runs_the_job(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    receipt = await producer.send(Note("contended"))
    first, second = (
        Worker(
            [handler(_nothing, kind=Note.kind)],
            redis_url=valkey_url,
            lanes=[LaneSlots(LANE, 1)],
            handle_signals=False,
            lease=lease,
        )
        for lease in (timedelta(milliseconds=20), timedelta(seconds=30))
    )
    (stale,) = (await first.shards[0].store.run_cycle([], [(first.lanes[0], 1)])).claims

    async def taken_over() -> list[Claim]:
        return (await second.shards[0].store.run_cycle([], [(second.lanes[0], 1)])).claims

    (live,) = await eventually(taken_over)
    done = Completion(stale, "done", timedelta(0), b"", timedelta(0), "")
    late = await first.shards[0].store.run_cycle([(first.lanes[0], [done])], [])
    assert late.refused == [done]
    assert not await first.shards[0].store.marks.make_mark(stale, KEYS.effects)
    deadline = await redis.zscore(KEYS.leases, receipt.id)
    renewal = redis.register_script(engine_script("renew"))
    held = [KEYS.queue, KEYS.leases, KEYS.cancelled]
    assert await renewal(keys=held, args=[600_000, stale.id, stale.token]) == [[1], []]
    assert await redis.zscore(KEYS.leases, receipt.id) == deadline
    assert await redis.get(f"arq:in-progress:{receipt.id}") == live.token.encode()
    assert await redis.exists(f"arq:job:{receipt.id}")
    assert f"done:{LANE}" not in await counters(redis)
    await first.close()
    await second.close()


async def test_a_job_that_takes_its_worker_down_too_often_is_dead(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    receipt = await producer.send(Note("poison"))
    one = Worker(
        [handler(_nothing, kind=Note.kind)],
        redis_url=valkey_url,
        lanes=[LaneSlots(LANE, 1)],
        handle_signals=False,
        lease=timedelta(milliseconds=20),
        crash_limit=3,
    )
    lane = one.lanes[0]

    async def lease_and_crash() -> bool:
        await one.shards[0].store.run_cycle([], [(lane, 1)])
        return bool(await redis.zscore(KEYS.dead, receipt.id))

    await eventually(lease_and_crash)
    await one.close()
    history = await redis.lrange(KEYS.history(receipt.id), 0, -1)
    assert b"crash_loop" in history[-1]
    assert await conserved(redis)


async def test_jobs_that_lost_their_worker_together_have_their_last_run_one_by_one(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    """So the one that takes its worker down is dead alone, whoever of them it is."""
    receipts = [await producer.send(Note(text)) for text in ("poison", "a", "b", "c")]
    one = Worker(
        [handler(_nothing, kind=Note.kind)],
        redis_url=valkey_url,
        lanes=[LaneSlots(LANE, 4)],
        handle_signals=False,
        lease=timedelta(milliseconds=50),
        crash_limit=3,
    )
    store, lane = one.shards[0].store, one.lanes[0]

    async def claim() -> list[Claim]:
        return list((await store.run_cycle([], [(lane, 4)])).claims)

    assert [len(await eventually(claim)) for _ in range(2)] == [4, 4]

    async def run_each_but_the_poison() -> bool:
        claims = await claim()
        assert len(claims) <= 1
        done = [Completion(last, "done", timedelta(0), b"", timedelta(0), "") for last in claims]
        await store.run_cycle([(lane, [end for end in done if end.claim.id != receipts[0].id])], [])
        return not await redis.zcard(KEYS.queue)

    await eventually(run_each_but_the_poison)
    await one.close()
    assert [one.decode() for one in await redis.zrange(KEYS.dead, 0, -1)] == [receipts[0].id]
    assert await conserved(redis)


async def held_up(redis: Redis, url: str, receipt: Receipt, *, claims: int, taken_over: bool) -> bool:
    """A worker that is paused beyond each of its leases, and tells so before or after the job is claimed anew.

    Whether the job is dead then.
    """
    one = Worker(
        [handler(_nothing, kind=Note.kind)],
        redis_url=url,
        lanes=[LaneSlots(LANE, 1)],
        handle_signals=False,
        lease=timedelta(milliseconds=20),
        crash_limit=3,
    )
    store, lane, stale = one.shards[0].store, one.lanes[0], list[Claim]()

    async def claimed() -> bool:
        claims = (await store.run_cycle([], [(lane, 1)])).claims
        stale.extend(claims)
        return bool(claims or await redis.zscore(KEYS.dead, receipt.id))

    async def lapsed() -> bool:
        return not await redis.exists(f"arq:in-progress:{receipt.id}")

    for _ in range(claims):
        await eventually(claimed)
        if len(stale) > taken_over:
            await eventually(lapsed)
            told = Completion(stale.pop(0), "done", timedelta(0), b"", timedelta(0), "")
            assert (await store.run_cycle([(lane, [told])], [])).refused == [told]
    await one.close()
    return bool(await redis.zscore(KEYS.dead, receipt.id))


@pytest.mark.parametrize("taken_over", [False, True], ids=["before it is claimed anew", "after"])
async def test_a_worker_that_was_held_up_and_tells_so_was_not_taken_down(
    valkey_url: str, redis: Redis, producer: Producer, *, taken_over: bool
) -> None:
    receipt = await producer.send(Note("paused"))
    assert not await held_up(redis, valkey_url, receipt, claims=8, taken_over=taken_over)
    async with working(valkey_url, _nothing):
        await eventually(lambda: redis.hget(KEYS.counters, f"done:{LANE}"))
    assert not await redis.exists(KEYS.lapses)
    assert await conserved(redis)


async def test_a_job_that_holds_up_its_workers_without_end_is_dead(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    receipt = await producer.send(Note("freezes"))
    assert await held_up(redis, valkey_url, receipt, claims=32, taken_over=False)
    assert await conserved(redis)


async def _nothing(_: dict[str, Any], text: str) -> None:
    del text


async def test_an_unknown_kind_waits_for_a_worker_that_has_it(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    class Other(Note):
        kind: ClassVar[str] = "note.other"

    async with working(valkey_url, _nothing):
        receipt = await producer.send(Other("for somebody else"))
        await eventually(lambda: redis.exists(KEYS.history(receipt.id)))
    assert not await redis.zscore(KEYS.dead, receipt.id)
    assert b"no handler for" in (await redis.lrange(KEYS.history(receipt.id), 0, -1))[0]


async def test_octets_that_are_no_job_are_quarantined_and_the_worker_goes_on(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    seen: list[str] = []

    async def take(_: dict[str, Any], text: str) -> None:
        seen.append(text)

    await redis.set("arq:job:{mail}foreign", b"\x80\x04\x95 a pickle")
    await redis.zadd(KEYS.queue, {"{mail}foreign": 1})
    async with working(valkey_url, take):
        await eventually(lambda: redis.zscore(KEYS.dead, "{mail}foreign"))
        await producer.send(Note("fine"))
        await eventually(lambda: seen)
    assert await conserved(redis)


async def test_at_the_memory_limit_nothing_new_is_taken_and_workers_go_on(
    own_valkey: Callable[..., Any],
) -> None:
    valkey = await own_valkey()
    seen: list[str] = []

    async def take(context: dict[str, Any], text: str) -> None:
        assert await context["begin_effect"]()
        seen.append(text)

    async with Redis.from_url(valkey.url) as redis, Producer.connect(valkey.url, budget=5) as producer:
        await producer.send_many([Note(str(n)) for n in range(50)])
        await redis.config_set("maxmemory", "1mb")
        with pytest.raises(QueueFull):
            await producer.send(Note("too much"))
        async with working(valkey.url, take):
            await eventually(lambda: len(seen) == 50)
            await eventually(lambda: conserved(redis))


async def test_a_job_that_dies_in_its_effect_is_counted_as_uncertain_when_it_is_buried(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    receipt = await producer.send(Note("poison"))
    one = Worker(
        [handler(_nothing, kind=Note.kind)],
        redis_url=valkey_url,
        lanes=[LaneSlots(LANE, 1)],
        handle_signals=False,
        lease=timedelta(milliseconds=500),
        crash_limit=1,
    )
    lane = one.lanes[0]
    (claim,) = (await one.shards[0].store.run_cycle([], [(lane, 1)])).claims
    assert await one.shards[0].store.marks.make_mark(claim, KEYS.effects)

    async def buried() -> bool:
        await one.shards[0].store.run_cycle([], [(lane, 1)])
        return bool(await redis.zscore(KEYS.dead, receipt.id))

    await eventually(buried)
    await one.close()
    assert (await counters(redis))[f"uncertain:{LANE}"] == 1
    assert not await redis.exists(KEYS.effects)
    assert await conserved(redis)


@pytest.mark.one_server("stock arq knows no cluster")
async def test_a_deferred_job_of_a_stock_producer_is_counted_once(valkey_url: str, redis: Redis) -> None:
    attempts: list[int] = []

    async def take(context: dict[str, Any], text: str) -> None:
        del text
        attempts.append(context["job_try"])
        if len(attempts) < 3:
            raise TryLater("not now", after=timedelta(milliseconds=1), charged=False)

    foreign: dict[str, Any] = {"t": None, "f": Note.kind, "a": [], "k": {"text": "x"}, "et": 1_700_000_000_000}
    await redis.set("arq:job:abc", orjson.dumps(foreign))
    await redis.zadd(KEYS.queue, {"abc": 1})
    await redis.zadd(KEYS.queue, {"vanished": 1})
    async with working(valkey_url, take):
        await eventually(lambda: len(attempts) == 3)
        await eventually(lambda: conserved(redis))
    counts = await counters(redis)
    assert (counts[f"accepted:{LANE}"], counts[f"done:{LANE}"], counts[f"vanished:{LANE}"]) == (2, 1, 1)
    assert not await redis.exists(KEYS.adopted)


async def test_a_stopped_worker_is_no_longer_listed(valkey_url: str, redis: Redis) -> None:
    async with working(valkey_url, _nothing) as worker:
        await eventually(lambda: redis.exists(KEYS.worker(worker.worker_id)))
    assert await redis.zcard(KEYS.workers) == 0


async def test_a_worker_outlives_its_redis_and_goes_on_when_it_is_back(own_valkey: Callable[..., Any]) -> None:
    valkey = await own_valkey()
    seen: list[str] = []
    begun, resume = asyncio.Event(), asyncio.Event()

    async def take(_: dict[str, Any], text: str) -> None:
        if text == "running":
            begun.set()
            await resume.wait()
        seen.append(text)

    async with Producer.connect(valkey.url, budget=5) as producer, working(valkey.url, take) as worker:
        await producer.send(Note("running"))
        await begun.wait()
        await valkey.kill()
        resume.set()
        await eventually(lambda: worker.shards[0].pump.failed_cycles)
        await valkey.start()
        await eventually(lambda: worker.shards[0].pump.failed_cycles == 0)
        await producer.send(Note("after"))
        await eventually(lambda: "after" in seen)
    assert seen.count("running") == 1


async def test_a_job_that_somebody_else_runs_is_not_counted_as_lapsed(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    receipt = await producer.send(Note("taken over by a stock worker"))
    one = Worker([handler(_nothing, kind=Note.kind)], redis_url=valkey_url, lanes=[LaneSlots(LANE, 5)])
    await redis.zadd(KEYS.leases, {receipt.id: 1})
    await redis.set(f"arq:in-progress:{receipt.id}", "1", px=310_000)
    for _ in range(5):
        assert not (await one.shards[0].store.run_cycle([], [(one.lanes[0], 5)])).claims
    await one.close()
    assert f"lapsed:{LANE}" not in await counters(redis)
    assert not await redis.zcard(KEYS.dead)


async def test_a_held_lane_waits_until_it_is_released(valkey_url: str, redis: Redis, producer: Producer) -> None:
    seen: list[str] = []

    async def take(_: dict[str, Any], text: str) -> None:
        seen.append(text)

    await redis.hset(
        KEYS.holds, f"lane:{LANE}", orjson.dumps({"until_ms": None, "reason": "maintenance"}).decode()
    )
    async with working(valkey_url, take) as worker:
        await producer.send(Note("patient"))
        await looked_at(worker, redis)
        assert await redis.zcard(KEYS.leases) == 0
        await redis.hdel(KEYS.holds, f"lane:{LANE}")
        await redis.lpush(KEYS.wake, "1")
        await eventually(lambda: seen)


async def test_a_hold_with_an_end_ends_by_itself(valkey_url: str, redis: Redis, producer: Producer) -> None:
    seconds, _ = await redis.time()
    hold = {"until_ms": seconds * 1000 + 1200, "reason": "the provider said so"}
    await redis.hset(KEYS.holds, f"lane:{LANE}", orjson.dumps(hold).decode())
    started: list[float] = []

    async def take(_: dict[str, Any], text: str) -> None:
        del text
        now_seconds, micros = await redis.time()
        started.append(now_seconds * 1000 + micros / 1000)

    async with working(valkey_url, take):
        await producer.send(Note("patient"))
        await eventually(lambda: started)
    assert started[0] >= hold["until_ms"]
    assert not await redis.hlen(KEYS.holds)


async def test_a_running_job_that_is_cancelled_stops_and_does_not_come_back(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    begun, stopped = asyncio.Event(), asyncio.Event()

    async def hang(_: dict[str, Any], text: str) -> None:
        del text
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async with working(valkey_url, hang, renew_every=timedelta(milliseconds=20)):
        receipt = await producer.send(Note("long"))
        await begun.wait()
        await redis.sadd(KEYS.cancelled, receipt.id)
        await stopped.wait()

        async def cancelled() -> bool:
            return (await counters(redis)).get(f"cancelled:{LANE}") == 1

        await eventually(cancelled)
    assert await redis.zcard(KEYS.queue) == 0
    assert not await redis.exists(KEYS.cancelled, f"arq:job:{receipt.id}", f"arq:in-progress:{receipt.id}")


async def test_a_handler_that_blocks_the_event_loop_keeps_its_lease(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    attempts: list[int] = []

    async def block(context: dict[str, Any], text: str) -> None:
        del text
        attempts.append(context["job_try"])
        time.sleep(0.5)  # noqa: ASYNC251  the fault this is about

    lease = {"lease": timedelta(milliseconds=200), "renew_every": timedelta(milliseconds=40)}
    async with working(valkey_url, block, **lease):
        await producer.send(Note("blocking"))
        await eventually(lambda: redis.hget(KEYS.counters, f"done:{LANE}"))
    assert attempts == [1]
    assert f"lapsed:{LANE}" not in await counters(redis)


async def test_a_wedged_handler_loses_its_lease_for_good(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    attempts: list[int] = []

    async def wedge(context: dict[str, Any], text: str) -> None:
        del text
        attempts.append(context["job_try"])
        if len(attempts) == 1:
            while len(attempts) == 1:
                try:
                    await asyncio.sleep(0.01)
                except asyncio.CancelledError:
                    continue  # the fault this is about: it does not stop when told to

    short = {"lease": timedelta(milliseconds=100), "renew_every": timedelta(milliseconds=20)}
    async with working(valkey_url, wedge, max_run=timedelta(milliseconds=50), **short) as first:
        await producer.send(Note("wedged"))
        await eventually(lambda: attempts)
        first.shards[0].pump.claiming = False
        async with working(valkey_url, wedge):
            await eventually(lambda: len(attempts) == 2)
            await eventually(lambda: conserved(redis))
    assert attempts == [1, 2]


async def test_workers_with_the_same_cron_run_each_tick_once(valkey_url: str, redis: Redis) -> None:
    seen: list[str] = []

    async def take(_: dict[str, Any], text: str) -> None:
        seen.append(text)

    every_second = Cron(
        name="tidy",
        schedule=Schedule(second=range(60)),
        kind=Note.kind,
        lane=LANE,
        payload={"text": "tidy"},
        overlap=True,
    )
    async with working(valkey_url, take, crons=[every_second]), working(valkey_url, take, crons=[every_second]):
        await eventually(lambda: len(seen) >= 2)
        ticks = int(await redis.hget(KEYS.counters, f"accepted:{LANE}"))
        assert len(seen) <= ticks
    assert await conserved(redis)
