"""Limits and stored reports on the console: shown as they are, and changed by the functions of `./run ops`."""

import json
import re
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from ops.audit.log import list_entries
from ops.console.visit import address
from producers import Producer
from producers.keys import LaneKeys, catalogue
from producers.limits.limit import LaneLimit, Limit, Rate, Window
from producers.limits.limits import Limits
from reports.keys import WAITS, snapshot, wanted
from tests.console_inside import Inside, inside
from tests.notes import LANE, Note

MAIL = "{mail}"
NOTES = LaneKeys(LANE)
NONE = "\N{EN DASH} "
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def console(redis: Redis) -> Inside:
    return inside(redis)


@pytest.fixture
def limits(redis: Redis) -> Limits:
    return Limits(redis, MAIL)


async def test_each_limit_is_shown_with_its_rates_room_and_hold(console: Inside, limits: Limits) -> None:
    await limits.define(
        Limit("account:main", (Rate.within(30, timedelta(minutes=1)), Window(500, timedelta(days=1))), 5, 0.2)
    )
    await limits.define(Limit("customer:*", concurrency=2))
    await limits.bind("mail.bulk", LaneLimit(["account:main"]))
    await limits.hold("customer:*", timedelta(minutes=10), "the customers ask for a pause")
    words = (await console.get("/limits")).words()
    assert "account:main mail 30/1m, 3 at once; 500/1d, all at once 5 20 % 0 0 " in words
    assert "may begin now mail.bulk" in words
    assert f"customer:* mail {NONE}2 {NONE}0 0 " in words
    assert "the customers ask for a pause" in words
    spanish = (await console.get("/limits", accept_language="es")).words()
    assert "500/1d, todos a la vez" in spanish


async def test_of_each_rate_its_use_is_shown_and_when_the_next_job_may_begin(
    console: Inside, redis: Redis, limits: Limits
) -> None:
    minute, day = timedelta(minutes=1), timedelta(days=1)
    await limits.define(Limit("account:main", (Rate(30, minute, 3), Window(500, day)), reserve=0.2))
    words = (await console.get("/limits")).words()
    assert "32/1m: 0 used, 2 may begin 500/1d: 0 used, 400 may begin" in words, "a fifth is for urgent lanes"
    seconds, _ = await redis.time()
    half_hours = f"0@[1800000,{seconds // 1800},450]"
    await redis.hset(
        NOTES.buckets, mapping={"account:main#1": str(seconds * 1000 + 6000), "account:main#2": half_hours}
    )
    words = (await console.get("/limits")).words()
    assert re.search(
        r"32/1m: 3 used, the next may begin in [1-4] s 500/1d: 450 used, the next may begin in 1 d", words
    )
    spanish = (await console.get("/limits", accept_language="es")).words()
    assert re.search(r"32/1m: 3 usados, el próximo puede empezar en [1-4] s", spanish)
    looked_up = (await console.get(address("/limits", key="account:main", group="mail"))).words()
    assert looked_up.count("500/1d: 450 used") == 2


async def test_a_hold_of_a_limit_that_nobody_defined_is_shown(console: Inside, limits: Limits) -> None:
    await limits.hold("shop:7", None, "the shop asks for a pause")
    words = (await console.get("/limits")).words()
    assert "shop:7 mail" in words
    assert "the shop asks for a pause" in words
    await limits.release("shop:7")
    assert "shop:7" not in (await console.get("/limits")).words()


async def test_a_member_of_a_family_is_looked_up(console: Inside, limits: Limits) -> None:
    await limits.define(Limit("customer:*", (Rate(9, timedelta(minutes=1), 9),), concurrency=2))
    words = (await console.get(address("/limits", key="customer:42", group="mail"))).words()
    assert "customer:42 mail 17/1m, 9 at once 2" in words
    wrong = await console.get(address("/limits", key="no key", group="nothing"))
    assert (wrong.status, 'role="alert"' in wrong.text) == (400, True)


async def test_a_limit_is_defined_changed_held_released_and_removed(
    console: Inside, redis: Redis, limits: Limits
) -> None:
    fields = {"limit": "customer:7", "group": "mail", "rates": "30/1m  2000/1d", "concurrency": "3"}
    done = await console.post("/actions/set-limit", fields, page="/limits")
    assert "Define a limit: done" in done.words()
    state = await limits.state("customer:7")
    assert state.limit is not None
    assert [one.most for one in state.limit.rates] == [30, 2000]
    assert state.limit.concurrency == 3
    await console.post("/actions/set-limit", fields | {"rates": "", "windows": "5/1h"}, page="/limits")
    changed = (await limits.state("customer:7")).limit
    assert changed == Limit("customer:7", (Window(5, timedelta(hours=1)),), concurrency=3)
    named = {"limit": "customer:7", "group": "mail"}
    for action, more, said in (
        ("hold-limit", {"time": "10m", "why": "they ask for it"}, "Hold the limit: done"),
        ("release-limit", {}, "Release the limit: done"),
        ("release-limit", {}, "Release the limit: nothing to do"),
        ("remove-limit", {}, "Remove the limit: done"),
        ("remove-limit", {}, "customer:7 is not defined; nothing was done."),
    ):
        assert said in (await console.post(f"/actions/{action}", named | more, page="/limits")).words()
    assert await limits.all() == []
    noted = [(one.action, one.target, one.outcome) for one in await list_entries(redis, limit=3)]
    assert noted[-1] == ("release-limit", "customer:7", "nothing")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "KEY: has no bounds"),
        ({"rates": "30"}, "such as 30/1m or 2000/1d"),
        ({"rates": "30/1m", "reserve": "2"}, "reserve: must be at least 0 and below 1"),
        ({"concurrency": "many"}, "invalid int value"),
        ({"concurrency": "1", "group": "another"}, "invalid choice"),
        ({"concurrency": "1", "limit": HOSTILE}, "&lt;script&gt;"),
        ({"concurrency": "1", "limit": "--group=mail"}, "limit"),
    ],
)
async def test_what_is_no_limit_is_refused(
    console: Inside, limits: Limits, fields: dict[str, str], said: str
) -> None:
    known = {"limit": "customer:7", "group": "mail"} | fields
    reply = await console.post("/actions/set-limit", known, page="/limits")
    assert said in reply.text
    assert HOSTILE not in reply.text
    assert await limits.all() == []


async def test_who_may_look_alone_gets_no_form(redis: Redis, limits: Limits) -> None:
    await limits.define(Limit("customer:*", concurrency=2))
    page = await inside(redis, "view").get("/limits")
    assert ("customer:*" in page.text, "<button>Search" in page.text) == (True, True)
    assert 'method="post"' not in page.text


async def test_jobs_that_wait_for_a_limit_are_counted(console: Inside, redis: Redis, producer: Producer) -> None:
    await Limits(redis, NOTES.tag).define(Limit("customer:7", concurrency=1))
    await producer.send(Note("one"), limit="customer:7")
    await redis.zadd(f"momentus:{NOTES.tag}:blocked:customer:7", {f"{LANE} x": 1})
    row = (await console.get(address("/limits", key="customer:7", group=NOTES.tag.strip("{}")))).text
    assert 'data-label="Wait for it"><a href="/jobs?state=limited">1</a>' in row


# Reports


async def store(redis: Redis, name: str, **fields: object) -> None:
    await redis.hset(catalogue("default"), name, json.dumps({"board": "one", "debounce_ms": 60_000}))
    if fields:
        await redis.hset(
            snapshot("default", name), mapping={key: json.dumps(value) for key, value in fields.items()}
        )


async def test_reports_are_shown_with_age_cost_and_last_error(console: Inside, redis: Redis) -> None:
    seconds, _ = await redis.time()
    times = {"verified_us": (seconds - 90) * 1_000_000, "as_of_us": seconds * 1_000_000, "valid_until_us": None}
    meta = {**times, "soft_ms": 60_000, "hard_ms": 600_000, "gen": 17, "computed": "nodes", "cost_ms": 9}
    await store(redis, "sales", _meta=meta, _costs=[10.0, 30.0, 20.0])
    await store(redis, "broken", _error={"at_us": seconds * 1_000_000, "error": HOSTILE + "\nmore"})
    await store(redis, "early", **{WAITS: ["organisation.tasks"]})
    await redis.set(wanted("default", "sales"), 1)
    page = await console.get("/reports")
    words = page.words()
    assert "sales stale 1 min 3" in words
    assert " s 1 min / 10 min " in words
    assert "17 20 / 30 ms nodes" in words
    assert f"broken never computed {NONE * 6}{HOSTILE}" in words
    assert HOSTILE not in page.text
    assert "waits for its tables" in words
    assert "organisation.tasks" in words
    assert "waits for its tables" in (await console.get("/")).words()


async def test_a_report_is_refreshed_from_its_page(console: Inside, redis: Redis) -> None:
    await store(redis, "management")
    reply = await console.post("/actions/refresh", {"report": "management"}, page="/reports")
    assert "management is queued" in reply.text
    assert await redis.zcard(LaneKeys("reports").queue) == 1
