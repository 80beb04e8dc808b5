"""The managers' page in a real browser: its numbers are the database's, whatever happens meanwhile.

One short walk runs each time; the others are long. Where there is no Chromium they are skipped.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from local.organisation import OrganisationSize, generate_organisation
from local.organisation.postgres import install_schema, load_rows
from reports import Report, load_reports
from reports.keys import changed, closed, snapshot
from sessions import Sessions
from tests import oracle, oracle_reports
from tests.boards import Shop, refresh_own_board, report, shop
from tests.chromium import Chromium, Tab, chromium, tab as open_tab
from tests.managers_page import NO_NUMBERS, Shown, assert_shown, every_day, instant, number_in, shown_by
from tests.reader_process import LastingReaders, reader_process

SQL = """
WITH RECURSIVE below AS (
    SELECT id AS top, id FROM shop.nodes
    UNION ALL
    SELECT below.top, nodes.id FROM shop.nodes JOIN below ON parent_id = below.id
)
SELECT top, coalesce(sum(amount), 0)::numeric AS amount
FROM below LEFT JOIN shop.orders ON node_id = below.id
GROUP BY top
"""
TEXT_TREE = """
SELECT
    'n-' || id::text || '.x' AS id,
    'n-' || parent_id::text || '.x' AS parent_id,
    jsonb_build_object('es', name || ' (es)', 'en_US', name || ' (en)') AS name,
    kind
FROM shop.nodes
"""
TEXT_SQL = """
SELECT 'n-' || node_id::text || '.x' AS node_id, sum(amount) AS amount FROM shop.orders WHERE at <= $1 GROUP BY 1
"""
TITLES = {"es": {"report": "Ventas", "amount": "Importe"}, "en": {"report": "Sales", "amount": "Amount"}}
SHIPPED = {
    "management": oracle.management,
    "blockers": oracle_reports.blockers,
    "activity": oracle_reports.activity,
    "workload": oracle_reports.workload,
}
SIZE = OrganisationSize(nodes=60, depth=5, employees=400, memberships=20, tasks=3000, checkins=9000, blockers=1500)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with chromium() as one:
        yield one


@pytest.fixture
def tab(browser: Chromium) -> Iterator[Tab]:
    with open_tab(browser) as one:
        yield one


def sales(**changes: Any) -> Report:
    return report(**{"titles": TITLES, "title": "Sales", **changes})


@dataclass(frozen=True, slots=True)
class Scene:
    """A shop whose report is stored, and a reader that serves it to anybody."""

    shop: Shop
    report: Report
    port: int

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def address(self, scope: object = "", report: str = "sales") -> str:
        return f"{self.origin}/#/{report}/{scope}"

    async def refresh(self) -> None:
        await refresh_own_board(self.shop.refresher, self.report)

    async def amounts(self) -> dict[str, int]:
        """What independent SQL says of each node."""
        return {str(row["top"]): int(row["amount"]) for row in await self.shop.database.fetch(SQL)}

    async def age(self, seconds: float, **limits: float) -> None:
        """Have the stored set be as old as that, and hint at it."""
        found = dict(await self.shop.meta())
        found["verified_us"] = int((datetime.now(UTC).timestamp() - seconds) * 1_000_000)
        found |= {f"{name}_ms": int(limit * 1000) for name, limit in limits.items()}
        await self.shop.redis.hset(snapshot("default", "sales"), "_meta", json.dumps(found))
        await self.hint()

    async def hint(self) -> None:
        await self.shop.redis.publish(changed("default"), b'{"report":"sales","gen":1}')


@asynccontextmanager
async def scene(dsn: str, url: str, port: int, declared: Report) -> AsyncIterator[Scene]:
    async with shop(dsn, url, declared) as one:
        await one.refresher.store.declare_reports({declared.name: declared})
        await one.order(1200, node=2)
        await one.order(34, node=3)
        found = Scene(one, declared, port)
        await found.refresh()
        yield found


@pytest.fixture
async def shown_shop(database: str, valkey_url: str, lasting_readers: LastingReaders) -> AsyncIterator[Scene]:
    port = await lasting_readers.port(valkey_url, READER__ACCESS="open")
    async with scene(database, valkey_url, port, sales()) as one:
        yield one


async def assert_amounts(tab: Tab, amounts: dict[str, int], language: str) -> Shown:
    """The page of the top shows these amounts."""
    total = number_in(language, amounts["1"])
    await tab.shows(f"document.querySelector('.tiles dd')?.innerText === {json.dumps(total)}")
    found = await shown_by(tab)
    assert found.tiles["amount"] == [str(amounts["1"]), total]
    below = {node: row["amount"] for node, row in found.children.items()}
    assert below == {node: [str(amounts[node]), number_in(language, amounts[node])] for node in ("2", "3")}
    return found


async def test_the_page_shows_the_databases_numbers_before_and_after_a_change_while_stale_and_none_past_the_limit(
    shown_shop: Scene, tab: Tab
) -> None:
    await tab.speaks("es-ES", "en")
    await tab.open(shown_shop.origin)
    found = await assert_amounts(tab, await shown_shop.amounts(), "es")
    assert (found.title, found.state) == ("all", "fresh")
    await tab.evaluate("window.isTheSamePage = true")
    await tab.is_answered("/v1/events")

    await shown_shop.shop.order(20_000, node=3)
    await shown_shop.refresh()
    assert (await shown_shop.amounts())["1"] == 21_234
    await assert_amounts(tab, await shown_shop.amounts(), "es")
    assert await tab.text("#announcement") == "Números actualizados."

    await shown_shop.age(200)
    await tab.shows("document.querySelector('#freshness').dataset.state === 'stale'")
    assert (await tab.text("#freshness")).startswith("Atrasado: ")
    assert "hace 3 minutos" in await tab.text("#freshness")
    await assert_amounts(tab, await shown_shop.amounts(), "es")

    await shown_shop.age(900)
    await tab.shows("document.querySelector('[data-state]').dataset.state === 'expired'")
    assert await tab.evaluate(NO_NUMBERS)
    assert "15 minutos" in await tab.text("#failure")
    assert await tab.evaluate("window.isTheSamePage"), "all without a reload"
    views = [one for one in tab.requests if "/children" in one]
    assert len(tab.requests) == len(set(tab.requests)) + len(views) - 1, "one request a view"


# ---- the shipped reports


@dataclass(frozen=True, slots=True)
class OrganisationScene:
    """An invented organisation, its shipped reports and a reader."""

    shop: Shop
    port: int
    reports: dict[str, Report]

    async def refresh(self) -> None:
        for board in self.shop.refresher.boards.values():
            await refresh_own_board(self.shop.refresher, board.reports[0])

    async def expected(self, name: str) -> dict[int, Any]:
        """What the slow computation says, at the instant of the stored set."""
        tables = {
            table: [dict(row) for row in await self.shop.database.fetch(f"TABLE organisation.{table}")]
            for table in oracle.TABLES
        }
        at = instant((await self.shop.meta(name))["as_of_us"])
        return SHIPPED[name](tables, now=at, zone="America/Santiago")


@pytest.fixture
async def organisation(
    database: str, valkey_url: str, lasting_readers: LastingReaders
) -> AsyncIterator[OrganisationScene]:
    connection = await asyncpg.connect(database)
    await install_schema(connection)
    await load_rows(connection, generate_organisation(SIZE, seed=10, now=datetime.now(UTC)))
    await connection.close()
    declared = dict(load_reports())
    port = await lasting_readers.port(valkey_url, READER__ACCESS="open")
    async with shop(database, valkey_url, *declared.values(), zone="America/Santiago") as one:
        await one.refresher.store.declare_reports(declared)
        found = OrganisationScene(one, port, declared)
        await found.refresh()
        yield found


def assert_view(found: Shown, expected: dict[int, Any], node: int, children: list[int], language: str) -> None:
    """Tiles, table, series and lists of a view have the expected numbers."""
    total, own = expected[node]["total"], expected[node]["own"]
    for measure, cell in found.tiles.items():
        assert_shown(cell, total[measure], language)
        if found.own[measure] and isinstance(own[measure], int):
            assert found.own[measure].endswith(f" {number_in(language, own[measure])}")
    assert {*found.children} == {str(child) for child in children}
    for child in children:
        for measure in found.tiles:
            assert_shown(found.children[str(child)][measure], expected[child]["total"][measure], language)
    for measure in {*total} - {*found.tiles}:
        assert_section(found.sections[measure], measure, total[measure], language)


def assert_section(rows: list[list[list[Any]]], measure: str, value: Any, language: str) -> None:
    if isinstance(value, list):
        assert len(rows) == len(value), measure
        for row, expected in zip(rows, value, strict=True):
            assert len(row) == len(expected)
            instants = [cell for cell in row if cell[0] and "T" in cell[0]]
            assert [datetime.fromisoformat(one[0]) for one in instants] == [
                one for one in expected.values() if isinstance(one, datetime)
            ]
            assert str(expected["id"]) in {text for _, text in row}
    elif all(len(key) == 10 for key in value):
        assert [int(row[1][0]) for row in rows] == every_day(value)
    else:
        assert {row[0][1]: int(row[1][0]) for row in rows} == value
        assert {row[1][1] for row in rows} == {number_in(language, one) for one in value.values()}


async def children_of(scene: OrganisationScene, node: int) -> list[int]:
    return [
        row["id"]
        for row in await scene.shop.database.fetch("SELECT id FROM organisation.nodes WHERE parent_id = $1", node)
    ]


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("language", ["es", "en"])
async def test_every_shipped_report_is_shown_as_the_slow_computation_has_it_before_and_after_a_check_in(
    organisation: OrganisationScene, tab: Tab, language: str
) -> None:
    await tab.speaks(language)
    top = await organisation.shop.database.fetchval("SELECT id FROM organisation.nodes WHERE parent_id IS NULL")
    nodes = [top, *(await children_of(organisation, top))[:2]]
    for _ in range(2):
        for name in SHIPPED:
            expected = await organisation.expected(name)
            for node in nodes:
                await tab.open("about:blank")
                await tab.open(f"http://127.0.0.1:{organisation.port}/#/{name}/{node}")
                await tab.shows("!!document.querySelector('.tiles')")
                children = await children_of(organisation, node)
                assert_view(await shown_by(tab), expected, node, children, language)
                titles = dict(organisation.reports[name].titles[language])
                assert titles.pop("report") in await tab.text("header")
                told = await tab.text("main")
                assert [
                    title for measure, title in titles.items() if "." not in measure and title not in told
                ] == []
        employee = await organisation.shop.database.fetchval(
            "SELECT min(id) FROM organisation.employees WHERE left_at IS NULL"
        )
        await organisation.shop.database.execute(
            "INSERT INTO organisation.checkins (id, employee_id, node_id, at, kind) "
            "SELECT max(id) + 1, $1, $2, now(), 'office' FROM organisation.checkins",
            employee,
            nodes[1],
        )
        await organisation.refresh()


@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.parametrize("width", [390, 768, 1920])
async def test_no_width_of_the_window_makes_the_page_scroll_sideways(
    organisation: OrganisationScene, tab: Tab, width: int
) -> None:
    await tab.speaks("es")
    await tab.size(width)
    for scheme in ("light", "dark"):
        await tab.scheme(scheme)
        for name in SHIPPED:
            await tab.open("about:blank")
            await tab.open(f"http://127.0.0.1:{organisation.port}/#/{name}/1")
            await tab.shows("!!document.querySelector('.tiles')")
            await tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
            assert await tab.evaluate("document.documentElement.scrollWidth") <= width, (name, scheme)
        back = await tab.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        assert (max(back[:3]) < 100) == (scheme == "dark")


# ---- by keyboard and screen reader


ACTIVE = "(document.activeElement.dataset.sort ?? document.activeElement.innerText)"


async def tab_to(tab: Tab, what: str) -> None:
    """Press Tab until that has the focus, by its sort or its text."""
    for _ in range(40):
        if await tab.evaluate(ACTIVE) == what:
            return
        await tab.press("Tab")
    raise AssertionError(f"{what} is not reached by Tab")


@pytest.mark.long
async def test_the_page_is_walked_by_keyboard_and_an_update_takes_the_focus_from_nobody(
    shown_shop: Scene, tab: Tab
) -> None:
    await tab.speaks("en")
    await tab.open(shown_shop.address(1))
    await assert_amounts(tab, await shown_shop.amounts(), "en")
    await tab.press("Tab")
    assert await tab.evaluate(ACTIVE) == "Skip to content"
    await tab.is_answered("/v1/events")
    await tab.press("Enter")
    assert await tab.evaluate("document.activeElement.id") == "main"

    await tab_to(tab, "amount")
    await tab.press("Enter")
    assert await tab.evaluate("document.activeElement.parentElement.getAttribute('aria-sort')") == "descending"
    assert (await shown_by(tab)).order == ["2", "3"]
    await tab_to(tab, "south")
    await shown_shop.shop.order(5000, node=3)
    await shown_shop.refresh()
    found = await assert_amounts(tab, await shown_shop.amounts(), "en")
    assert found.order == ["3", "2"], "sorted still, by the new amounts"
    assert await tab.evaluate(ACTIVE) == "south", "its row has moved, and the focus with it"
    await tab_to(tab, "amount")
    await tab.press("Space")
    assert await tab.evaluate("document.activeElement.parentElement.getAttribute('aria-sort')") == "ascending"

    await tab_to(tab, "north")
    await tab.press("Enter")
    await tab.shows(
        "document.activeElement.tagName === 'H1' && document.activeElement.innerText.startsWith('north')"
    )
    await tab.press("Tab", back=True)
    await tab_to(tab, "all")
    await tab.press("Enter")
    await tab.shows(
        "document.activeElement.tagName === 'H1' && document.activeElement.innerText.startsWith('all')"
    )


@pytest.mark.long
async def test_a_screen_reader_finds_landmarks_headings_tables_and_charts_with_names(
    database: str, valkey_url: str, lasting_readers: LastingReaders, tab: Tab
) -> None:
    days = "jsonb_build_object('2026-11-20', 3, '2026-11-22', 5) AS days"
    sql = f"SELECT 1::bigint AS node_id, {days} WHERE $1::timestamptz IS NOT NULL"
    declared = sales(sql=sql, rollup={"days": "sums"}, titles={})
    port = await lasting_readers.port(valkey_url, READER__ACCESS="open")
    async with scene(database, valkey_url, port, declared) as one:
        await tab.speaks("en")
        await tab.open(one.address(1))
        await tab.shows("!!document.querySelector('main svg')")
        nodes = (await tab.call("Accessibility.getFullAXTree"))["nodes"]
    named = {
        (node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]
    }
    roles = {role for role, _ in named}
    assert {"banner", "navigation", "main", "heading", "status", "table", "columnheader", "rowheader"} <= roles
    assert ("navigation", "Reports") in named
    assert ("navigation", "Path in the organisation") in named
    charts = [name for role, name in named if role == "image"]
    assert charts == ["Days. Nov 20, 2026 – Nov 22, 2026. Highest 5"]  # noqa: RUF001  as people write it
    assert not [role for role, name in named if role in {"button", "link", "image", "region"} and not name]


# ---- sessions


@pytest.fixture
async def manager(
    database: str, valkey_url: str, lasting_readers: LastingReaders
) -> AsyncIterator[tuple[Scene, Sessions, str]]:
    """A reader with sessions, and the token of the manager of node 2."""
    async with AsyncExitStack() as stack:
        port = await lasting_readers.port(valkey_url)
        one = await stack.enter_async_context(scene(database, valkey_url, port, sales()))
        sessions = Sessions.connect(valkey_url)
        stack.push_async_callback(sessions.close)
        token, _ = await sessions.create("ana", {"roots": [2]})
        yield one, sessions, token


@pytest.mark.long
async def test_a_token_is_given_once_and_is_in_no_address_and_no_storage(
    manager: tuple[Scene, Sessions, str], tab: Tab
) -> None:
    scene, sessions, token = manager
    await tab.speaks("en")
    await tab.open(scene.address())
    await tab.shows("!!document.querySelector('#token')")
    assert await tab.evaluate(NO_NUMBERS)
    for text, outcome in (("ms1.00000000." + "A" * 43, "#refused"), (token, ".tiles")):
        await tab.evaluate("document.querySelector('#token').focus()")
        await tab.call("Input.insertText", text=text)
        await tab.press("Enter")
        await tab.shows(f"!!document.querySelector('{outcome}')")
    assert (await shown_by(tab)).title == "north"
    assert not [address for address in tab.requests if token in address]
    assert await tab.evaluate("document.cookie + JSON.stringify({...localStorage, ...sessionStorage})") == "{}"

    await tab.open("about:blank")
    await tab.open(f"{scene.origin}/#token={token}")
    await tab.shows("!!document.querySelector('.tiles')")
    assert token not in await tab.evaluate("location.href")
    assert not [address for address in tab.requests if token in address.partition("#")[0]]

    await tab.is_answered("/v1/events")
    await sessions.revoke(token)
    await scene.hint()
    await tab.shows("!!document.querySelector('#token')")
    assert await tab.evaluate(NO_NUMBERS), "a session that has ended shows nothing"


@pytest.mark.long
async def test_the_cookie_of_the_backend_logs_in(manager: tuple[Scene, Sessions, str], tab: Tab) -> None:
    scene, _, token = manager
    origin = scene.origin.replace("127.0.0.1", "localhost")
    cookie = {"name": "__Host-momentus", "value": token, "path": "/", "secure": True, "httpOnly": True}
    await tab.call("Network.setCookie", url=origin.replace("http:", "https:"), **cookie)
    await tab.open(origin)
    await tab.shows("!!document.querySelector('.tiles')")
    assert (await shown_by(tab)).title == "north"


@pytest.mark.long
async def test_what_may_not_be_seen_or_is_gone_has_one_clear_message_each(
    manager: tuple[Scene, Sessions, str], tab: Tab
) -> None:
    scene, _, token = manager
    await tab.speaks("en")
    for elsewhere in (1, 3, 99):
        await tab.open("about:blank")
        await tab.open(f"{scene.address(elsewhere)}&token={token}")
        await tab.shows("document.querySelector('#failure')?.dataset.problem === 'not-found'")
        assert await tab.text("#failure") == "There is no such report or node, or you may not see it."
        assert await tab.evaluate(NO_NUMBERS)
    await tab.open("about:blank")
    await tab.open(f"{scene.address(2)}&token={token}")
    await tab.shows("!!document.querySelector('.tiles')")
    await tab.is_answered("/v1/events")
    await scene.shop.database.execute("DELETE FROM shop.orders WHERE node_id = 2")
    await scene.shop.database.execute("DELETE FROM shop.nodes WHERE id = 2")
    await scene.refresh()
    await tab.shows("document.querySelector('#failure')?.dataset.problem === 'gone'")
    assert await tab.text("#failure") == "This node was removed from the organisation."
    assert await tab.evaluate(NO_NUMBERS), "the numbers of a node that vanished do not stay"


@pytest.mark.long
async def test_html_in_names_and_titles_is_shown_as_text(
    database: str, valkey_url: str, lasting_readers: LastingReaders, tab: Tab
) -> None:
    html = "<img src=x onerror=fetch('/stolen')><b>north</b>"
    declared = sales(title=html, titles={"en": {"report": html, "amount": html}})
    port = await lasting_readers.port(valkey_url, READER__ACCESS="open")
    async with scene(database, valkey_url, port, declared) as one:
        await one.shop.database.execute("UPDATE shop.nodes SET name = $1 WHERE id <> 3", html)
        await one.refresh()
        await tab.speaks("en")
        await tab.open(one.address(2))
        await tab.shows("!!document.querySelector('.tiles')")
        assert (await shown_by(tab)).title == html
        assert (await tab.text("header")).count(html) == (await tab.text("dl")).count(html) == 1
        assert not await tab.evaluate("document.querySelectorAll('img, b').length")
        assert not [address for address in tab.requests if "stolen" in address]


@pytest.mark.long
async def test_a_page_whose_reader_is_gone_says_so_and_stops_showing_numbers_at_their_limit(
    database: str, valkey_url: str, tmp_path: Path, tab: Tab
) -> None:
    await tab.speaks("en")
    async with AsyncExitStack() as stack:
        running = stack.enter_async_context(reader_process(valkey_url, tmp_path / "log", READER__ACCESS="open"))
        port = await running
        one = await stack.enter_async_context(scene(database, valkey_url, port, sales()))
        await one.age(0, soft=2, hard=6)
        await tab.open(one.address(1))
        await tab.shows("!!document.querySelector('.tiles')")
    await tab.shows("document.querySelector('#failure')?.dataset.problem === 'unreachable'")
    await tab.shows("document.querySelector('#freshness').dataset.state === 'expired'")
    assert await tab.evaluate(NO_NUMBERS)
    assert "They are not shown." in await tab.text("#freshness")


# ---- other forms of reports


@pytest.mark.long
async def test_digits_that_javascript_would_lose_are_shown(
    database: str, valkey_url: str, lasting_readers: LastingReaders, tab: Tab
) -> None:
    values = "123456789012345678.10::numeric AS exact, 9007199254740993 AS large, 0.30 AS cents"
    parts = "jsonb_build_object('a', 0.10::numeric, '', 2) AS parts"
    rows = """jsonb_build_array(jsonb_build_object(
        'price', 1.250::numeric, 'code', '1.250', 'half', 7.5, 'large', 9007199254740993)) AS rows"""
    sql = (
        f"SELECT 1::bigint AS node_id, {values}, 2.50 AS beside, {parts}, {rows} WHERE $1::timestamptz IS NOT NULL"
    )
    rollup = {"exact": "sum", "large": "sum", "cents": "min", "beside": "of cents", "parts": "sums"}
    rollup["rows"] = "top 2 by price asc"
    port = await lasting_readers.port(valkey_url, READER__ACCESS="open")
    async with scene(database, valkey_url, port, sales(sql=sql, rollup=rollup, titles={})) as one:
        for language in ("es", "en"):
            await tab.speaks(language)
            await tab.open("about:blank")
            await tab.open(one.address(1))
            await tab.shows("!!document.querySelector('.tiles')")
            found = await shown_by(tab)
            for measure, digits in (
                ("exact", "123456789012345678.10"),
                ("large", "9007199254740993"),
                ("cents", "0.30"),
                ("beside", "2.50"),
            ):
                assert found.tiles[measure] == [digits, number_in(language, digits)]
            assert [row[:2] for row in found.sections["parts"]] == [
                [[None, "–"], ["2", "2"]],  # noqa: RUF001  as people write it
                [[None, "a"], ["0.10", number_in(language, "0.10")]],
            ]
            assert found.sections["rows"] == [
                [
                    [None, "1.250"],  # a text of the database, which stays
                    ["7.5", number_in(language, "7.5")],
                    [None, "9007199254740993"],
                    ["1.250", number_in(language, "1.250")],
                ]
            ]


@pytest.mark.long
async def test_closed_days_are_shown_with_today_behind_them(shown_shop: Scene, tab: Tab) -> None:
    today = datetime.now(UTC).date()
    days = {(today - timedelta(days=back)).isoformat(): 100_000 * back for back in (1, 2, 5)}
    stored = json.loads(await shown_shop.shop.redis.hget(snapshot("default", "sales"), "1"))
    head = await shown_shop.shop.redis.hget(snapshot("default", "sales"), "head:1")
    for day, amount in days.items():
        stored["data"]["total"]["amount"] = amount
        fields = {"1": json.dumps(stored), "head:1": head}
        await shown_shop.shop.redis.hset(closed("default", "sales", day), mapping=fields)
    declared = sales(keep=timedelta(days=35))
    await shown_shop.shop.refresher.store.declare_reports({"sales": declared})
    await tab.speaks("en")
    await tab.open(shown_shop.address(1))
    await tab.shows("!!document.querySelector('figure svg')")
    found = await shown_by(tab)
    assert found.days == {day: [[str(amount), number_in("en", amount)]] for day, amount in days.items()}
    bars = await tab.evaluate("[...document.querySelectorAll('figure svg title')].map((one) => one.textContent)")
    assert [bar.rpartition(": ")[2] for bar in bars] == ["500,000", "200,000", "100,000", "1,234"]
    assert bars[-1].startswith("Today so far")


@pytest.mark.long
async def test_a_manager_of_several_nodes_begins_with_their_table(
    database: str, valkey_url: str, lasting_readers: LastingReaders, tab: Tab
) -> None:
    port = await lasting_readers.port(valkey_url)
    async with scene(database, valkey_url, port, sales()) as one:
        sessions = Sessions.connect(valkey_url)
        token, _ = await sessions.create("eva", {"roots": [2, 3]})
        await sessions.close()
        await tab.speaks("en")
        await tab.open(f"{one.origin}/#token={token}")
        await tab.shows("!!document.querySelector('#children')")
        found = await shown_by(tab)
        assert (found.title, found.order) == ("Your nodes", ["2", "3"])
        await tab.evaluate("document.querySelector('#children a').click()")
        await tab.shows("document.querySelector('h1').innerText.startsWith('north')")
        assert "Your nodes" in await tab.text("nav.above")


@pytest.mark.long
async def test_nodes_with_texts_as_ids_and_names_by_language_are_walked(
    database: str, valkey_url: str, lasting_readers: LastingReaders, tab: Tab
) -> None:
    declared = sales(tree=TEXT_TREE, tree_rules=replace(sales().tree_rules, languages=("es", "en")), sql=TEXT_SQL)
    port = await lasting_readers.port(valkey_url, READER__ACCESS="open")
    async with scene(database, valkey_url, port, declared) as one:
        for language in ("es", "en"):
            await tab.speaks(language)
            await tab.open("about:blank")
            await tab.open(one.origin)
            await tab.shows("!!document.querySelector('.tiles')")
            found = await shown_by(tab)
            assert (found.title, found.order) == (f"all ({language})", ["n-2.x", "n-3.x"])
            await tab.evaluate("document.querySelector('#children a').click()")
            await tab.shows(f"document.querySelector('h1').innerText.startsWith('north ({language})')")
            assert (await shown_by(tab)).tiles["amount"][0] == "1200"
            assert f"all ({language})" in await tab.text("nav.above")
