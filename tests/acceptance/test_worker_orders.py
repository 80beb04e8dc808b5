"""Operators quiet, resume and stop one worker, from the console and the command line; the worker obeys once."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from ops.audit.log import list_entries
from ops.depth.live_workers import LiveWorker
from ops.depth.read import read_depth
from ops.workers.order import WorkerOrder, order_worker
from producers import Producer
from producers.keys import LaneKeys
from tests.command_line import run_ops
from tests.console_inside import inside
from tests.notes import LANE, Note
from tests.support import eventually
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler
from worker.engine.orders import LoopProbe, Order
from worker.fleet_keys import order_key

pytestmark = pytest.mark.on_cluster_too

KEYS = LaneKeys(LANE)
NOBODY = "0123456789abcdef"


@dataclass
class Crew:
    """A worker at work, and what its jobs did."""

    worker: Worker
    redis: Redis
    run: asyncio.Task[Any]
    go: asyncio.Event
    began: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        return self.worker.worker_id

    async def seen(self) -> LiveWorker | None:
        workers = (await read_depth(self.redis, tenant="default")).workers
        return next((one for one in workers if one.id == self.id), None)

    def is_in(self, state: str) -> Callable[[], Awaitable[bool]]:
        async def reported() -> bool:
            seen = await self.seen()
            return seen is not None and seen.state == state

        return reported


@asynccontextmanager
async def crew_of(url: str, redis: Redis, *lanes: str, **options: Any) -> AsyncIterator[Crew]:
    """A worker that ends a job "hang" when it may go."""
    crew: Crew

    async def take(_: dict[str, Any], text: str) -> None:
        crew.began.append(text)
        if text == "hang":
            await crew.go.wait()
        crew.ended.append(text)

    worker = Worker(
        [handler(take, kind=Note.kind)],
        redis_url=url,
        lanes=[LaneSlots(lane, 3) for lane in lanes or (LANE,)],
        handle_signals=False,
        renew_every=timedelta(milliseconds=50),
        **options,
    )
    crew = Crew(worker, redis, asyncio.create_task(worker.async_run()), asyncio.Event())
    try:
        await eventually(crew.is_in("runs"))
        yield crew
    finally:
        crew.go.set()
        worker.obey_order("stop")
        await crew.run
        await worker.close()


async def test_a_quiet_worker_ends_what_it_runs_claims_nothing_and_stays(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    async with crew_of(valkey_url, redis) as crew:
        await producer.send(Note("hang"))
        await eventually(lambda: crew.began)
        assert await order_worker(redis, crew.id, "quiet") == "ordered"
        await eventually(crew.is_in("quiet"))
        await producer.send(Note("later"))
        crew.go.set()

        async def one_is_left() -> bool:
            return await redis.zcard(KEYS.queue) == 1

        await eventually(one_is_left)
        assert (crew.began, crew.ended, crew.run.done()) == (["hang"], ["hang"], False)
        assert await order_worker(redis, crew.id, "resume") == "ordered"
        await eventually(lambda: "later" in crew.ended)
        await eventually(crew.is_in("runs"))


async def test_a_stopped_worker_ends_what_it_runs_and_exits(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    async with crew_of(valkey_url, redis) as crew:
        await producer.send(Note("hang"))
        await eventually(lambda: crew.began)
        assert await order_worker(redis, crew.id, "stop") == "ordered"
        await eventually(crew.is_in("stops"))
        await producer.send(Note("later"))
        assert await order_worker(redis, crew.id, "stop") == "stops"
        assert await order_worker(redis, crew.id, "resume") == "stops"
        crew.go.set()
        await eventually(crew.run.done)
        assert (crew.ended, await redis.zcard(KEYS.queue)) == (["hang"], 1)
        assert await order_worker(redis, crew.id, "stop") == "gone"
        assert not await redis.exists(order_key(KEYS, crew.id))


async def test_the_same_order_twice_is_one_and_the_latest_counts(valkey_url: str, redis: Redis) -> None:
    async with crew_of(valkey_url, redis) as crew:
        assert await order_worker(redis, crew.id, "resume") == "unchanged"
        assert await order_worker(redis, crew.id, "quiet") == "ordered"
        assert await order_worker(redis, crew.id, "quiet") == "unchanged"
        await eventually(crew.is_in("quiet"))
        assert await order_worker(redis, crew.id, "quiet") == "unchanged"
        for _ in range(2):
            assert await order_worker(redis, crew.id, "resume") == "ordered"
            await eventually(crew.is_in("runs"))
            assert await order_worker(redis, crew.id, "quiet") == "ordered"
            await eventually(crew.is_in("quiet"))


async def test_an_order_that_expires_changes_nothing(valkey_url: str, redis: Redis) -> None:
    async with crew_of(valkey_url, redis) as crew:
        await order_worker(redis, crew.id, "quiet")
        await eventually(crew.is_in("quiet"))
        assert 0 < await redis.pttl(order_key(KEYS, crew.id)) <= 3_600_000
        await redis.delete(order_key(KEYS, crew.id))
        before = await redis.zscore(KEYS.workers, crew.id)

        async def reported_again() -> bool:
            return bool(await redis.zscore(KEYS.workers, crew.id) != before) and await crew.is_in("quiet")()

        await eventually(reported_again)
        assert await order_worker(redis, crew.id, "quiet") == "unchanged"
        assert await order_worker(redis, crew.id, "resume") == "ordered"
        await eventually(crew.is_in("runs"))


async def test_a_worker_of_several_groups_has_one_state(valkey_url: str, redis: Redis) -> None:
    async with crew_of(valkey_url, redis, LANE, "reports") as crew:
        await order_worker(redis, crew.id, "quiet")
        await eventually(crew.is_in("quiet"))
        for keys in (KEYS, LaneKeys("reports")):

            async def tells(keys: LaneKeys = keys) -> bool:
                return b'"state":"quiet"' in (await redis.get(keys.worker(crew.id)) or b"")

            await eventually(tells)
        assert await redis.exists(order_key(KEYS, crew.id))
        assert not await redis.exists(order_key(LaneKeys("reports"), crew.id))


async def test_the_heartbeat_tells_version_and_delays(valkey_url: str, redis: Redis) -> None:
    async with crew_of(valkey_url, redis, facts={"version": "1.2.3", "parent": 7}) as crew:
        seen = await crew.seen()
        assert seen is not None
        assert (seen.version, seen.parent) == ("1.2.3", 7)
        assert seen.loop_lag_ms is not None
        assert seen.lease_lag_ms is not None
        assert await order_worker(redis, crew.id, "stop") == "beside"


async def test_a_loop_that_does_not_answer_shows_how_long() -> None:
    probe = LoopProbe(asyncio.get_running_loop())
    assert probe.measure() == 0
    first, second = probe.measure(), probe.measure()  # no turn of the loop in between
    assert 0 < first < second
    await asyncio.sleep(0)
    assert probe.measure() >= second


@pytest.mark.parametrize(
    ("facts", "outcome"),
    [
        ({"host": "h", "pid": 1, "lanes": {}}, "deaf"),
        ({"host": "h", "pid": 1, "lanes": {}, "state": "stops"}, "stops"),
        ("no report", "deaf"),
        (None, "gone"),
    ],
)
async def test_a_worker_that_cannot_obey_is_told_of(redis: Redis, facts: object, outcome: str) -> None:
    if facts is not None:
        await redis.set(KEYS.worker(NOBODY), json.dumps(facts))
    orders: tuple[WorkerOrder, ...] = ("quiet", "resume", "stop")
    assert {await order_worker(redis, NOBODY, one) for one in orders} == {outcome}
    assert not await redis.exists(order_key(KEYS, NOBODY))


async def test_workers_are_listed_and_ordered_from_the_command_line(valkey_url: str, redis: Redis) -> None:
    async with crew_of(valkey_url, redis) as crew:
        code, out, _ = await run_ops("workers", "list", REDIS_URL=valkey_url)
        assert (code, crew.id in out, "runs" in out) == (0, True, True)
        for order, state in (("quiet", "quiet"), ("resume", "runs")):
            code, out, _ = await run_ops("workers", order, crew.id, REDIS_URL=valkey_url)
            assert (code, crew.id in out) == (0, True)
            await eventually(crew.is_in(state))
        assert (await run_ops("workers", "resume", crew.id, REDIS_URL=valkey_url))[0] == 1
        code, out, _ = await run_ops("workers", "stop", NOBODY, "--json", REDIS_URL=valkey_url)
        assert (code, json.loads(out)["what"]) == (1, "gone")
        code, _, error = await run_ops("workers", "stop", "--all", REDIS_URL=valkey_url)
        assert code == 2
        code, _, error = await run_ops("workers", "stop", "x", REDIS_URL=valkey_url)
        assert (code, "is not a worker's id" in error) == (2, True)


async def test_a_worker_is_quieted_resumed_and_stopped_on_the_console(valkey_url: str, redis: Redis) -> None:
    console = inside(redis)
    async with crew_of(valkey_url, redis, facts={"version": "1.2.3"}) as crew:
        page = await console.get("/workers")
        assert f"{crew.id} runs" in page.words()
        assert "1.2.3" in page.words()
        named = {"worker": crew.id, "why": "a new host takes over"}
        reply = await console.post("/actions/quiet-worker", named, page="/workers")
        assert "Quiet: done" in reply.words()
        await eventually(crew.is_in("quiet"))
        words = (await console.get("/workers", accept_language="es")).words()
        assert f"{crew.id} en pausa" in words
        again = await console.post("/actions/quiet-worker", named, page="/workers")
        assert "already has this order; nothing was done" in again.words()
        assert "quieted it" in (await console.get("/")).words()
        await console.post("/actions/stop-worker", named, page="/workers")
        await eventually(crew.run.done)
        gone = await console.post("/actions/stop-worker", named, page="/limits")
        assert "is not a live worker" in gone.words()
    noted = [(one.action, one.target, one.outcome) for one in await list_entries(redis, limit=9)]
    assert noted == [
        ("stop-worker", crew.id, "nothing"),
        ("stop-worker", crew.id, "done"),
        ("quiet-worker", crew.id, "nothing"),
        ("quiet-worker", crew.id, "done"),
    ]
    wrong = await console.post("/actions/quiet-worker", {"worker": "<script>"}, page="/limits")
    assert ("&lt;script&gt;" in wrong.text, "<script>&#39;" in wrong.text) == (True, False)


async def test_who_may_look_alone_can_order_no_worker(valkey_url: str, redis: Redis) -> None:
    async with crew_of(valkey_url, redis) as crew:
        console = inside(redis, "view")
        page = await console.get("/workers")
        assert (crew.id in page.text, 'method="post"' in page.text) == (True, False)
        reply = await console.send("/actions/quiet-worker", b"worker=" + crew.id.encode())
        assert reply.status == 403
        assert not await redis.exists(order_key(KEYS, crew.id))


async def test_orders_are_obeyed_while_the_log_cannot_be_written(
    valkey_url: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise BrokenPipeError

    async with crew_of(valkey_url, redis, LANE) as crew:
        with monkeypatch.context() as patch:
            patch.setattr("worker.engine.worker.emit", broken)
            claiming = list[bool]()
            orders: tuple[Order, ...] = ("quiet", "resume", "stop")
            for order in orders:
                with pytest.raises(BrokenPipeError):
                    crew.worker.obey_order(order)
                claiming += [shard.pump.claiming for shard in crew.worker.shards]
        assert (claiming, crew.worker.work_state) == ([False, True, False], "stops")
