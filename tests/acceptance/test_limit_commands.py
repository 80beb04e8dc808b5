"""Limits as operators see and change them: `ops limit`, `ops why`, `ops depth`."""

import argparse
import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from datetime import timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis

from ops.command import CommandRefused, CommandResult, Tools
from ops.depth.read import read_depth
from ops.depth.table import depth_table
from ops.jobs.explain import explain_job
from ops.jobs.texts import explained_text
from ops.limits.commands import LIMIT
from ops.limits.known import read_rate_uses
from ops.limits.texts import lane_limit_texts, limit_text
from producers import Producer
from producers.keys import LaneKeys
from producers.limits.limit import LaneLimit, Limit, Rate, Window
from producers.limits.limits import Limits
from producers.link import Link
from tests.notes import LANE, Note, running
from tests.support import eventually
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler
from worker.engine.lane import Lane
from worker.engine.store import JobStore

ROOT = Path(__file__).resolve().parents[2]
KEYS = LaneKeys(LANE)


@pytest.fixture
def limits(redis: Redis) -> Limits:
    return Limits(redis, KEYS.tag)


async def claim(url: str, count: int) -> int:
    """How many of the lane may begin now."""
    store = JobStore(Link(url), worker_id="w", lease=timedelta(seconds=10), crash_limit=3)
    turn = await store.run_cycle([], [(Lane(KEYS, 100), count)])
    await store.close()
    return len(turn.claims)


async def answer(redis: Redis, word: str, *arguments: str) -> CommandResult:
    """What a command answers; `test_the_words_are_on_the_command_line` runs one as people do."""
    command = next(one for one in LIMIT.commands if one.word == word)
    parser = argparse.ArgumentParser()
    command.arguments(parser)
    return await command.act(Tools(redis=redis, redis_url=""), parser.parse_args(arguments))


async def test_a_limit_is_set_listed_held_released_and_removed(
    valkey_url: str, redis: Redis, limits: Limits, producer: Producer
) -> None:
    definition = ("--rate", "30/1m", "--rate", "2000/1d", "--concurrency", "20", "--reserve", "0.2")
    told = (await answer(redis, "set", "account:main", *definition)).facts
    assert (told["what"], told["room"]) == ("set", 2)  # of three tokens one is reserved
    rates = (Rate.within(30, timedelta(minutes=1)), Rate.within(2000, timedelta(days=1)))
    assert (await limits.state("account:main")).limit == Limit("account:main", rates, 20, 0.2)
    await limits.bind(LANE, LaneLimit(["account:main"], urgent=True))
    await limits.slow("account:main", 0.5)
    await producer.send_many([Note("x") for _ in range(9)])
    assert await claim(valkey_url, 9) == 1
    listed = (await answer(redis, "list")).text
    assert "30/1m, 3 at once, 2000/1d, 200 at once" in listed
    assert "used up; the next may begin in " in listed
    assert "slowed down to 50%" in listed
    assert f"{LANE} (urgent): needs account:main" in listed
    held = await answer(redis, "hold", "account:main", "--for", "10m", "--reason", "they asked")
    assert held.facts["held"]["reason"] == "they asked"
    assert (await answer(redis, "release", "account:main")).done
    assert not (await answer(redis, "release", "account:main")).done
    assert (await answer(redis, "remove", "account:main")).done
    assert not (await answer(redis, "remove", "account:main")).done


async def test_a_window_is_set_and_listed(redis: Redis, limits: Limits) -> None:
    told = (await answer(redis, "set", "account:main", "--rate", "30/1m", "--window", "500/1d")).facts
    assert told["rates"][1] == {"count": 500, "per_s": 86_400, "parts": 48}
    rates = (Rate.within(30, timedelta(minutes=1)), Window(500, timedelta(days=1)))
    assert (await limits.state("account:main")).limit == Limit("account:main", rates)
    assert "30/1m, 3 at once, 500/1d, all at once" in (await answer(redis, "list")).text
    await redis.hset(KEYS.buckets, "account:main#2", "no text of a window")
    assert "cannot be read" in (await answer(redis, "list")).text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("account:main",), "--rate, --window or --concurrency"),
        (("a", "--window", "0/1m"), "count"),
        (("a", "--rate", "0/1m"), "count"),
        (("a", "--concurrency", "0"), "concurrency"),
        (("a", "--concurrency", "1", "--reserve", "1"), "reserve"),
    ],
)
async def test_a_limit_that_cannot_be_is_refused(redis: Redis, arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(CommandRefused, match=words):
        await answer(redis, "set", *arguments)
    assert await redis.keys() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("account main", "--concurrency", "1"), "customer:42"),
        (("a", "--rate", "30/minute"), "30/1m"),
        (("a", "--rate", "30/0m"), "90s, 10m"),
    ],
)
async def test_a_wrong_argument_is_named(
    redis: Redis, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    with pytest.raises(SystemExit):
        await answer(redis, "set", *arguments)
    assert words in capsys.readouterr().err.splitlines()[-1]


async def test_the_words_are_on_the_command_line(valkey_url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "ops", "limit", "list", "--json"),
        cwd=ROOT,
        env={"MOMENTUS_REDIS_URL": valkey_url},
        stdout=PIPE,
        stderr=PIPE,
    )
    out, err = await process.communicate()
    assert (process.returncode, json.loads(out), err) == (0, {"limits": [], "lanes": {}}, b"")


async def test_depth_says_which_limit_a_lane_waits_for(
    valkey_url: str, redis: Redis, limits: Limits, producer: Producer
) -> None:
    await limits.define(Limit("account:a", concurrency=1), Limit("account:b", (Rate(1, timedelta(hours=1)),)))
    await limits.bind(LANE, LaneLimit(["account:a", "account:b"]))
    gate = asyncio.Event()

    async def wait(context: dict[str, object], text: str) -> None:
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
    assert f"{LANE}: no job may begin now under its limits" in table
    assert f"{LANE}: limit account:a: all places are in use" in table
    assert f"{LANE}: limit account:b: used up; the next may begin in " in table
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
    found = await explain_job(redis, second.id)
    assert found.waits_for[0] == "limit"
    text = explained_text(found)
    assert "waits for  limit customer:7: all places are in use" in text
    assert "limit      customer:7" in text
    assert (await explain_job(redis, first.id)).waits_for == ("end",)
    (lane,) = [lane for lane in (await read_depth(redis, tenant="")).lanes if lane.lane == LANE]
    assert lane.limits.held_back == 1
    assert lane_limit_texts(lane.limits, "es") == [
        "1 trabajos esperan por un límite propio; véase ./run ops limit list"
    ]


async def test_why_names_a_limit_that_nobody_defined(redis: Redis, producer: Producer) -> None:
    receipt = await producer.send(Note("one"), limit="customer:7")
    found = await explain_job(redis, receipt.id)
    assert "limit" not in found.waits_for
    assert "limit      customer:7, not defined" in explained_text(found)


async def test_a_limit_tells_why_it_gives_nothing(redis: Redis, limits: Limits) -> None:
    await redis.hset(KEYS.limits, "account:a", "{")
    broken = await limits.state("account:a")
    assert limit_text(broken) == (
        "limit account:a: cannot be read, so no job begins under it; define it again: ./run ops limit set"
    )
    await limits.define(Limit("account:a", concurrency=3))
    assert limit_text(await limits.state("account:a"), "es") == "límite account:a: pueden empezar 3 ahora"
    await limits.hold("account:a", None, "they asked")
    assert limit_text(await limits.state("account:a")) == "limit account:a: held until it is released: they asked"


async def test_a_hold_of_an_undefined_limit_is_listed_until_it_is_released(redis: Redis, limits: Limits) -> None:
    await limits.define(Limit("shop:*", concurrency=2))
    await limits.hold("account:gone", None, "the provider asks for a pause")
    await limits.hold("shop:7", None, "the shop asks for a pause")
    listed = await answer(redis, "list")
    assert [one["key"] for one in listed.facts["limits"]] == ["account:gone", "shop:*", "shop:7"]
    assert [one["defined"] for one in listed.facts["limits"]] == [False, True, True]
    assert "held until it is released: the provider asks for a pause" in listed.text
    await limits.release("account:gone")
    await limits.release("shop:7")
    assert [one["key"] for one in (await answer(redis, "list")).facts["limits"]] == ["shop:*"]


@pytest.mark.parametrize("used_ms", [0, 2500, 6000])
async def test_the_use_of_each_rate_is_computed_as_claims_compute_it(
    redis: Redis, limits: Limits, used_ms: int
) -> None:
    minute, day = timedelta(minutes=1), timedelta(days=1)
    await limits.define(
        Limit("shop:bucket", (Rate(30, minute, 5),), reserve=0.3),
        Limit("shop:window", (Window(9, day),), reserve=0.3),
    )
    seconds, _ = await redis.time()
    window = f"0@[1800000,{seconds // 1800 - 3},2,{seconds // 1800},{1 + used_ms // 1000}]"
    stored = {"shop:bucket#1": str(seconds * 1000 + used_ms), "shop:window#1": window}
    await redis.hset(KEYS.buckets, mapping=stored)
    for pace in (1.0, 0.5):
        await limits.slow("shop:bucket", pace)
        await limits.slow("shop:window", pace)
        for state in await limits.all():
            (use,) = (await read_rate_uses(redis, KEYS, [state]))[state.key]
            assert use.room == pytest.approx(state.room, abs=1 if state.key == "shop:bucket" else 0), (
                "time goes on"
            )
            assert state.free_in is not None
            assert abs(use.free_in - state.free_in) < timedelta(seconds=1), (state.key, pace)
