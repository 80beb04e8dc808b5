"""Two applications' schemas as the public has them: every document equals independent SQL, at several instants."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from reports import load_reports
from reports.keys import snapshot
from tests.applications.fill import fill_delivery, fill_personnel
from tests.boards import Shop, shop
from tests.command_line import run_ops
from tests.support import eventually
from worker.reports.refresh import refresh_board

PLACE = Path(__file__).parents[1] / "applications"
EMPTY: dict[str, dict[str, Any]] = {
    "attendance": {
        "employees": 0,
        "present": 0,
        "hours": "0",
        "first_at": None,
        "first_employee": None,
        "days": {},
    },
    "expenses": {
        "total": "0",
        "by_state": {},
        "largest": None,
        "people": 0,
        "latest": [],
        "median": None,
    },
    "progress": {
        "issues": 0,
        "open": 0,
        "done": 0,
        "done_today": 0,
        "overdue": False,
        "effort": 0,
        "by_priority": {},
        "oldest_at": None,
        "oldest": None,
    },
    "people": {"people": 0, "unassigned": 0, "last_target": None, "next": []},
}
"""What a subtree without rows says."""
RATIOS = {
    "attendance": ("present_share", "present", "employees"),
    "expenses": ("per_person", "total", "people"),
    "progress": ("done_share", "done", "issues"),
}


@dataclass(frozen=True, slots=True)
class Application:
    """One of them: its folder, how it is filled, and what happens in it."""

    name: str
    fill: Callable[..., Awaitable[None]]
    changes: Mapping[str, str]
    """What happens, and the SQL that the application would send."""

    @property
    def folder(self) -> Path:
        return PLACE / self.name


MOVE = """
UPDATE hr_department SET parent_id = 2 WHERE id = 5;
UPDATE hr_department SET parent_path = '2/' || substr(parent_path, strpos(parent_path, '5/'))
WHERE parent_path LIKE (SELECT parent_path FROM hr_department WHERE id = 5) || '%'
"""
PERSONNEL = Application(
    "personnel",
    fill_personnel,
    {
        "a department moves to another company": MOVE,
        "a department is archived with people in it": "UPDATE hr_department SET active = false WHERE id = 4",
        "somebody comes in and somebody leaves": """
            INSERT INTO hr_attendance (employee_id, check_in) VALUES (7, now() AT TIME ZONE 'UTC');
            UPDATE hr_attendance SET check_out = now() AT TIME ZONE 'UTC' WHERE id IN (
                SELECT id FROM hr_attendance WHERE check_out IS NULL ORDER BY id LIMIT 5
            )
        """,
        "a name is translated and expenses are refused": """
            UPDATE hr_department SET name = name || '{"es_PE": "Ventas"}' WHERE id = 1;
            UPDATE hr_expense SET state = 'refused' WHERE id % 7 = 0;
            INSERT INTO hr_expense (employee_id, name, state, date, total_amount)
            VALUES (7, 'Taxi', 'draft', current_date, 123456789012345678.10)
        """,
        "an archived department is back": "UPDATE hr_department SET active = true",
    },
)
DELIVERY = Application(
    "delivery",
    fill_delivery,
    {
        "a project moves to another workspace": """
            UPDATE plan.projects SET workspace_id = (SELECT id FROM plan.workspaces ORDER BY id LIMIT 1)
            WHERE id = (SELECT id FROM plan.projects WHERE deleted_at IS NULL ORDER BY id LIMIT 1)
        """,
        "issues are done, and one comes": """
            UPDATE plan.issues SET completed_at = now() WHERE completed_at IS NULL AND priority = 'urgent';
            INSERT INTO plan.issues (project_id, priority, estimate, created_at)
            SELECT id, 'high', 9999999999.99, now() FROM plan.projects ORDER BY id LIMIT 1
        """,
        "a workspace is deleted softly": """
            UPDATE plan.workspaces SET deleted_at = now()
            WHERE id = (SELECT id FROM plan.workspaces ORDER BY id DESC LIMIT 1)
        """,
        "a project is archived, a module deleted": """
            UPDATE plan.projects SET archived_at = now()
            WHERE id = (SELECT id FROM plan.projects WHERE archived_at IS NULL ORDER BY id LIMIT 1);
            UPDATE plan.modules SET deleted_at = now()
            WHERE id = (SELECT id FROM plan.modules WHERE deleted_at IS NULL ORDER BY id LIMIT 1)
        """,
        "all of it is back": """
            UPDATE plan.workspaces SET deleted_at = NULL;
            UPDATE plan.projects SET deleted_at = NULL, archived_at = NULL;
            UPDATE plan.modules SET deleted_at = NULL
        """,
    },
)
both = pytest.mark.parametrize("of", [PERSONNEL, DELIVERY], ids=lambda one: one.name)


@both
async def test_every_document_of_an_application_equals_independent_sql_after_each_change(
    database: str, valkey_url: str, of: Application
) -> None:
    reports = load_reports(of.folder / "reports", shipped="off")
    async with shop(database, valkey_url, *reports.values()) as it:
        await it.database.execute((of.folder / "schema.sql").read_text(encoding="utf-8"))
        await of.fill(it.database, now=datetime.now(UTC))
        await it.database.execute("ANALYZE; SET jit = off")  # compiling takes longer than the query
        await it.install()
        assert await findings(it, of) == []
        (board,) = it.refresher.boards.values()
        await refreshed(it)
        await are_right(it, of)
        for change in of.changes.values():
            await it.database.execute(change)
            decision = (await it.prober.probe_once()).decisions[board.name]
            assert (decision.proved, decision.why) == ((), "changed")
            await refreshed(it)
            await are_right(it, of)
            await eventually(partial(it.proved, *reports, board=board.name))


async def findings(it: Shop, of: Application) -> Any:
    """What the check finds in the application's reports."""
    settings = {"POSTGRES_DSN": it.dsn, "REPORTS__SHIPPED": "off", "REPORTS__PATH": str(of.folder / "reports")}
    _, out, _ = await run_ops("reports", "check", "--json", **settings)
    return json.loads(out)["findings"]


async def refreshed(it: Shop) -> None:
    (board,) = it.refresher.boards.values()
    outcome = await refresh_board(it.refresher, board)
    assert not outcome.failed, outcome.failed


async def are_right(it: Shop, of: Application) -> None:
    """Compare every document of both reports with the application's tables, as of the instant of the set."""
    sql = (of.folder / "expected.sql").read_text(encoding="utf-8")
    for name in it.refresher.reports:
        meta = await it.meta(name)
        at = datetime.fromtimestamp(0, UTC) + meta["as_of_us"] * (datetime.resolution)
        nodes = {row["id"]: row for row in await it.database.fetch(sql, at)}
        assert meta["scopes"] == len(nodes)
        bodies = await it.redis.hmget(snapshot(it.refresher.tenant, name), list(nodes))
        for (id_, node), body in zip(nodes.items(), bodies, strict=True):
            assert body is not None, (name, id_)
            document = loads(body)["data"]
            assert document["node"]["name"] == (node["name"] or id_)
            assert str(document["node"]["id"]) == id_
            assert [str(one) for one in document["node"]["path"]] == path_of(nodes, id_)
            expected = loads(node["reports"])[name]
            for part in ("own", "total"):
                empty = {key: value for key, value in EMPTY[name].items() if key in document[part]}
                right = with_ratio(name, expected[part] or empty)
                assert document[part] == right, (name, id_, part)


def with_ratio(name: str, measures: dict[str, Any]) -> dict[str, Any]:
    """Measures with the nearest binary float of their ratio, which the database cannot round to."""
    if name not in RATIOS:
        return measures
    ratio, above, below = RATIOS[name]
    exact = Fraction(measures[above]) / Fraction(measures[below]) if measures[below] else None
    return {**measures, ratio: None if exact is None else Decimal(repr(float(exact)))}


def path_of(nodes: Mapping[str, Any], id_: str) -> list[str]:
    parent = nodes[id_]["parent"]
    return [*([] if parent is None else path_of(nodes, parent)), id_]


def loads(text: str | bytes) -> Any:
    """Read JSON with all digits of its numbers; instants in one form."""
    return json.loads(text, parse_float=Decimal, object_hook=_instants)


def _instants(found: dict[str, Any]) -> dict[str, Any]:
    return {
        name: datetime.fromisoformat(value) if name.endswith("_at") and value is not None else value
        for name, value in found.items()
    }
