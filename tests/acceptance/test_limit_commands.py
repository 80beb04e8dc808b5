"""Limits as operators see and change them: `ops limit`, `ops why`, `ops depth`."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from ops.depth import read_depth
from ops.depth_table import depth_table
from ops.jobs.explain import explain
from ops.jobs.words import explained_text
from ops.limit_words import lane_limit_texts, limit_text
from producers import Producer
from producers.keys import LaneKeys
from producers.limit import LaneLimit, Limit, Rate
from producers.limits import Limits
from producers.link import Link
from tests.notes import LANE, Note, running
from tests.support import eventually
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler
from worker.engine.lane import Lane
from worker.engine.store import Store

ROOT = Path(__file__).resolve().parents[2]
KEYS = LaneKeys(LANE)


@pytest.fixture
async def redis(valkey_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey_url) as client:
        yield client


@pytest.fixture
async def producer(valkey_url: str) -> AsyncIterator[Producer]:
    async with Producer.connect(valkey_url, budget=5) as one:
        yield one


@pytest.fixture
def limits(redis: Redis) -> Limits:
    return Limits(redis, KEYS.tag)


async def claim(url: str, count: int) -> int:
    """How many of the lane may begin now."""
    store = Store(Link(url), worker_id="w", lease=timedelta(seconds=10), crash_limit=3)
    turn = await store.turn([], [(Lane(KEYS, 100), count)])
    await store.close()
    return len(turn.claims)


async def answer(url: str, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "ops", "limit", *arguments),
        cwd=ROOT,
        env={"MOMENTUS_REDIS_URL": url},
        stdout=PIPE,
        stderr=PIPE,
    )
    out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


async def facts(url: str, *arguments: str) -> tuple[int, Any]:
    code, out, err = await answer(url, *arguments, "--json")
    assert err == ""
    return code, json.loads(out)


async def test_a_limit_is_set_listed_held_released_and_removed(
    valkey_url: str, limits: Limits, producer: Producer
) -> None:
    definition = ("--rate", "30/1m", "--rate", "2000/1d", "--concurrency", "20", "--reserve", "0.2")
    code, told = await facts(valkey_url, "set", "account:main", *definition)
    assert (code, told["what"], told["room"]) == (0, "set", 2)  # of three tokens one is reserved
    rates = (Rate.within(30, timedelta(minutes=1)), Rate.within(2000, timedelta(days=1)))
    assert (await limits.state("account:main")).limit == Limit("account:main", rates, 20, 0.2)
    await limits.bind(LANE, LaneLimit(["account:main"], urgent=True))
    await limits.slow("account:main", 0.5)
    await producer.send_many([Note("x") for _ in range(9)])
    assert await claim(valkey_url, 9) == 1
    code, out, _ = await answer(valkey_url, "list")
    assert code == 0
    assert "30/1m, 3 at once, 2000/1d, 200 at once" in out
    assert "used up, the next may begin in " in out
    assert "slowed down to 50%" in out
    assert f"{LANE} (urgent): needs account:main" in out
    code, told = await facts(valkey_url, "hold", "account:main", "--for", "10m", "--reason", "they asked")
    assert (code, told["held"]["reason"]) == (0, "they asked")
    assert (await facts(valkey_url, "release", "account:main"))[1]["what"] == "released"
    assert (await facts(valkey_url, "release", "account:main"))[0] == 1
    assert (await facts(valkey_url, "remove", "account:main"))[1]["what"] == "removed"
    assert (await facts(valkey_url, "remove", "account:main"))[0] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("set", "account:main"), "--rate or --concurrency"),
        (("set", "account main", "--concurrency", "1"), "customer:42"),
        (("set", "a", "--rate", "30/minute"), "30/1m"),
        (("set", "a", "--rate", "0/1m"), "count"),
        (("set", "a", "--concurrency", "0"), "concurrency"),
        (("set", "a", "--concurrency", "1", "--reserve", "1"), "reserve"),
    ],
)
async def test_a_limit_that_cannot_be_is_refused_in_one_line(
    valkey_url: str, redis: Redis, arguments: tuple[str, ...], words: str
) -> None:
    code, out, err = await answer(valkey_url, *arguments)
    assert (code, out) == (2, "")
    assert words in err.splitlines()[-1]
    assert await redis.keys() == []


async def test_depth_says_which_limit_a_lane_waits_for(
    valkey_url: str, redis: Redis, limits: Limits, producer: Producer
) -> None:
    await limits.define(Limit("account:a", concurrency=1), Limit("account:b", (Rate(1, timedelta(hours=1)),)))
    await limits.bind(LANE, LaneLimit(["account:a", "account:b"]))
    gate = asyncio.Event()

    async def wait(context: dict[str, Any], text: str) -> None:
        del context, text
        await gate.wait()

    worker = Worker(
        [handler(wait, kind=Note.kind)],
        redis_url=valkey_url,
        lanes=[LaneSlots(LANE, 10)],
        handle_signals=False,
        renew_every=timedelta(milliseconds=50),
    )
    await producer.send_many([Note("x") for _ in range(4)])
    async with running(worker):
        await eventually(lambda: why(redis, "limits"))
        depth = await read_depth(redis, tenant="")
        lane = depth.lane(LANE)
        gate.set()
    assert lane is not None
    assert [state.key for state in lane.limits.states] == ["account:a", "account:b"]
    table = depth_table(depth)
    assert f"{LANE}: its limits give no more for now" in table
    assert f"{LANE}: limit account:a: all places are taken" in table
    assert f"{LANE}: limit account:b: used up, the next may begin in " in table
    assert json.loads(json.dumps(depth.to_json()["lanes"][1]["limits"]))["needs_one_of"][0]["running"] == 1


async def why(redis: Redis, code: str) -> bool:
    lane = (await read_depth(redis, tenant="")).lane(LANE)
    assert lane is not None
    return lane.why == code


async def test_why_says_that_a_job_waits_for_the_limit_that_it_names(
    valkey_url: str, redis: Redis, limits: Limits, producer: Producer
) -> None:
    await limits.define(Limit("customer:*", concurrency=1))
    first, second = await producer.send_many([Note("one"), Note("two")], limit="customer:7")
    assert await claim(valkey_url, 2) == 1
    found = await explain(redis, second.id)
    assert found.waits_for[0] == "limit"
    text = explained_text(found)
    assert "waits for  limit customer:7: all places are taken" in text
    assert "limit      customer:7" in text
    assert (await explain(redis, first.id)).waits_for == ("end",)
    (lane,) = [lane for lane in (await read_depth(redis, tenant="")).lanes if lane.lane == LANE]
    assert lane.limits.held_back == 1
    assert lane_limit_texts(lane.limits, "es") == [
        "1 trabajos esperan por un límite propio; véase ./run ops limit list"
    ]


async def test_why_names_a_limit_that_nobody_defined(redis: Redis, producer: Producer) -> None:
    receipt = await producer.send(Note("one"), limit="customer:7")
    found = await explain(redis, receipt.id)
    assert "limit" not in found.waits_for
    assert "limit      customer:7, which nobody defined" in explained_text(found)


async def test_a_limit_tells_why_it_gives_nothing(redis: Redis, limits: Limits) -> None:
    await redis.hset(KEYS.limits, "account:a", "{")  # type: ignore[misc]  # redis-py types one method for both clients
    broken = await limits.state("account:a")
    assert limit_text(broken) == (
        "limit account:a: cannot be read and gives nothing; define it again: ./run ops limit set"
    )
    await limits.define(Limit("account:a", concurrency=3))
    assert limit_text(await limits.state("account:a"), "es") == "límite account:a: pueden empezar 3 ahora"
    await limits.hold("account:a", None, "they asked")
    assert limit_text(await limits.state("account:a")) == "limit account:a: held until it is released: they asked"
