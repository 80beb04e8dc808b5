"""The operators' page as its users meet it: HTTP on a socket, a real Valkey behind it."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator

import pytest
from redis.asyncio import Redis

from jobs.lanes import LANES
from ops.console.texts import WORDS
from producers.keys import LaneKeys, catalogue
from producers.suppression import weigh_refusal
from reports.keys import snapshot
from tests.console_process import Running, running, start
from tests.support import OwnValkey, eventually

HOSTILE = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def consoles() -> Iterator[dict[str, Running]]:
    shared: dict[str, Running] = {}
    yield shared
    for console in shared.values():
        code, logged = console.stop()
        assert (code, "Traceback" in logged) == (0, False)


@pytest.fixture
def console(consoles: dict[str, Running], valkey_url: str) -> Running:
    """A console shared by the tests of this file."""
    if valkey_url not in consoles:
        process = start(REDIS_URL=valkey_url, CONSOLE__PORT="0")
        assert process.stderr is not None
        consoles[valkey_url] = Running(process, json.loads(process.stderr.readline())["port"])
    return consoles[valkey_url]


@pytest.mark.parametrize(
    ("asked", "language"),
    [("es-MX,es;q=0.9,en;q=0.5", "es"), ("en-GB", "en"), ("fr", "en")],
)
async def test_the_overview_shows_every_lane_in_the_readers_language(
    console: Running, asked: str, language: str
) -> None:
    page = await console.get(accept_language=asked)
    words = WORDS["es" if language == "es" else "en"]
    assert page.status == 200
    assert f'<html lang="{language}">' in page.text
    assert all(f'href="/lanes/{lane}"' in page.text for lane in LANES)
    assert words["no_workers"] in page.text
    assert words["conserved"] in page.text


async def test_the_charts_say_since_when_they_are(console: Running) -> None:
    async def says() -> bool:
        return "The charts come from this console, since " in (await console.get()).words()

    await eventually(says)


async def test_both_languages_have_the_same_words() -> None:
    assert WORDS["es"].keys() == WORDS["en"].keys()


@pytest.mark.parametrize(("language", "why"), [("es", "ningún worker vivo"), ("en", "no live worker")])
async def test_a_lane_has_a_page_that_says_why_it_waits(
    console: Running, redis: Redis, language: str, why: str
) -> None:
    keys = LaneKeys("mail.urgent")
    await redis.zadd(keys.queue, {"{mail}1": 1})
    await redis.hset(keys.counters, "accepted:mail.urgent", "1")
    page = await console.get("/lanes/mail.urgent", accept_language=language)
    assert page.status == 200
    assert why in page.text


async def test_jobs_unaccounted_for_are_the_first_thing_to_be_seen(console: Running, redis: Redis) -> None:
    await redis.hset(LaneKeys("mail.bulk").counters, "accepted:mail.bulk", "3")
    page = await console.get()
    assert "Not conserved: a difference of 3 jobs" in page.text
    assert WORDS["en"]["conserved"] not in page.text


async def test_a_server_that_refuses_everybody_is_told_of(console: Running, redis: Redis) -> None:
    for number in range(6):
        await weigh_refusal(redis.execute_command, f"u{number}@example.com", by="worker")
    page = await console.get()
    assert "Domain example.com: 6 of 6 recipients refused at once" in page.text


async def test_the_banner_is_red_when_jobs_are_dead_or_a_report_fails(console: Running, redis: Redis) -> None:
    assert 'class="banner bad"' not in (await console.get()).text
    await redis.zadd(LaneKeys("mail.bulk").dead, {"{mail}1": 1})
    await redis.hset(LaneKeys("mail.bulk").counters, "accepted:mail.bulk", "1")
    page = await console.get(accept_language="es")
    assert 'class="banner bad"' in page.text
    assert "1 trabajos muertos esperan una decisión" in page.words()
    await redis.flushall()
    await redis.hset(catalogue("default"), "management", "{}")
    await redis.hset(
        snapshot("default", "management"), "_error", json.dumps({"at_us": 1, "error": "no such table"})
    )
    page = await console.get()
    assert 'class="banner bad"' in page.text
    assert "its last refresh failed: no such table" in page.words()


async def test_what_others_wrote_is_text_and_nothing_else(console: Running, redis: Redis) -> None:
    (now, _) = await redis.time()
    keys = LaneKeys("mail.normal")
    facts = {
        "host": HOSTILE,
        "pid": 1,
        "lanes": {HOSTILE: {"busy": 1, "slots": 1}, keys.lane: {"busy": 0, "slots": 1}},
    }
    await redis.zadd(keys.workers, {HOSTILE: now * 1000})
    await redis.set(keys.worker(HOSTILE), json.dumps(facts))
    await redis.hset(catalogue("default"), HOSTILE, "{}")
    await redis.hset(snapshot("default", HOSTILE), "_error", json.dumps({"at_us": 1, "error": HOSTILE}))
    for path in ("/", "/lanes/mail.normal"):
        page = await console.get(path)
        assert page.status == 200
        assert page.text.count("<script") == page.text.count('<script src="/console.js"') == 1
        assert "&lt;script&gt;" in page.text


async def test_the_json_is_the_same_as_on_the_command_line(console: Running) -> None:
    reply = await console.get("/api/depth")
    assert (reply.status, reply.headers["content-type"]) == (200, "application/json")
    depth = json.loads(reply.text)
    assert [lane["lane"] for lane in depth["lanes"]] == list(LANES)
    assert depth["conserved"] is True


@pytest.mark.parametrize(
    "path", ["/", "/lanes/mail.normal", "/audit", "/login", "/api/depth", "/nothing", "/healthz", "/style.css"]
)
async def test_no_page_may_load_leak_or_be_kept_anything(console: Running, path: str) -> None:
    reply = await console.get(path)
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "script-src" not in policy or "script-src 'self';" in policy
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert reply.text.replace('<script src="/console.js" defer></script>', "").count("<script") == 0
    assert " style=" not in reply.text
    assert " on" + "click" not in reply.text


@pytest.mark.parametrize("path", ["/x", "/lanes/", "/lanes/mail.nothing", "/lanes/../healthz", "/api", "//"])
async def test_what_does_not_exist_is_a_page_that_says_so(console: Running, path: str) -> None:
    assert (await console.get(path)).status == 404


async def test_only_reading_is_allowed(console: Running) -> None:
    for method in ("POST", "PUT", "DELETE"):
        reply = await console.get(method=method)
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
    assert (await console.get(method="HEAD")).status == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:80", ""])
async def test_a_foreign_name_for_this_machine_is_refused(console: Running, host: str) -> None:
    assert (await console.get(host=host)).status == 421


async def test_with_redis_away_the_page_says_so_and_comes_back(
    own_valkey: Callable[..., Awaitable[OwnValkey]],
) -> None:
    valkey = await own_valkey()
    with running(valkey.url) as console:
        assert (await console.get()).status == 200
        await valkey.kill()
        for path in ("/", "/lanes/mail.normal", "/api/depth"):
            reply = await console.get(path)
            assert reply.status == 503
            assert "MOMENTUS_REDIS_URL" in reply.text
            assert "Traceback" not in reply.text
            assert reply.headers["retry-after"] == "2"
        assert WORDS["es"]["away"] in (await console.get(accept_language="es")).text
        assert (await console.get("/healthz")).status == 200
        await valkey.start()

        async def back() -> bool:
            return (await console.get()).status == 200

        await eventually(back)


async def test_a_taken_port_is_one_line_that_names_its_setting(console: Running, valkey_url: str) -> None:
    second = start(REDIS_URL=valkey_url, CONSOLE__PORT=str(console.port))
    _, said = await asyncio.to_thread(second.communicate)
    assert (second.returncode, said.count("\n")) == (2, 1)
    assert "MOMENTUS_CONSOLE__PORT" in said


async def test_other_machines_can_never_be_let_in(valkey_url: str) -> None:
    process = start(REDIS_URL=valkey_url, CONSOLE__HOST="0.0.0.0")  # noqa: S104  it must be refused
    _, said = await asyncio.to_thread(process.communicate)
    assert process.returncode == 2
    assert "MOMENTUS_CONSOLE__HOST" in said
