"""The console in a real browser, with JavaScript and without: what operators do there, and how it looks.

Where there is no Chromium the tests are skipped; the check of accessibility also where npm does not answer.
"""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from jobs import Mail
from jobs.schedule import Schedule
from ops.audit.log import list_entries
from ops.console.visit import address
from ops.lanes.hold import hold_lane
from producers import Producer
from producers.keys import LaneKeys, catalogue
from producers.limits.limit import Limit, Rate, Window
from producers.limits.limits import Limits
from reports.keys import snapshot
from tests.chromium import Chromium, Tab, chromium, tab as open_tab
from tests.console_process import Running, running as console_of
from tests.jobs_in_states import LANE, MailOrder, make_jobs
from worker.crons import Cron, write_crons
from worker.fleet_keys import schedules_key
from worker.mail.erase import erase_cron

KEYS = LaneKeys(LANE)
TOKEN = "t" * 32
LONG_REASON = "the provider asks for a pause until its certificate has been renewed, see ticket 4711 of today"
WIDTHS = (390, 768, 1024, 1366, 1920)
AXE = "axe-core@4.10.2"
LOADED = "document.readyState === 'complete'"


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with chromium() as one:
        yield one


@pytest.fixture
def tab(browser: Chromium) -> Iterator[Tab]:
    with open_tab(browser) as one:
        yield one


SETTINGS = {
    "guarded": {"CONSOLE__LOCAL": "off", "CONSOLE__TOKENS": f"ana:admin:{TOKEN}"},
    "admin": {"CONSOLE__LOCAL": "admin"},
}


@pytest.fixture(scope="module")
def consoles() -> Iterator[dict[tuple[str, str], Running]]:
    """Consoles that tests share, by their server and the name of their settings."""
    with ExitStack() as stack:

        class Known(dict[tuple[str, str], Running]):
            def __missing__(self, key: tuple[str, str]) -> Running:
                url, kind = key
                self[key] = stack.enter_context(console_of(url, **SETTINGS[kind]))
                return self[key]

        yield Known()


@pytest.fixture
def console(consoles: dict[tuple[str, str], Running], valkey_url: str) -> Running:
    return consoles[valkey_url, "guarded"]


@pytest.fixture
def admin(consoles: dict[tuple[str, str], Running], valkey_url: str) -> Running:
    return consoles[valkey_url, "admin"]


class Walk:
    """An operator at a browser: follows links, fills in forms and sends them."""

    def __init__(self, tab: Tab, port: int) -> None:
        self.tab = tab
        self._origin = f"http://127.0.0.1:{port}"

    async def open(self, path: str) -> None:
        await self.tab.open(self._origin + path)
        await self.tab.shows(LOADED)

    async def shows(self, text: str) -> None:
        """Wait until the page has the text."""
        await self.tab.shows(f"document.body.innerText.includes({json.dumps(text)})")

    async def follow(self, text: str) -> None:
        """Follow the link with this text."""
        await self._click(f"[...document.links].find((one) => one.textContent.trim() === {json.dumps(text)})")

    async def send(self, action: str, **fields: str) -> None:
        """Fill in the first form for an action, and press its button."""
        form = f"document.querySelector('form[action=\"{action}\"]')"
        await self.tab.shows(f"Boolean({form})")
        for name, value in fields.items():
            await self.tab.evaluate(f"{form}.elements[{json.dumps(name)}].value = {json.dumps(value)}")
        await self._click(f"{form}.querySelector('button')")

    async def _click(self, element: str) -> None:
        """Click on an element as a mouse does; the page changes."""
        await self.tab.shows(f"Boolean({element})")
        await self.tab.evaluate("document.documentElement.dataset.before = '1'")
        await self.tab.evaluate(f"{element}.click()")
        await self.tab.shows(f"!document.documentElement.dataset.before && {LOADED}")


@pytest.mark.parametrize("script", [pytest.param("on", marks=pytest.mark.long), "off"])
async def test_an_operator_finds_and_mends_what_failed(
    valkey_url: str, redis: Redis, producer: Producer, console: Running, tab: Tab, script: str
) -> None:
    dead, uncertain = await make_jobs(
        valkey_url, redis, producer, MailOrder("ana@example.com", "dead"), MailOrder("b@example.net", "uncertain")
    )
    await tab.call("Emulation.setScriptExecutionDisabled", value=script == "off")
    walk = Walk(tab, console.port)
    await walk.open("/jobs")
    await walk.send("/login", token=TOKEN)
    await walk.shows("ana · admin")
    await walk.open("/")
    await walk.shows("Something is wrong")
    await walk.follow("Jobs")
    await walk.send("/jobs", domain="example.com")
    await walk.follow(dead)
    await walk.shows("550 5.1.1 no such person")
    await walk.send("/actions/revive", why="she is back")
    await walk.shows(f"{dead} is back in {LANE}")
    await walk.follow("← Back")
    await walk.shows("Waits for")
    await walk.open("/mail")
    await walk.send("/actions/resolve", decision="accepted", why="she has it")
    await walk.shows("Decide: done")
    await walk.open(f"/lanes/{LANE}")
    await walk.send("/actions/hold-lane", time="1h", why="look at it")
    await walk.shows("Hold the lane: done")
    await walk.follow("← Back")
    await walk.shows("look at it")
    await walk.send("/actions/release-lane")
    await walk.shows("Release the lane: done")
    await walk.follow("Español")
    await walk.shows("Liberar el carril: hecho")
    found = [(one.action, one.target, one.outcome, one.who) for one in await list_entries(redis, limit=9)]
    assert found[::-1] == [
        ("revive", dead, "done", "ana"),
        ("resolve", uncertain, "done", "ana"),
        ("hold-lane", LANE, "done", "ana"),
        ("release-lane", LANE, "done", "ana"),
    ]


@pytest.mark.parametrize("script", ["on", pytest.param("off", marks=pytest.mark.long)])
async def test_a_cluster_is_replayed_and_stopped(
    valkey_url: str, redis: Redis, producer: Producer, console: Running, tab: Tab, script: str
) -> None:
    await make_jobs(valkey_url, redis, producer, *(MailOrder(f"u{n}@example.com", "dead") for n in range(3)))
    await tab.call("Emulation.setScriptExecutionDisabled", value=script == "off")
    walk = Walk(tab, console.port)
    await walk.open("/failures")
    await walk.send("/login", token=TOKEN)
    await walk.open("/failures")
    await walk.shows("3 of 3 dead jobs, in 1 clusters")
    await walk.send("/canary", why="the provider is back")
    await walk.shows("running: 1 of 3")
    form = await tab.evaluate("document.querySelector('form[action$=\"/stop\"]').getAttribute('action')")
    await walk.send(form)
    await walk.shows("stopped: 1 of 3")
    assert await redis.zcard(KEYS.dead) == 2


async def test_an_update_keeps_scroll_selection_and_what_is_typed(
    valkey_url: str, redis: Redis, producer: Producer, tab: Tab
) -> None:
    with console_of(valkey_url) as console:
        walk = Walk(tab, console.port)
        await tab.size(700, 500)
        await walk.open(f"/lanes/{LANE}")
        await tab.evaluate(
            """
            window.heading = document.querySelector('#lane dl dt');
            getSelection().selectAllChildren(window.heading);
            document.querySelector('form[action="/actions/pause-lane"] input[name="why"]').value = 'half a rea';
            scrollTo(0, 120);
            """
        )
        await producer.send(Mail(to="ana@example.com", subject="s", text="t"))
        await tab.shows("document.querySelector('#lane dl dd').textContent === '1'")
        assert await tab.evaluate("[scrollY, getSelection().toString(), heading.isConnected]") == [
            120,
            "Ready",
            True,
        ]
        assert (
            await tab.evaluate(
                'document.querySelector(\'form[action="/actions/pause-lane"] input[name="why"]\').value'
            )
            == "half a rea"
        )
        assert redis


async def test_a_queue_is_seen_to_fill_and_to_drain(
    valkey_url: str, redis: Redis, producer: Producer, tab: Tab
) -> None:
    with console_of(valkey_url) as console:
        walk = Walk(tab, console.port)
        await walk.open("/")
        ready = f"document.querySelector('[data-key=\"{LANE}\"] td').textContent"
        await make_jobs(valkey_url, redis, producer, MailOrder("a@example.com", "dead"))
        await walk.shows("Something is wrong")
        await producer.send(Mail(to="ana@example.com", subject="s", text="done"))
        await tab.shows(f"{ready} === '1'")
        await tab.shows("document.querySelectorAll('#charts svg path').length === 7")
        await make_jobs(valkey_url, redis, producer)
        await tab.shows(f"{ready} === '0'")


async def test_a_console_that_is_away_is_seen_and_comes_back(own_valkey: Any, tab: Tab) -> None:
    valkey = await own_valkey()
    with console_of(valkey.url) as console:
        walk = Walk(tab, console.port)
        await walk.open("/")
        await valkey.kill()
        await tab.shows("document.documentElement.dataset.away === 'true'")
        await valkey.start()
        await tab.shows("document.documentElement.dataset.away === 'false'")
        tab.faults.clear()


PATHS = (
    *("/", f"/lanes/{LANE}", "/jobs", "/jobs?state=uncertain", "/failures", "/bulk", "/mail", "/audit", "/job"),
    *("/limits", "/reports", "/workers", "/schedules"),
)


async def scene(url: str, redis: Redis, producer: Producer) -> str:
    """Something of everything, with long texts; the id of a dead job."""
    dead, _, _ = await make_jobs(
        url,
        redis,
        producer,
        MailOrder("ana@example.com", "dead", "550 5.1.1 " + "unknown" * 12),
        MailOrder("b@example.net", "uncertain"),
        MailOrder("c@example.com", "retrying"),
    )
    await hold_lane(redis, LANE, lasting=None, reason=LONG_REASON)
    await hold_lane(redis, "mail.bulk", lasting=None, reason="x" * 200)
    await producer.send(Mail(to="ana@example.com", subject="s", text="t"))
    worker = "0123456789abcdef"
    lanes = {name: {"busy": 3, "slots": 20} for name in ("mail.urgent", "mail.normal", "mail.bulk", "reports")}
    facts = {"host": "application-worker-7." + "x" * 40, "pid": 4711, "lanes": lanes, "state": "quiet"}
    trouble = {"reports": {"error": "the database does not answer " + "y" * 60, "for_s": 90}}
    facts |= {"version": "1.2.3", "loop_lag_ms": 1500, "lease_lag_ms": 0, "troubles": trouble}
    await redis.zadd(KEYS.workers, {worker: 2e12})
    await redis.set(KEYS.worker(worker), json.dumps(facts))
    often = Schedule(minute=range(0, 60, 5), weekday=range(5), zone="America/Argentina/Buenos_Aires")
    cron = Cron(name="n" * 60, schedule=often, kind="invoice.send", lane=LANE, payload={}, overlap=True)
    await redis.set(schedules_key(KEYS, worker), write_crons([cron, erase_cron()]))
    await redis.hset(KEYS.crons, "former", "1780000000000")
    rates = (Rate.within(30, timedelta(minutes=1)), Window(2000, timedelta(days=1)))
    limits = Limits(redis, KEYS.tag)
    await limits.define(Limit("customer:" + "c" * 40, rates, concurrency=5, reserve=0.2))
    await limits.hold("customer:" + "c" * 40, timedelta(hours=1), LONG_REASON)
    await redis.hset(catalogue("default"), "management", "{}")
    fault = {"at_us": 1, "error": "relation organisation.tasks does not exist " + "x" * 80}
    await redis.hset(snapshot("default", "management"), "_error", json.dumps(fault))
    return dead


@pytest.mark.parametrize("language", ["es", "en"])
async def test_every_page_fits_every_width(
    valkey_url: str, redis: Redis, producer: Producer, admin: Running, tab: Tab, language: str
) -> None:
    dead = await scene(valkey_url, redis, producer)
    walk = Walk(tab, admin.port)
    await tab.speaks(language)
    for path in PATHS:
        await walk.open(address(path, id=dead) if path == "/job" else path)
        for width in WIDTHS:
            await tab.size(width, 900)
            await tab.shows(f"innerWidth === {width}")
            wide = await tab.evaluate(
                "[document.documentElement, ...document.querySelectorAll('.wide')]"
                ".filter((one) => one.scrollWidth > one.clientWidth).map((one) => [one.className, "
                "one.scrollWidth])"
            )
            assert wide == [], f"{path} at {width}"
            if path == "/":
                why = await tab.evaluate("document.querySelector('tr.why').getBoundingClientRect().right")
                assert LONG_REASON in await tab.text("#lanes")
                assert why <= width


async def test_the_page_follows_light_and_dark(valkey_url: str, tab: Tab) -> None:
    with console_of(valkey_url) as console:
        walk, colours = Walk(tab, console.port), list[str]()
        for scheme in ("light", "dark"):
            await tab.scheme(scheme)
            await walk.open("/")
            colours.append(await tab.evaluate("getComputedStyle(document.body).backgroundColor"))
        assert len(set(colours)) == 2


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core."""
    npm, folder = shutil.which("npm"), tmp_path_factory.mktemp("axe")
    if npm is None:
        pytest.skip("no npm on this machine")
    command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", AXE]
    done = subprocess.run(command, cwd=folder, check=False, capture_output=True, timeout=120)
    if done.returncode:
        pytest.skip("npm has no axe-core for this machine")
    return (Path(folder) / "node_modules/axe-core/axe.min.js").read_text(encoding="utf-8")


async def test_axe_finds_no_serious_fault(
    valkey_url: str, redis: Redis, producer: Producer, admin: Running, tab: Tab, axe: str
) -> None:
    dead = await scene(valkey_url, redis, producer)
    walk = Walk(tab, admin.port)
    for path in (
        *PATHS,
        "/login",
        "/sessions?user=u",
        "/nothing",
        address("/bulk/new", action="revive", state="dead"),
    ):
        await walk.open(address(path, id=dead) if path == "/job" else path)
        await tab.evaluate(f"{axe}\n0")
        for scheme in ("light", "dark"):
            await tab.scheme(scheme)
            await tab.shows(f"matchMedia('(prefers-color-scheme: {scheme})').matches")
            found = await tab.evaluate(
                "axe.run().then((found) => found.violations"
                ".filter((one) => ['serious', 'critical'].includes(one.impact))"
                ".map((one) => [one.id, one.nodes.map((node) => node.html).slice(0, 3)]))"
            )
            assert found == [], f"{path}, {scheme}"
