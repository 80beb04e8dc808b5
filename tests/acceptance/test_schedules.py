"""Schedules as operators see them: those of live workers, with the last and the next run, and one of them now."""

import asyncio
import json
from argparse import Namespace
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from jobs.schedule import Schedule
from ops.audit.log import list_entries
from ops.command import CommandRefused, Tools
from ops.depth.read import read_depth
from ops.schedules.commands import SCHEDULES
from ops.schedules.known import KnownSchedule, list_schedules, read_now
from producers.keys import LaneKeys
from tests.command_line import run_ops
from tests.console_inside import Inside, inside
from tests.notes import LANE, Note, running
from tests.support import eventually
from worker.crons import Cron, read_crons, write_crons
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler
from worker.fleet_keys import schedules_key

pytestmark = pytest.mark.on_cluster_too

KEYS = LaneKeys(LANE)
YEARLY = Schedule(month=1, day=1, hour=3, minute=30, zone="Europe/Madrid")
CLOSING = Cron(name="year.close", schedule=YEARLY, kind=Note.kind, lane=LANE, payload={"text": "close"})
WATCHING = Cron(
    name="watch",
    schedule=Schedule(month=1, day=1, hour=4, minute=0),
    kind=Note.kind,
    lane=LANE,
    payload={"text": "watch"},
    overlap=True,
)
NOBODY = "0123456789abcdef"


async def declare(redis: Redis, worker_id: str, *crons: Cron) -> None:
    """Declare crons as a worker does with its heartbeat."""
    await redis.zadd(KEYS.workers, {worker_id: 1})
    await redis.set(schedules_key(KEYS, worker_id), write_crons(crons))


@pytest.fixture
async def declared(redis: Redis) -> None:
    await declare(redis, NOBODY, CLOSING, WATCHING)


@pytest.fixture
def console(redis: Redis) -> Inside:
    return inside(redis)


async def known(redis: Redis, name: str) -> KnownSchedule:
    (found,) = [one for one in await list_schedules(redis) if (one.group, one.name) == ("mail", name)]
    return found


async def run_now(redis: Redis, name: str, group: str | None = "mail") -> str:
    command = next(one for one in SCHEDULES.commands if one.word == "run")
    result = await command.act(Tools(redis=redis, redis_url=""), Namespace(name=name, group=group))
    return str(result.facts["what"])


async def to_an_early_second(redis: Redis) -> None:
    """Wait until a minute is young enough for two runs in it."""

    async def young() -> bool:
        return (await read_now(redis)).second < 55

    await eventually(young)


async def test_a_worker_declares_its_crons_while_it_lives(valkey_url: str, redis: Redis) -> None:
    worker = Worker(
        [handler(_take, kind=Note.kind)],
        redis_url=valkey_url,
        lanes=[LaneSlots(LANE, 1)],
        handle_signals=False,
        renew_every=timedelta(milliseconds=50),
        crons=[CLOSING, WATCHING],
    )
    async with running(worker):
        await eventually(lambda: list_schedules(redis))
        found = await list_schedules(redis)
        assert [(one.name, one.workers, one.last) for one in found] == [
            ("watch", 1, None),
            ("year.close", 1, None),
        ]
        closing = found[1]
        assert closing.cron == CLOSING
        assert closing.following == YEARLY.next_after(await read_now(redis))
    assert await list_schedules(redis) == []


async def _take(context: dict[str, Any], text: str) -> None:
    del context, text


async def test_a_declaration_is_read_as_it_was_written() -> None:
    cron = Cron(
        name="n",
        schedule=Schedule(weekday={4, 0}, second=range(0, 60, 20)),
        kind="k",
        lane=LANE,
        payload={"a": [1]},
    )
    (read,) = read_crons(write_crons([cron]))
    at = datetime.fromisoformat("2026-03-01T00:00:00+00:00")
    assert read.schedule.next_after(at) == cron.schedule.next_after(at)
    assert (read.name, read.payload, read.overlap, read.version) == ("n", {"a": [1]}, False, 1)
    for wrong in (b"", b"{}", b"[1]", b'[{"name": "n"}]', b'[{"schedule": {"hour": 99}}]', b"\xff", b"null"):
        assert read_crons(wrong) == []
    for field, value in {"name": 5, "kind": None, "lane": [LANE], "payload": "x"}.items():
        (declared,) = json.loads(write_crons([cron]))
        assert read_crons(json.dumps([{**declared, field: value}]).encode()) == []


async def test_a_name_is_found_in_the_group_that_has_it(redis: Redis) -> None:
    keys, other = (
        LaneKeys("reports"),
        Cron(name="report.close", schedule=YEARLY, kind=Note.kind, lane="reports", payload={}),
    )
    await declare(redis, NOBODY, WATCHING)
    await redis.zadd(keys.workers, {NOBODY: 1})
    await redis.set(schedules_key(keys, NOBODY), write_crons([other, replace(WATCHING, lane="reports")]))
    assert await run_now(redis, "report.close", group=None) == "queued"
    assert await redis.zcard(keys.queue) == 1
    with pytest.raises(CommandRefused, match=r"several groups have a schedule 'watch'; .* one of mail, reports"):
        await run_now(redis, "watch", group=None)
    with pytest.raises(CommandRefused, match="no live worker has a schedule 'none'; see"):
        await run_now(redis, "none", group=None)


async def test_what_no_live_worker_has_shows_its_last_run_alone(redis: Redis, console: Inside) -> None:
    await redis.hset(KEYS.crons, mapping={"former": 1_780_000_000_000, "broken": "soon"})
    found = {one.name: one for one in await list_schedules(redis)}
    assert (found["former"].cron, found["former"].following) == (None, None)
    assert found["former"].last == datetime.fromisoformat("2026-05-28T20:26:40+00:00")
    assert found["broken"].last is None
    words = (await console.get("/schedules")).words()
    assert "no live worker has it" in words
    with pytest.raises(CommandRefused, match="no live worker has a schedule"):
        await run_now(redis, "former")
    assert await redis.zcard(KEYS.queue) == 0


@pytest.mark.usefixtures("declared")
async def test_a_last_run_far_ahead_counts_for_nothing(redis: Redis) -> None:
    now = await read_now(redis)
    ahead = now + timedelta(days=4000)
    await redis.hset(KEYS.crons, CLOSING.name, str(round(ahead.timestamp() * 1000)))
    following = (await known(redis, CLOSING.name)).following
    assert following is not None
    assert now < following < ahead


@pytest.mark.parametrize("cron", [CLOSING, WATCHING], ids=lambda cron: cron.name)
@pytest.mark.usefixtures("declared")
async def test_a_run_now_queues_one_job_however_many_ask(redis: Redis, cron: Cron) -> None:
    await to_an_early_second(redis)
    asked = await asyncio.gather(*(run_now(redis, cron.name) for _ in range(5)))
    assert set(asked) <= {"queued", "known", "unfinished"}
    assert asked.count("queued") == await redis.zcard(KEYS.queue) == 1
    lane = (await read_depth(redis, tenant="default")).lane(LANE)
    assert lane is not None
    assert (lane.accepted, lane.conserved) == (1, True)
    following = (await known(redis, cron.name)).following
    assert following == cron.schedule.next_after(await read_now(redis))


@pytest.mark.usefixtures("declared")
async def test_a_run_now_waits_for_no_unfinished_one(redis: Redis) -> None:
    assert await run_now(redis, CLOSING.name) == "queued"
    await redis.hincrby(KEYS.crons, CLOSING.name, -120_000)
    assert await run_now(redis, CLOSING.name) == "unfinished"
    assert await run_now(redis, WATCHING.name) == "queued"
    assert await redis.zcard(KEYS.queue) == 2


@pytest.mark.usefixtures("declared")
async def test_the_same_job_as_by_a_tick_is_run(valkey_url: str, redis: Redis) -> None:
    took: list[str] = []

    async def take(_: dict[str, Any], text: str) -> None:
        took.append(text)

    assert await run_now(redis, CLOSING.name) == "queued"
    worker = Worker(
        [handler(take, kind=Note.kind)], redis_url=valkey_url, lanes=[LaneSlots(LANE, 1)], handle_signals=False
    )
    async with running(worker):
        await eventually(lambda: took)
    assert took == ["close"]


@pytest.mark.usefixtures("declared")
async def test_a_schedule_is_run_from_the_console(redis: Redis, console: Inside) -> None:
    await to_an_early_second(redis)
    page = await console.get("/schedules")
    assert "year.close note.take mail.normal on day 1 in Jan at 03:30 (Europe/Madrid) 1" in page.words()
    assert "el día 1 en ene a las 03:30" in (await console.get("/schedules", accept_language="es")).words()
    fields = {"schedule": CLOSING.name, "group": "mail", "why": "the books are closed early"}
    assert "Run now: done" in (await console.post("/actions/run-schedule", fields, page="/schedules")).words()
    again = await console.post("/actions/run-schedule", fields, page="/schedules")
    assert "nothing was done" in again.words()
    noted = [(one.action, one.target, one.outcome) for one in await list_entries(redis, limit=5)]
    assert noted == [("run-schedule", "year.close", "nothing"), ("run-schedule", "year.close", "done")]
    for wrong in ({"schedule": "<script>", "group": "mail"}, {"schedule": CLOSING.name, "group": "x"}, {}):
        reply = await console.post("/actions/run-schedule", wrong, page="/schedules")
        assert "refused" in reply.words()
        assert "<script>&#39;" not in reply.text
    assert await redis.zcard(KEYS.queue) == 1


@pytest.mark.usefixtures("declared")
async def test_who_may_look_alone_can_run_none(redis: Redis) -> None:
    page = await inside(redis, "view").get("/schedules")
    assert ("year.close" in page.text, 'method="post"' in page.text) == (True, False)


@pytest.mark.usefixtures("declared")
async def test_schedules_are_listed_on_the_command_line(valkey_url: str, redis: Redis) -> None:
    code, out, _ = await run_ops("schedules", "list", REDIS_URL=valkey_url)
    assert (code, "year.close" in out, "03:30" in out) == (0, True, True)
    code, out, _ = await run_ops("schedules", "list", "--json", REDIS_URL=valkey_url)
    assert [one["name"] for one in json.loads(out)["schedules"]] == ["watch", "year.close"]
    assert "close" not in out.replace("year.close", "")
    assert (await run_ops("schedules", "run", "nothing", REDIS_URL=valkey_url))[0] == 2
    assert redis
