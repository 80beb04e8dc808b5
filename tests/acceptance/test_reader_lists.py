"""Several documents in one response, and the list of reports: a page's one request for a node and its children."""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from reader.connection import Connection
from reader.document_list import BYTES_LIMIT, SCOPES_LIMIT, DocumentListResponder, ListRequest
from reader.message import Request
from reader.report import ReportResponder
from reader.snapshot import StoredScope
from reader.store import StoredReports
from sessions import Sessions
from tests.reader_process import REPORT, Client, LastingReaders, document, meta

CATALOGUE = "momentus:{reports}:catalogue:default"
PATHS = {1: [1], 4: [1, 4], 17: [1, 4, 17], 18: [1, 4, 18], 5: [1, 5]}
CHILDREN = {1: [4, 5], 4: [17, 18], 17: [], 18: [], 5: []}


def body(scope: int | str, children: Sequence[int | str], padding: str = "") -> bytes:
    data = {"node": {"id": scope, "children": children}, "total": {"people": scope}, "padding": padding}
    return json.dumps({"report": "general", "scope": scope, "data": data}).encode()


def tree(padding: str = "") -> dict[str, bytes]:
    stored: dict[str, bytes] = {}
    for scope, path in PATHS.items():
        stored |= document(scope, path, body(scope, CHILDREN[scope], padding))
    return stored


@pytest.fixture
async def reports(redis: Redis) -> Redis:
    """Two declared reports, of which one is computed."""
    await redis.hset(REPORT, mapping=tree() | meta(roots=[1]))
    await redis.hset(CATALOGUE, "general", json.dumps({"title": "Gerencia", "schema": {"type": "object"}}))
    await redis.hset(CATALOGUE, "waiting", json.dumps({"title": "Later"}))
    return redis


@pytest.fixture
async def open_reader(valkey_url: str, lasting_readers: LastingReaders) -> AsyncIterator[Client]:
    async with Client(await lasting_readers.port(valkey_url, READER__ACCESS="open")) as client:
        yield client


@pytest.fixture
async def manager(valkey_url: str, lasting_readers: LastingReaders) -> AsyncIterator[Client]:
    """A client with the session of the manager of node 4."""
    sessions = Sessions.connect(valkey_url)
    token, _ = await sessions.create("u-4", {"roots": [4]})
    async with Client(await lasting_readers.port(valkey_url), token) as client:
        yield client
    await sessions.close()


def changed(scope: int) -> dict[str | bytes, Any]:
    """A document whose data is not as it was."""
    return dict(document(scope, PATHS[scope], body(scope, []), etag="f" * 16).items())


def scopes_in(reply: Any) -> list[Any]:
    return [one["scope"] for one in json.loads(reply.body)["documents"]]


async def test_lists_of_text_ids_are_read_by_these_ids_and_begin_at_them(
    open_reader: Client, redis: Redis
) -> None:
    north, top = "0b7f0c3e-1d6b-4a53-8a0e-0f3a4f1c9a55", "grupo.es"
    texts = {top: [north], north: []}
    stored = document(top, [top], body(top, texts[top])) | document(north, [top, north], body(north, []))
    await redis.hset(REPORT, mapping=stored | meta(roots=[top]))
    await redis.hset(CATALOGUE, "general", json.dumps({"title": "Gerencia"}))
    reply = await open_reader.get_served(f"/v1/reports/general?scopes={north},x,{top}")
    assert (scopes_in(reply), json.loads(reply.body)["absent"]) == ([north, top], ["x"])
    assert scopes_in(await open_reader.get_served(f"/v1/reports/general/{top}/children")) == [top, north]
    assert json.loads((await open_reader.get_served("/v1/reports")).body)["roots"] == [top]


@pytest.mark.usefixtures("reports")
async def test_several_documents_come_as_they_are_stored_in_the_order_of_the_request(open_reader: Client) -> None:
    reply = await open_reader.get_served("/v1/reports/general?scopes=5%2C99,1,5")
    assert reply.status == 200
    assert reply.body.startswith(b'{"report":"general","documents":[%b,%b]' % (body(5, []), body(1, [4, 5])))
    assert json.loads(reply.body)["absent"] == ["99"]
    single = await open_reader.get_served("/v1/reports/general/1")
    same = ("as-of", "freshness", "report-gen", "cache-control", "content-type", "vary")
    assert {name: reply.headers[name] for name in same} == {name: single.headers[name] for name in same}


@pytest.mark.usefixtures("reports")
async def test_a_node_comes_first_and_then_its_children_in_the_order_of_its_document(open_reader: Client) -> None:
    assert scopes_in(await open_reader.get_served("/v1/reports/general/4/children")) == [4, 17, 18]
    assert scopes_in(await open_reader.get_served("/v1/reports/general/17/children")) == [17]


@pytest.mark.usefixtures("reports")
async def test_nodes_that_a_session_may_not_read_are_absent_as_those_that_do_not_exist(manager: Client) -> None:
    reply = await manager.get_served("/v1/reports/general?scopes=1,4,5,17,99")
    assert scopes_in(reply) == [4, 17]
    assert json.loads(reply.body)["absent"] == ["1", "5", "99"]
    hidden, missing = [await manager.get_served(f"/v1/reports/general/{scope}/children") for scope in (1, 99)]
    assert (hidden.status, hidden.body) == (missing.status, missing.body)
    assert hidden.problem == "not-found"
    assert scopes_in(await manager.get_served("/v1/reports/general/4/children")) == [4, 17, 18]


@pytest.mark.usefixtures("reports")
async def test_without_a_session_there_is_no_list(valkey_url: str, lasting_readers: LastingReaders) -> None:
    async with Client(await lasting_readers.port(valkey_url)) as nobody:
        for path in ("/v1/reports", "/v1/reports/general?scopes=1", "/v1/reports/general/1/children"):
            assert (await nobody.get(path)).problem == "unauthorised"


async def test_a_removed_node_is_absent_from_a_list_and_gone_by_itself(reports: Redis, manager: Client) -> None:
    await reports.hset(REPORT, mapping={"gone:17": b"1"})
    assert json.loads((await manager.get_served("/v1/reports/general?scopes=17,18")).body)["absent"] == ["17"]
    assert (await manager.get_served("/v1/reports/general/17/children")).problem == "gone"
    assert scopes_in(await manager.get_served("/v1/reports/general/4/children")) == [4, 18]


@pytest.mark.usefixtures("reports")
async def test_what_the_client_has_is_not_sent_again(reports: Redis, open_reader: Client) -> None:
    first = await open_reader.get_served("/v1/reports/general/4/children")
    again = await open_reader.get_served("/v1/reports/general/4/children", If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    await reports.hset(REPORT, mapping=changed(18))
    new = await open_reader.get_served("/v1/reports/general/4/children", If_None_Match=first.headers["etag"])
    assert (new.status, new.headers["etag"] == first.headers["etag"]) == (200, False)


async def test_a_list_past_the_hard_limit_is_refused_whole(reports: Redis, open_reader: Client) -> None:
    await reports.hset(REPORT, mapping=meta(age_s=400))
    assert (await open_reader.get_served("/v1/reports/general/4/children")).problem == "too-stale"
    labelled = await open_reader.get_served("/v1/reports/general/4/children", Cache_Control="max-stale")
    assert (labelled.status, labelled.headers["freshness"]) == (200, "stale")
    assert (await open_reader.get_served("/v1/reports/waiting?scopes=1")).problem == "warming"
    assert (await open_reader.get_served("/v1/reports/nowhere?scopes=1")).problem == "not-found"


@pytest.mark.usefixtures("reports")
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "scopes"),
        ("?scopes=", "scopes"),
        ("?scopes=1,2&scopes=3", "scopes"),
        ("?scopes=1,,2", "scopes"),
        ("?scopes=1,a/b", "scopes"),
        ("?scopes=1,a:zstd", "scopes"),
        ("?scopes=1,_meta", "_meta is not a node id"),
        ("?scopes=" + "x" * 65, "scopes"),
        ("?scopes=" + ",".join(map(str, range(1, SCOPES_LIMIT + 2))), f"at most {SCOPES_LIMIT}"),
    ],
)
async def test_a_list_that_cannot_be_read_is_refused_by_its_parameter(
    open_reader: Client, query: str, field: str
) -> None:
    reply = await open_reader.get_served(f"/v1/reports/general{query}")
    assert reply.problem == "bad-request"
    assert field in json.loads(reply.body)["detail"]


async def test_what_is_beyond_the_limits_of_a_response_is_named_for_the_next_request(
    reports: Redis, open_reader: Client
) -> None:
    many = list(range(1000, 1000 + SCOPES_LIMIT + 10))
    stored = document(1, [1], body(1, many))
    for scope in many:
        stored |= document(scope, [1, scope], body(scope, []))
    await reports.hset(REPORT, mapping=stored)
    reply = await open_reader.get_served("/v1/reports/general/1/children")
    assert scopes_in(reply) == [1, *many[: SCOPES_LIMIT - 1]]
    left_out = json.loads(reply.body)["left_out"]
    assert left_out == [str(scope) for scope in many[SCOPES_LIMIT - 1 :]]
    assert (
        scopes_in(await open_reader.get_served(f"/v1/reports/general?scopes={','.join(left_out)}")) == many[199:]
    )

    await reports.hset(REPORT, mapping=tree("x" * (BYTES_LIMIT // 3)))
    large = await open_reader.get_served("/v1/reports/general?scopes=1,4,5,17,18")
    assert json.loads(large.body)["left_out"] == ["17", "18"]


@pytest.mark.usefixtures("reports")
async def test_children_come_with_the_names_above_them_that_the_client_may_read(
    open_reader: Client, manager: Client
) -> None:
    whole = json.loads((await open_reader.get_served("/v1/reports/general/17/children")).body)
    assert [one["id"] for one in whole["path"]] == ["1", "4"]
    assert set(whole["path"][0]) == {"id", "name", "kind"}
    part = json.loads((await manager.get_served("/v1/reports/general/17/children")).body)
    assert [one["id"] for one in part["path"]] == ["4"], "1 is not the manager's"
    assert "days" not in part


async def test_children_come_with_the_closed_days_of_their_node(reports: Redis, open_reader: Client) -> None:
    today = datetime.now(UTC).date()
    days = [(today - timedelta(days=back)).isoformat() for back in (1, 2, 40)]
    for day in days:
        await reports.hset(
            REPORT.replace("snapshot", "closed") + f":{day}", mapping=document(17, [1], b'{"x":0.10}')
        )
    reply = await open_reader.get_served("/v1/reports/general/17/children?days=35")
    assert reply.body.endswith(b'"days":{"%b":{"x":0.10},"%b":{"x":0.10}}}' % (days[1].encode(), days[0].encode()))
    without = await open_reader.get_served("/v1/reports/general/17/children")
    assert without.headers["etag"] != reply.headers["etag"]
    assert json.loads((await open_reader.get_served("/v1/reports/general/18/children?days=35")).body)["days"] == {}
    for wrong in ("days=101", "days=x", "days=1&days=2"):
        refused = await open_reader.get_served(f"/v1/reports/general/17/children?{wrong}")
        assert (refused.problem, "days" in json.loads(refused.body)["detail"]) == ("bad-request", True)


async def test_a_list_of_a_closed_day_is_refused_and_not_answered_with_that_of_today(open_reader: Client) -> None:
    for path in ("general?scopes=17&at=2026-11-20", "general/17/children?at=2026-11-20&days=3"):
        refused = await open_reader.get_served(f"/v1/reports/{path}")
        assert (refused.status, refused.problem) == (400, "bad-request")
        assert json.loads(refused.body)["detail"].startswith("at: applies to one node only")


class StoredBetween(StoredReports):
    """Stored reports, of which a new set is stored behind the first look at the parent."""

    def __init__(self, connection: Connection, redis: Redis) -> None:
        super().__init__(connection, tenant="default")
        self._redis = redis
        self.looks = 0

    async def read_several(self, report: str, scopes: Sequence[str]) -> list[StoredScope]:
        found = await super().read_several(report, scopes)
        self.looks += 1
        if self.looks == 1:
            await self._redis.hset(REPORT, mapping=document(4, PATHS[4], body(4, [17])) | meta(gen=2))
        return found


async def test_a_node_and_its_children_are_of_one_set_though_another_was_stored_in_between(
    reports: Redis, valkey_url: str
) -> None:
    connection = Connection(valkey_url, deadline=timedelta(seconds=10))
    store = StoredBetween(connection, reports)
    lists = DocumentListResponder(store, ReportResponder(store, None), None)
    wanted = ListRequest("general", ("4",), with_children=True)
    reply = await lists.response(Request("GET", "/v1/reports/general/4/children"), wanted)
    await connection.close()
    assert scopes_in(reply) == [4, 17], "18 is no child any more"
    assert dict(reply.headers)["report-gen"] == "2"


@pytest.mark.usefixtures("reports")
async def test_a_session_sees_which_reports_there_are_and_where_it_begins(
    manager: Client, open_reader: Client
) -> None:
    listed = json.loads((await manager.get_served("/v1/reports")).body)
    assert listed["roots"] == ["4"]
    assert [(one["name"], one["title"]) for one in listed["reports"]] == [
        ("general", "Gerencia"),
        ("waiting", "Later"),
    ]
    assert listed["reports"][0]["schema"] == {"type": "object"}
    everything = await open_reader.get_served("/v1/reports")
    assert json.loads(everything.body)["roots"] == ["1"]
    assert everything.headers["cache-control"] == "no-store"


@pytest.mark.usefixtures("reports")
async def test_lists_have_head_and_options_and_nothing_else(open_reader: Client) -> None:
    for path in ("/v1/reports", "/v1/reports/general?scopes=1", "/v1/reports/general/1/children"):
        get = await open_reader.get_served(path)
        reader, writer = await open_reader.connect()
        writer.write(f"HEAD {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 200")
        assert f"content-length: {get.headers['content-length']}" in head.lower()
        writer.write(f"DELETE {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        refused = (await reader.readuntil(b"\r\n\r\n")).decode()
        assert refused.startswith("HTTP/1.1 405")
        await reader.readexactly(int(refused.lower().split("content-length: ")[1].split("\r\n")[0]))
