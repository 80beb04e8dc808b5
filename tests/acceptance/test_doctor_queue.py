"""The doctor on a queue with a fault, and on the same queue once the fault is mended; real servers and workers."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import zip_longest
from typing import Any, ClassVar

import pytest
from redis.asyncio import Redis

from ops.doctor.texts import LANGUAGES
from producers import Producer
from producers.keys import LaneKeys
from producers.limits.limit import LaneLimit, Limit, Rate
from producers.limits.limits import Limits
from tests.acceptance.test_promises import BULK, STATE, keeper, now_ms
from tests.command_line import run_ops
from tests.doctoring import cause, depth_code, findings
from tests.notes import LANE, Note, running
from tests.support import OwnValkey, eventually
from worker.engine import GiveUp, LaneSlots, Worker
from worker.engine.handler import handler

KEYS = LaneKeys(LANE)
FLOW = f"momentus:{KEYS.tag}:flow:{LANE}"
MINUTE_MS = 60_000


@dataclass(frozen=True)
class Stranger(Note):
    kind: ClassVar[str] = "note.unknown"


@asynccontextmanager
async def working(url: str, *, slots: int = 10) -> AsyncIterator[asyncio.Event]:
    """A worker whose jobs named "hang" end with the event, and "give up" at once in death."""
    go = asyncio.Event()

    async def obey(_: dict[str, Any], text: str) -> None:
        if text == "hang":
            await go.wait()
        elif text == "give up":
            raise GiveUp("no such person")

    worker = Worker(
        [handler(obey, kind=Note.kind)],
        redis_url=url,
        lanes=[LaneSlots(LANE, slots)],
        handle_signals=False,
        renew_every=timedelta(milliseconds=50),
        grace=timedelta(0),
    )
    async with running(worker):
        yield go
        go.set()


async def says(code: str, severity: str | None, url: str) -> bool:
    """Whether the doctor says so; None: nothing of the kind."""
    return (await findings(REDIS_URL=url)).get(code) == severity


async def aged(redis: Redis, job_id: str, *, by_ms: int) -> None:
    """Let a waiting job have been ready for so long."""
    await redis.zincrby(KEYS.queue, -by_ms, job_id)


async def are_leased(redis: Redis, jobs: int) -> bool:
    return bool(await redis.zcard(KEYS.leases) == jobs)


async def noted(redis: Redis, left: Sequence[int], *, entered: Sequence[int] = (), size: int) -> None:
    """Let the lane have had this flow: jobs that left and entered in each 5 s, after which `size` jobs wait."""
    total, now = sum(left), await now_ms(redis)
    counters, ended = KEYS.counters, int(await redis.hget(KEYS.counters, f"done:{LANE}") or 0)
    for event in ("done", "accepted"):  # the counts and the notes tell the same
        await redis.hincrby(counters, f"{event}:{LANE}", total - ended)
    found = [f"{now - 100} {total} {size} {size}"]
    for ago, (leaving, entering) in enumerate(reversed([*zip_longest(left, entered, fillvalue=0)]), 1):
        total, size = total - leaving, size + leaving - entering
        found.append(f"{now - 100 - 5000 * ago} {total} {size} {size}")
    await redis.delete(FLOW)
    await redis.rpush(FLOW, *found)


async def forecast(url: str) -> str:
    """The forecast of the lane as `depth` has it."""
    _, out, _ = await run_ops("depth", "--json", REDIS_URL=url)
    (state,) = [lane["drain"] for lane in json.loads(out)["lanes"] if lane["lane"] == LANE]
    return str(state)


async def used_up(redis: Redis, key: str) -> None:
    """Let the lane need a limit of one job an hour, which has begun."""
    limits = Limits(redis, KEYS.tag)
    await limits.define(Limit(key, (Rate(1, timedelta(hours=1)),)))
    await redis.hset(KEYS.buckets, f"{key}#1", str(await now_ms(redis) + 3_600_000))
    await limits.bind(LANE, LaneLimit([key]))


async def test_a_lane_without_a_worker_is_wrong_once_a_restart_would_be_over_and_right_with_one(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    receipt = await producer.send(Note("x"))
    assert await says("lane.no_worker", "warning", valkey_url)
    assert await depth_code(REDIS_URL=valkey_url) == 0
    await aged(redis, receipt.id, by_ms=20_000)
    assert await says("lane.no_worker", "wrong", valkey_url)
    assert await depth_code(REDIS_URL=valkey_url) == 1
    async with working(valkey_url):
        await eventually(lambda: says("lane.no_worker", None, valkey_url))
        assert await depth_code(REDIS_URL=valkey_url) == 0


async def test_jobs_that_are_due_later_and_have_no_worker_are_told_of(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    del redis
    await producer.send(Note("later"), delay=timedelta(hours=1))
    assert await says("lane.unserved", "warning", valkey_url)
    async with working(valkey_url):
        await eventually(lambda: says("lane.unserved", None, valkey_url))


async def test_no_worker_at_all_is_wrong_for_the_doctor_and_for_depth_only_if_jobs_wait(valkey_url: str) -> None:
    assert await says("workers.none", "wrong", valkey_url)
    assert await depth_code(REDIS_URL=valkey_url) == 0
    async with working(valkey_url):
        await eventually(lambda: says("workers.none", None, valkey_url))


async def test_a_worker_that_may_not_claim_is_told_with_the_right_that_it_lacks(
    own_valkey: Callable[..., Awaitable[OwnValkey]],
) -> None:
    valkey = await own_valkey()
    async with Redis.from_url(valkey.url) as admin, Producer.connect(valkey.url, budget=5) as producer:

        async def allow(*more: str) -> None:
            rules = ["on", ">" + "p" * 32, "~*", "&*", "+@all", *more]
            await admin.execute_command("ACL", "SETUSER", "limited", *rules)

        await allow()
        async with working(f"redis://limited:{'p' * 32}@127.0.0.1:{valkey.port}/0"):
            await eventually(lambda: says("workers.none", None, valkey.url))
            await allow("-evalsha")
            receipt = await producer.send(Note("x"))
            await aged(admin, receipt.id, by_ms=60_000)
            await eventually(lambda: says("lane.not_claiming", "wrong", valkey.url))
            await eventually(lambda: says("worker.no_right", "warning", valkey.url))
            assert "+evalsha" in await cause("worker.no_right", REDIS_URL=valkey.url)
            assert await depth_code(REDIS_URL=valkey.url) == 1
            await allow()
            await eventually(lambda: says("lane.not_claiming", None, valkey.url))
            await eventually(lambda: says("worker.no_right", None, valkey.url))
            assert await depth_code(REDIS_URL=valkey.url) == 0


async def test_a_lane_whose_handlers_hang_is_wrong_and_one_that_is_only_behind_is_not(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    async with working(valkey_url, slots=2) as go:
        await producer.send_many([Note("hang"), Note("hang")])
        await eventually(lambda: are_leased(redis, 2))
        waiting = await producer.send(Note("x"))
        await noted(redis, [10] * 4 + [0] * 11, size=3)
        found = await findings(REDIS_URL=valkey_url)
        assert not {"lane.stuck", "lane.late"} & found.keys(), "nothing has ended for less than a minute"
        await noted(redis, [10] * 4 + [0] * 14, size=3)
        await eventually(lambda: says("lane.stuck", "wrong", valkey_url))
        assert await forecast(valkey_url) == "stuck"
        assert await depth_code(REDIS_URL=valkey_url) == 1
        await aged(redis, waiting.id, by_ms=6 * MINUTE_MS)
        await noted(redis, [10] * 18, size=3)  # others have finished meanwhile
        found = await findings(REDIS_URL=valkey_url)
        assert ("lane.stuck" in found, found.get("lane.late")) == (False, "warning")
        assert await depth_code(REDIS_URL=valkey_url) == 0
        go.set()
        await eventually(lambda: says("lane.late", None, valkey_url))


async def test_a_lane_that_has_been_late_while_more_arrives_than_leaves_is_told_to_grow_and_by_which_limit(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    async with working(valkey_url, slots=2):
        await producer.send_many([Note("hang"), Note("hang")])
        await eventually(lambda: are_leased(redis, 2))
        waiting, *_ = await producer.send_many([Note("x") for _ in range(182)])
        await noted(redis, [10] * 18, entered=[20] * 18, size=184)
        assert await forecast(valkey_url) == "growing"
        assert await says("lane.growing", None, valkey_url), "nothing is late yet"
        await aged(redis, waiting.id, by_ms=6 * MINUTE_MS)
        assert await says("lane.growing", "warning", valkey_url)
        growth = re.search(
            r"(\d+) more a minute arrive than leave", await cause("lane.growing", REDIS_URL=valkey_url)
        )
        assert growth is not None
        assert 100 <= int(growth[1]) <= 120
        await used_up(redis, "account:one")
        await noted(redis, [10] * 18, entered=[20] * 18, size=184)
        assert await says("lane.growing", None, valkey_url)
        assert "than limit account:one allows" in await cause("lane.over_limit", REDIS_URL=valkey_url)
        assert await depth_code(REDIS_URL=valkey_url) == 0
        await noted(redis, [10] * 18, size=184)
        assert await says("lane.over_limit", None, valkey_url)


async def test_parked_dead_and_held_jobs_are_told_of_until_they_are_dealt_with(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    del redis
    stranger, dead = [await producer.send(one) for one in (Stranger("x"), Note("give up"))]
    async with working(valkey_url):
        await eventually(lambda: says("lane.parked", "warning", valkey_url))
        await eventually(lambda: says("lane.dead", "warning", valkey_url))
        await run_ops("discard", stranger.id, REDIS_URL=valkey_url)
        await run_ops("discard", dead.id, REDIS_URL=valkey_url)
        assert not {"lane.parked", "lane.dead"} & (await findings(REDIS_URL=valkey_url)).keys()
        await run_ops("pause", LANE, "--reason", "wrong figures", REDIS_URL=valkey_url)
        assert "wrong figures" in await cause("lane.held", REDIS_URL=valkey_url)
        await run_ops("resume", LANE, REDIS_URL=valkey_url)
        assert await says("lane.held", None, valkey_url)


async def test_a_limit_that_cannot_be_read_is_wrong_until_it_is_defined_again(
    valkey_url: str, redis: Redis
) -> None:
    limits = Limits(redis, KEYS.tag)
    await limits.bind(LANE, LaneLimit(["shop"]))
    await redis.hset(KEYS.limits, "shop", "no JSON")
    assert await says("limit.unreadable", "wrong", valkey_url)
    assert await depth_code(REDIS_URL=valkey_url) == 1
    await limits.define(Limit("shop", (), concurrency=2))
    assert await says("limit.unreadable", None, valkey_url)


@pytest.mark.parametrize(
    ("minutes", "code", "severity"), [(9, "promise.burns", "warning"), (999, "promise.overdrawn", "wrong")]
)
async def test_a_promise_is_told_when_its_budget_is_used_fast_or_used_up(
    valkey_url: str, redis: Redis, minutes: int, code: str, severity: str
) -> None:
    async with keeper(valkey_url, BULK) as one:
        await one.note_minutes(BULK)
        assert not [code for code in await findings(REDIS_URL=valkey_url) if code.startswith("promise.")]
        hour = await now_ms(redis) // 3_600_000
        await redis.hset(f"{STATE}:h{hour}", "mail.bulk:broken", str(minutes))
        await redis.hset(f"{STATE}:d{hour // 24}", "mail.bulk:broken", str(minutes))
        assert await says(code, severity, valkey_url)
        assert await depth_code(REDIS_URL=valkey_url) == (severity == "wrong")
        await redis.hdel(f"{STATE}:h{hour}", "mail.bulk:broken")
        await redis.hdel(f"{STATE}:d{hour // 24}", "mail.bulk:broken")
        assert await says(code, None, valkey_url)


@pytest.mark.parametrize("language", LANGUAGES)
async def test_depth_says_what_is_wrong_in_the_language_of_the_terminal(
    valkey_url: str, redis: Redis, producer: Producer, monkeypatch: pytest.MonkeyPatch, language: str
) -> None:
    monkeypatch.setenv("LC_MESSAGES", {"en": "C", "es": "es_MX.UTF-8"}[language])
    receipt = await producer.send(Note("x"))
    await aged(redis, receipt.id, by_ms=20_000)
    _, out, _ = await run_ops("depth", REDIS_URL=valkey_url)
    said = {"en": "WRONG  mail.normal: 1 jobs are ready", "es": "FALLO  mail.normal: 1 trabajos están listos"}
    assert said[language] in out
