"""Each header stands once, on every way through the reader, and a browser that insists on it reads."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis

from hosts import AllowedHosts
from local.embedded.ports import free_port
from reader import problem
from reader.cache import ReplyCache
from reader.connection import Connection
from reader.cors import Origins
from reader.guard import Guard
from reader.handler import Reader
from reader.hints import Hints
from reader.http import client as connection, listener, parse
from reader.http.listener import Listener
from reader.http.socket import bind_socket
from reader.message import Request
from reader.problem import Problem
from reader.report import ReportResponder
from reader.store import StoredReports
from sessions import Sessions
from tests.browser import browse, page
from tests.reader_process import REPORT, document, meta, reader_process
from tests.support import OwnValkey, eventually

OwnServer = Callable[..., Awaitable[OwnValkey]]
APP = "https://app.example"
CATALOGUE = "momentus:{reports}:catalogue:default"
GENERAL = "/v1/reports/general/1"
LONG = timedelta(seconds=20)


@dataclass
class Walk:
    """Requests to a reader, and what its answers were.

    Attributes:
        seen: problems and outcomes that were met.
    """

    port: int
    token: str
    seen: set[str] = field(default_factory=set)

    async def go(self, target: str, *lines: str, method: str = "GET", login: bool = True, host: str = "a") -> None:
        """Ask with and without an origin, twice on one connection."""
        for origin in ((), (f"Origin: {APP}",), ("Origin: https://elsewhere.example",)):
            head = [f"{method} {target} HTTP/1.1", f"Host: {host}", *lines, *origin]
            head += [f"Authorization: Bearer {self.token}"] if login else []
            asked = "\r\n".join([*head, "", ""]).encode("latin-1")
            ending = "\r\n".join([*head, "Connection: close", "", ""]).encode("latin-1")
            await self.octets(asked, asked, ending)

    async def octets(self, *pieces: bytes) -> None:
        """Send these, and weigh the head of every answer until the connection ends."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0)
        async with asyncio.timeout(20):
            with suppress(asyncio.IncompleteReadError, ConnectionResetError):
                while not reader.at_eof():
                    await self._weigh(reader, is_head=b"HEAD " in pieces[0][:5])
        writer.close()

    async def _weigh(self, reader: asyncio.StreamReader, *, is_head: bool) -> None:
        status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        names = [line.partition(":")[0].lower() for line in lines if line]
        assert max(Counter(names).values()) == 1, (status, sorted(names))
        headers = dict(line.split(": ", 1) for line in lines if line)
        body = await reader.readexactly(0 if is_head else int(headers.get("content-length", 0)))
        if headers.get("content-type") == "application/problem+json" and body:
            self.seen.add(json.loads(body)["type"].rpartition(":")[2])
        self.seen.add(status.split()[1])
        if headers.get("content-type") == "text/event-stream":
            reader.feed_eof()


@asynccontextmanager
async def walking(url: str, *, limit: int) -> AsyncIterator[tuple[Walk, Walk]]:
    """A reader with sessions that answers to the name `a`, and an open one, both with a copy and an origin."""
    listeners, connections, walks = [], [], []
    sessions = Sessions.connect(url, deadline=LONG)
    token, _ = await sessions.create("ana", {"roots": [1, 2]})
    await sessions.close()
    for guarded in (True, False):
        copy = ReplyCache(limit=1 << 20)
        connection = Connection(url, deadline=LONG, copy=copy)
        guard = Guard(connection, copy) if guarded else None
        store = StoredReports(connection, tenant="default", copy=copy)
        origins, hints = Origins([APP]), Hints(life_s=0.1)
        reader = Reader(
            store, ReportResponder(store, guard), guard, hints=hints, origins=origins, hosts=AllowedHosts(["a"])
        )
        bound = bind_socket("127.0.0.1", 0, shared=False)
        one = Listener(reader.serve, bound, limit=limit)
        await one.start()
        listeners.append(one)
        connections.append(connection)
        walks.append(Walk(bound.getsockname()[1], token))
    try:
        yield walks[0], walks[1]
    finally:
        for one in listeners:
            await one.stop(shared=False, grace_s=0)
        for connection in connections:
            await connection.close()


async def store_all(url: str) -> None:
    entry = json.dumps({"title": "any"})
    fresh = document(1, [1], b"{}") | {"gone:2": b"1", **document(2, [2], b"")} | meta(soft_s=3000, hard_s=3000)
    async with Redis.from_url(url) as redis:
        for name in ("general", "cold", "stale", "old", "spoilt", "faulty"):
            await redis.hset(CATALOGUE, name, entry)
        await redis.hset(REPORT, mapping=fresh)
        await redis.hset(REPORT.replace("snapshot", "closed") + ":2026-11-20", mapping=fresh)
        for name, age_s in (("stale", 60), ("old", 6000)):
            await redis.hset(REPORT.replace("general", name), mapping=document(1, [1], b"{}") | meta(age_s=age_s))
        await redis.hset(REPORT.replace("general", "spoilt"), mapping=document(1, [1], b"{}") | {"_meta": b"{"})


async def walk_all(walk: Walk) -> None:
    """Each way but those of an outage, and of a client that is slow or one too many."""
    for method in ("GET", "HEAD", "OPTIONS", "POST", "BREW"):
        for target in (
            GENERAL,
            f"{GENERAL}?at=2026-11-20",
            "/openapi.json",
            "/metrics",
            "/healthz",
            "/readyz",
            "*",
        ):
            await walk.go(target, method=method)
            await walk.go(target, method=method, login=False)
            await walk.go(target, method=method, host="evil.example")
        for name in ("absent", "cold", "stale", "old", "spoilt", "faulty"):
            await walk.go(f"/v1/reports/{name}/1", method=method)
    for target in ("/v1/reports/general/2", "/v1/reports/general/9", f"{GENERAL}?at=never", "/nowhere"):
        await walk.go(target)
    for line in (
        *(
            "If-None-Match: *",
            "If-Match: x",
            "Accept: text/html",
            "If-Write-Visible: 9",
            "Cache-Control: max-stale",
        ),
        *(
            "Cache-Control: min-fresh=9999",
            "Cache-Control: min-fresh=9999, only-if-cached",
            "Accept-Encoding: zstd",
        ),
        *(
            "Cookie: __Host-momentus=x",
            "Expect: 100-continue",
            "Upgrade: x\r\nConnection: upgrade",
            "Range: bytes=0-0",
        ),
    ):
        for target in (GENERAL, "/v1/reports/stale/1", f"{GENERAL}?at=2026-11-20", "/v1/events?report=general"):
            await walk.go(target, line)
    for target in ("/v1/events?report=general", "/v1/events?report=absent", "/v1/events"):
        await walk.go(target)
        await walk.go(target, login=False)
        await walk.go(target, method="HEAD")


async def walk_faults(walk: Walk) -> None:
    """What is no request."""
    for octets in (
        b"\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /" + b"a" * parse.TARGET_LIMIT + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * parse.HEAD_LIMIT + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n" + bytes(2 * parse.BODY_LIMIT),
        b"GET /healthz HTTP/1.0\r\n\r\n",
    ):
        await walk.octets(octets)


async def test_each_header_stands_once_on_every_way_there_is(
    own_valkey: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_SWEEP_S", 0.02)
    monkeypatch.setattr("reader.report.PATIENCE_S", 0.0)
    monkeypatch.setattr("reader.report.WRITE_PATIENCE_S", 0.0)
    question = ReportResponder.read_request

    def faulty(reports: ReportResponder, request: Request, report: str, scope: str, day: str) -> object:
        if report == "faulty":
            raise RuntimeError("a fault of ours")
        return question(reports, request, report, scope, day)

    monkeypatch.setattr(ReportResponder, "read_request", faulty)
    server = await own_valkey()
    await store_all(server.url)
    async with walking(server.url, limit=3) as walks:
        for walk in walks:
            await walk_all(walk)
            await walk_faults(walk)
            monkeypatch.setattr(connection, "HEAD_S", 0.1)
            await eventually(lambda: is_too_slow(walk), timeout=30)  # noqa: B023  awaited here
            monkeypatch.setattr(connection, "HEAD_S", 10.0)
            silent = [await asyncio.open_connection("127.0.0.1", walk.port) for _ in range(3)]
            await walk.octets(b"")
            for _, writer in silent:
                writer.close()
        await server.stop()
        for walk in walks:
            for target in (GENERAL, "/v1/reports/old/1", "/openapi.json", "/readyz", "/v1/events?report=general"):
                await eventually(lambda: reached(walk))  # noqa: B023  awaited here
                await walk.go(target)
    problems = {one.name for one in vars(problem).values() if isinstance(one, Problem)}
    missing = problems - walks[0].seen - walks[1].seen
    assert not missing, "ways that are not walked; add them"
    assert walks[0].seen >= {"200", "204", "304", "504"}


async def is_too_slow(walk: Walk) -> bool:
    """Whether half a request was told so; one that comes late itself is closed without a word."""
    await walk.octets(b"GET / HTTP/1.1\r\n")
    return problem.TOO_SLOW.name in walk.seen


async def reached(walk: Walk) -> bool:
    """Whether the connections of a moment ago have left room for one more."""
    before = set(walk.seen)
    walk.seen.clear()
    await walk.octets(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    found, walk.seen = "200" in walk.seen, before
    return found


# A browser of another site


FETCHES = """
const url = '%(url)s', token = '%(token)s';
const ask = async (name, headers) => {
  try {
    const answer = await fetch(url, {headers: {Authorization: `Bearer ${token}`, ...headers}, cache: 'no-store'});
    const said = ['etag', 'as-of', 'age', 'freshness'].map((one) => answer.headers.get(one) !== null);
    await tell([name, answer.status, said.every(Boolean), (await answer.text()).length]);
    return answer.headers.get('etag');
  } catch (error) { await tell([name, 0, false, 0]); }
};
(async () => {
  const etag = await ask('Authorization', {});
  await ask('If-None-Match', {'If-None-Match': etag || '*'});
  await ask('Cache-Control', {'Cache-Control': 'max-age=3600'});
  await ask('If-Write-Visible', {'If-Write-Visible': '9'});
  await ask('all', {'If-None-Match': 'x', 'Cache-Control': 'max-stale', 'If-Write-Visible': '9',
                    'Accept-Datetime': new Date().toUTCString(), 'If-Match': '*'});
  await tell('done');
})();
"""


@pytest.mark.long
@pytest.mark.parametrize(("name", "may_read"), [("127.0.0.1", True), ("localhost", False)])
async def test_a_browser_reads_across_origins_with_each_header_and_only_from_a_site_that_is_listed(
    valkey_url: str,
    tmp_path: Path,
    name: str,
    may_read: bool,  # noqa: FBT001  a case
) -> None:
    sessions = Sessions.connect(valkey_url)
    token, _ = await sessions.create("ana", {"roots": [1]})
    await sessions.close()
    async with Redis.from_url(valkey_url) as redis:
        await redis.hset(
            REPORT, mapping=document(1, [1], b"{}") | meta(soft_s=3000, hard_s=3000, snapshot="10:10:")
        )
    async with page() as site:
        origins = {"READER__CORS_ORIGINS": site.origin("127.0.0.1")}
        async with reader_process(valkey_url, tmp_path / "log", **origins) as port:
            site.script = FETCHES % {"url": f"http://127.0.0.1:{port}{GENERAL}", "token": token}
            async with browse(site, name):
                await eventually(lambda: "done" in site.told, timeout=60)
    told = {one[0]: one[1:] for one in site.told if one != "done"}
    read, held, none = [200, True, 2], [304, True, 0], [0, False, 0]
    expected = {
        "Authorization": read,
        "If-None-Match": held,
        "Cache-Control": read,
        "If-Write-Visible": read,
        "all": [404, False, told["all"][2]],  # a closed day that is not there
    }
    assert told == (expected if may_read else dict.fromkeys(expected, none))


FOLLOWS = """
const events = new EventSource('http://127.0.0.1:%(port)s/v1/events?report=general');
for (const name of ['open', 'changed', 'back'])
  events.addEventListener(name, (event) => tell([name, event.data ? JSON.parse(event.data) : null]));
events.addEventListener('error', () => tell(['error', events.readyState]));
"""


@pytest.mark.long
async def test_a_browser_that_comes_back_while_redis_is_away_is_not_lost(
    own_valkey: OwnServer, tmp_path: Path
) -> None:
    server, port = await own_valkey(), free_port()
    await store_all(server.url)
    async with page() as site, AsyncExitStack() as stack:
        site.script = FOLLOWS % {"port": port}
        named = {"READER__PORT": str(port), "READER__ACCESS": "open", "READER__CORS_ORIGINS": site.origin()}
        async with reader_process(server.url, tmp_path / "one", **named):
            await stack.enter_async_context(browse(site))
            await eventually(lambda: ["open", None] in site.told, timeout=60)
            await server.stop()
            site.told.clear()
        async with reader_process(server.url, tmp_path / "two", **named):
            await eventually(lambda: ["open", None] in site.told, timeout=60)
            await server.start()
            await eventually(lambda: ["back", {"report": "general"}] in site.told, timeout=60)
            async with Redis.from_url(server.url) as redis:
                change = '{"report":"general","gen":7}'
                await eventually(lambda: redis.publish("momentus:{reports}:changed:default", change))
            await eventually(lambda: ["changed", json.loads(change)] in site.told, timeout=60)
        assert ["error", 2] not in site.told, "it was closed for good"
