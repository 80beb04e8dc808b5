"""The reader as its users meet it: a real process, HTTP on a socket, a real Valkey behind it."""

import asyncio
import http.client
import json
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from redis.asyncio import Redis

from reader.connection import Connection, StoreUnavailable
from reader.guard import Guard
from reader.handler import Reader
from reader.message import HeaderList, Request
from reader.report import ReportResponder
from reader.store import StoredReports
from sessions import Sessions
from tests.support import OwnValkey, eventually

ROOT = Path(__file__).resolve().parents[2]
SECOND = 1_000_000
TAG = "0123456789abcdef"
URL = "/v1/reports/general/17"
GENEROUS = timedelta(seconds=10)


# A reader process, and asking it


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> str:
        """The problem's name; fails unless the reply is a complete problem document."""
        assert self.headers["content-type"] == "application/problem+json"
        assert self.headers["cache-control"] == "no-store"
        document = json.loads(self.body)
        assert document["status"] == self.status
        assert document["title"]
        assert document["detail"]
        assert "Traceback" not in self.body.decode()
        return str(document["type"]).rpartition(":")[2]


def start_reader(**variables: str) -> subprocess.Popen[str]:
    environment = {f"MOMENTUS_{name}": value for name, value in variables.items()}
    return subprocess.Popen(
        [sys.executable, "-m", "reader"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def what_it_says(process: subprocess.Popen[str]) -> tuple[str, str]:
    """All output of a process that is about to end by itself; it is ended if it does not."""
    try:
        return process.communicate(timeout=30)
    finally:
        process.kill()


@dataclass(frozen=True, slots=True)
class Running:
    process: subprocess.Popen[str]
    port: int

    async def once(self, path: str = URL, method: str = "GET", **headers: str) -> Reply:
        """One request, whatever comes of it."""
        return await asyncio.to_thread(self._blocking, path, method, headers)

    async def ask(self, path: str = URL, method: str = "GET", **headers: str) -> Reply:
        """As `once`, but asked again while this machine is too busy for Redis to answer in 50 ms."""

        async def answered() -> Reply | None:
            reply = await self.once(path, method, **headers)
            return None if b"redis-unreachable" in reply.body else reply

        reply: Reply | None = await eventually(answered)
        assert reply is not None
        return reply

    def _blocking(self, path: str, method: str, headers: dict[str, str]) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, headers=named)
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, fields, response.read())
        finally:
            connection.close()

    async def raw(self, request: bytes) -> bytes:
        """Bytes as they are, and what came back."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            async with asyncio.timeout(10):
                return await reader.read(65_536)
        except ConnectionError:
            return b""
        finally:
            writer.close()

    def stop(self) -> tuple[int, str]:
        """SIGTERM; the exit code and what was logged since the start."""
        self.process.send_signal(signal.SIGTERM)
        _, logged = what_it_says(self.process)
        return self.process.returncode, logged


def run_reader(url: str, access: str = "open") -> Running:
    process = start_reader(REDIS_URL=url, READER__PORT="0", READER__ACCESS=access)
    assert process.stderr is not None
    line = process.stderr.readline()
    return Running(process, json.loads(line)["port"])


@pytest.fixture(scope="module")
def readers() -> Iterator[Callable[[str, str], Running]]:
    """Readers shared by the tests of this file; each must end well, without having logged a fault."""
    running: dict[tuple[str, str], Running] = {}

    def get(url: str, access: str) -> Running:
        if (url, access) not in running:
            running[url, access] = run_reader(url, access)
        return running[url, access]

    yield get
    ends = [reader.stop() for reader in running.values()]
    assert {code for code, _ in ends} <= {0}
    assert not [logged for _, logged in ends if "Traceback" in logged]


Launch = Callable[..., Running]


@pytest.fixture
def launch() -> Iterator[Launch]:
    """`run_reader` for a reader of the test's own; none outlives its test."""
    started: list[Running] = []

    def run(url: str, access: str = "open") -> Running:
        started.append(run_reader(url, access))
        return started[-1]

    yield run
    for reader in started:
        reader.process.kill()
        reader.process.communicate()


@pytest.fixture
def reader(readers: Callable[[str, str], Running], valkey_url: str) -> Running:
    """A reader that asks nobody who they are."""
    return readers(valkey_url, "open")


@pytest.fixture
def guarded(readers: Callable[[str, str], Running], valkey_url: str) -> Running:
    """A reader that shows a session what is its own."""
    return readers(valkey_url, "session")


# What the worker would have stored


def now_us() -> int:
    return time.time_ns() // 1000


def meta(*, age_s: float = 0, valid_for_s: float | None = None, gen: int = 7) -> bytes:
    now = now_us()
    return json.dumps(
        {
            "report": "general",
            "gen": gen,
            "as_of_us": now - int(age_s * SECOND),
            "verified_us": now - int(age_s * SECOND),
            "valid_until_us": None if valid_for_s is None else now + int(valid_for_s * SECOND),
            "soft_ms": 30_000,
            "hard_ms": 300_000,
            "cost_ms": 1200,
            "scopes": 3,
        }
    ).encode()


def document(scope: int | str, path: Sequence[int | str], body: bytes, etag: str = TAG) -> dict[str, bytes]:
    head = {"etag": etag, "path": path, "as_of_us": 1_700_000_000 * SECOND}
    return {f"{scope}": body, f"head:{scope}": json.dumps(head).encode()}


async def store(redis: Redis, *parts: dict[str, bytes], report: str = "general") -> None:
    fields = {name: value for part in parts for name, value in part.items()}
    key = f"momentus:{{reports}}:snapshot:default:{report}"
    await cast("Awaitable[int]", redis.hset(key, mapping=cast("dict[str | bytes, Any]", fields)))


BODY = '{"report":"general","scope":17,"data":{"ñ":1}}'.encode()
DOCUMENT = document(17, [1, 4, 17], BODY)


# A report and its age


async def test_a_fresh_report_is_served_as_stored_with_its_age(reader: Running, redis: Redis) -> None:
    await store(redis, DOCUMENT, {"_meta": meta(age_s=12.4)})
    reply = await reader.ask()

    assert (reply.status, reply.body) == (200, BODY)
    as_of = datetime.fromisoformat(reply.headers["as-of"])
    age = int(reply.headers["age"])
    assert 12 <= age <= 29
    assert abs((datetime.now(UTC) - as_of).total_seconds() - age) < 2
    assert reply.headers["etag"] == f'W/"{TAG}"'
    assert reply.headers["freshness"] == "fresh"
    assert reply.headers["report-gen"] == "7"
    assert reply.headers["last-modified"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["content-length"] == str(len(BODY))
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["server-timing"].startswith("redis;dur=")
    assert reply.headers["cache-control"].startswith("private, max-age=")


@pytest.mark.parametrize(
    ("age_s", "valid_for_s", "asked", "status", "outcome"),
    [
        (1, None, "", 200, "fresh"),
        (60, None, "", 200, "stale"),
        (1, -5, "", 200, "stale"),
        (400, None, "", 503, "too-stale"),
        (1, -70, "", 503, "too-stale"),
        (400, None, "max-stale", 200, "stale"),
        (400, None, "max-stale=1000", 200, "stale"),
        (400, None, "max-stale=10", 503, "too-stale"),
        (60, None, "max-age=10", 503, "not-fresh-enough"),
        (60, None, "max-age=10, only-if-cached", 504, "not-fresh-enough"),
        (1, None, "max-age=25", 200, "fresh"),
        (15, None, "min-fresh=20", 503, "not-fresh-enough"),
        (15, None, "max-age=0", 200, "fresh"),
        (15, None, "no-cache, only-if-cached", 200, "fresh"),
    ],
)
async def test_age_decides_whether_and_how_a_report_is_served(
    reader: Running,
    redis: Redis,
    age_s: float,
    valid_for_s: float | None,
    asked: str,
    status: int,
    outcome: str,
) -> None:
    await store(redis, DOCUMENT, {"_meta": meta(age_s=age_s, valid_for_s=valid_for_s)})
    reply = await reader.ask(Cache_Control=asked)
    assert reply.status == status
    assert (reply.headers["freshness"] if status == 200 else reply.problem) == outcome
    if status != 200:
        assert int(reply.headers["retry-after"]) == 3


async def test_a_report_too_old_says_when_it_was_true_and_why_it_is_not_renewed(
    reader: Running, redis: Redis
) -> None:
    failure = {"at_us": now_us(), "error": "canceling statement due to statement timeout\nSELECT secret"}
    await store(redis, DOCUMENT, {"_meta": meta(age_s=400), "_error": json.dumps(failure).encode()})
    reply = await reader.ask()
    assert reply.problem == "too-stale"
    told = json.loads(reply.body)
    assert 400 <= told["age"] < 500
    assert datetime.fromisoformat(told["as_of"]) < datetime.now(UTC) - timedelta(seconds=399)
    assert told["last_error"]["error"] == "canceling statement due to statement timeout"
    assert BODY not in reply.body


# Conditions and methods


async def test_what_the_client_holds_is_not_sent_again_but_its_age_is(reader: Running, redis: Redis) -> None:
    await store(redis, DOCUMENT, {"_meta": meta(age_s=20, gen=7)})
    first = await reader.ask()
    await store(redis, {"_meta": meta(age_s=0, gen=8)})

    again = await reader.ask(If_None_Match=f'"other", {first.headers["etag"]}')

    assert (again.status, again.body) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert again.headers["report-gen"] == "8"
    assert again.headers["as-of"] > first.headers["as-of"]
    assert {"age", "freshness", "cache-control", "last-modified"} <= again.headers.keys()
    assert (await reader.ask(If_None_Match="*")).status == 304


async def test_changed_data_is_sent_though_the_client_holds_the_old(reader: Running, redis: Redis) -> None:
    await store(redis, document(17, [17], b"{}", etag="f" * 16), {"_meta": meta()})
    reply = await reader.ask(If_None_Match=f'W/"{TAG}"')
    assert (reply.status, reply.body) == (200, b"{}")


async def test_a_report_too_old_is_refused_even_to_who_holds_it(reader: Running, redis: Redis) -> None:
    await store(redis, DOCUMENT, {"_meta": meta(age_s=400)})
    assert (await reader.ask(If_None_Match="*")).problem == "too-stale"


CHANGING = {"date", "age", "as-of", "server-timing", "cache-control"}


@pytest.mark.parametrize("path", [URL, "/v1/reports/general/18", "/healthz", "/readyz", "/nowhere"])
async def test_head_tells_what_get_would_without_the_body(reader: Running, redis: Redis, path: str) -> None:
    await store(redis, DOCUMENT, {"_meta": meta()})
    get, head = await reader.ask(path), await reader.ask(path, "HEAD")
    assert (head.status, head.body) == (get.status, b"")
    assert head.headers.keys() == get.headers.keys()
    for name in head.headers.keys() - CHANGING:
        assert head.headers[name] == get.headers[name]
    assert int(head.headers["content-length"]) == len(get.body) > 0


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "get", "BREW"])
async def test_reports_can_only_be_read(reader: Running, method: str) -> None:
    reply = await reader.ask(URL, method)
    assert (reply.status, reply.problem) == (405, "method-not-allowed")
    assert reply.headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("path", [URL, "/healthz", "/metrics", "*"])
async def test_options_names_the_methods(reader: Running, path: str) -> None:
    reply = await reader.ask(path, "OPTIONS")
    assert (reply.status, reply.body, reply.headers["allow"]) == (204, b"", "GET, HEAD, OPTIONS")


# Absent, removed, not yet


async def test_a_removed_node_is_gone_an_unknown_one_was_never_there(reader: Running, redis: Redis) -> None:
    await store(redis, DOCUMENT, {"_meta": meta(), "gone:18": b"%d" % now_us()})
    assert [(await reader.ask(f"/v1/reports/general/{scope}")).status for scope in (17, 18, 19)] == [
        200,
        410,
        404,
    ]
    assert (await reader.ask("/v1/reports/general/18")).problem == "gone"


async def test_a_declared_report_without_data_is_warming_an_undeclared_one_absent(
    reader: Running, redis: Redis
) -> None:
    catalogue = redis.hset("momentus:{reports}:catalogue:default", "general", "{}")
    await cast("Awaitable[int]", catalogue)
    warming = await reader.ask()
    assert (warming.status, warming.problem) == (503, "warming")
    assert int(warming.headers["retry-after"]) > 0
    assert (await reader.ask("/v1/reports/other/17")).problem == "not-found"


async def test_another_tenants_reports_are_not_seen(reader: Running, redis: Redis) -> None:
    fields = cast("dict[str | bytes, Any]", {**DOCUMENT, "_meta": meta()})
    other = redis.hset("momentus:{reports}:snapshot:other:general", mapping=fields)
    await cast("Awaitable[int]", other)
    assert (await reader.ask()).status == 404


@pytest.mark.parametrize(
    "scope", ["0", "017", "x", "", "17/", "..", ".", "_meta", "head:17", "17:zstd", "17%2F", "1" * 400, "%D9%A1"]
)
async def test_what_is_no_nodes_id_is_nothing(reader: Running, redis: Redis, scope: str) -> None:
    await store(redis, DOCUMENT, {"_meta": meta()})
    assert (await reader.ask(f"/v1/reports/general/{scope}")).problem == "not-found"


@pytest.mark.parametrize(
    "scope", [2**63 - 1, "0b7f0c3e-1d6b-4a53-8a0e-0f3a4f1c9a55", "ventas.norte~2", "_x", "-0", "x" * 64]
)
async def test_ids_are_numbers_uuids_or_short_texts_in_urls_as_they_are_stored(
    reader: Running, redis: Redis, scope: int | str
) -> None:
    await store(redis, document(scope, [1, scope], b"{}"), {"_meta": meta()})
    assert (await reader.ask(f"/v1/reports/general/{scope}")).status == 200


@pytest.mark.parametrize("report", ["General", "1st", "_x", "a-b", "a" * 65, "", "a%2Fb", "..", "a\x00"])
async def test_a_report_has_a_plain_name_or_does_not_exist(reader: Running, report: str) -> None:
    quoted = report.replace("\x00", "%00")
    assert (await reader.ask(f"/v1/reports/{quoted}/17")).status == 404


async def test_a_snapshot_in_another_format_is_refused_not_guessed(
    valkey_url: str, redis: Redis, launch: Launch
) -> None:
    await store(redis, DOCUMENT, {"_meta": b'{"gen": 1}'})
    reader = launch(valkey_url)
    reply = await reader.ask()
    code, logged = reader.stop()
    assert (reply.status, reply.problem) == (503, "unreadable")
    assert code == 0
    assert "not in the agreed format" in logged


# Who may read


@pytest.fixture
async def sessions(redis: Redis) -> Sessions:
    return Sessions(redis, deadline=GENEROUS)


async def test_without_a_living_session_nothing_is_shown(
    guarded: Running, redis: Redis, sessions: Sessions
) -> None:
    await store(redis, DOCUMENT, {"_meta": meta()})
    token, _ = await sessions.create("u-17", {"roots": [1]})
    assert (await guarded.ask(Authorization=f"Bearer {token}")).status == 200
    await sessions.revoke(token)

    for headers, challenge in [
        ({}, 'Bearer realm="momentus"'),
        ({"Authorization": "Bearer hello"}, 'Bearer realm="momentus", error="invalid_token"'),
        ({"Authorization": f"Bearer {token}"}, 'Bearer realm="momentus", error="invalid_token"'),
        ({"Cookie": f"__Host-momentus={token}"}, 'Bearer realm="momentus", error="invalid_token"'),
    ]:
        reply = await guarded.ask(**headers)
        assert (reply.status, reply.problem) == (401, "unauthorised")
        assert reply.headers["www-authenticate"] == challenge


async def test_a_manager_reads_their_subtree_by_bearer_or_by_cookie(
    guarded: Running, redis: Redis, sessions: Sessions
) -> None:
    await store(redis, DOCUMENT, document(4, [1, 4], b"{}"), {"_meta": meta()})
    token, _ = await sessions.create("u-17", {"roots": [4]})
    for scope in (4, 17):
        for headers in ({"Authorization": f"Bearer {token}"}, {"Cookie": f"a=b; __Host-momentus={token}"}):
            reply = await guarded.ask(f"/v1/reports/general/{scope}", **headers)
            assert reply.status == 200
            assert reply.headers["vary"] == "Accept-Encoding, Authorization, Cookie"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "asked",
    [{}, {"If_None_Match": "*"}, {"If_None_Match": f'W/"{TAG}"'}, {"Cache_Control": "max-stale"}],
    ids=str,
)
@pytest.mark.parametrize("age_s", [0, 60, 400])
async def test_what_is_out_of_reach_looks_exactly_like_what_never_was(
    guarded: Running, redis: Redis, sessions: Sessions, method: str, asked: dict[str, str], age_s: float
) -> None:
    """Node 1 is above, 5 beside, 6 was removed, 7 was removed and its path kept, 99 never existed."""
    gone = b"%d" % now_us()
    await store(
        redis,
        document(1, [1], b"{}"),
        document(5, [1, 5], b"{}"),
        document(7, [1, 7], b"{}"),
        {"gone:6": gone, "gone:7": gone, "_meta": meta(age_s=age_s)},
    )
    token, _ = await sessions.create("u-17", {"roots": [4]})
    replies = [
        await guarded.ask(f"/v1/reports/general/{scope}", method, Authorization=f"Bearer {token}", **asked)
        for scope in (99, 1, 5, 6, 7)
    ]
    absent = replies[0]
    assert absent.status == 404
    for reply in replies:
        assert (reply.status, reply.body) == (absent.status, absent.body)
        assert reply.headers | {"date": ""} == absent.headers | {"date": ""}


async def test_those_who_could_read_a_removed_node_are_told_it_is_gone(
    guarded: Running, redis: Redis, sessions: Sessions
) -> None:
    gone = b"%d" % now_us()
    await store(redis, document(7, [1, 4, 7], b"{}"), {"gone:7": gone, "gone:4": gone, "_meta": meta()})
    token, _ = await sessions.create("u-17", {"roots": [4]})
    for scope in (4, 7):
        reply = await guarded.ask(f"/v1/reports/general/{scope}", Authorization=f"Bearer {token}")
        assert reply.problem == "gone"


# One instant per answer


async def test_a_body_and_its_headers_are_never_of_two_computations(reader: Running, redis: Redis) -> None:
    """A writer swaps generations all the while; each body names its own."""

    async def swap(gen: int) -> None:
        body = json.dumps({"gen": gen}).encode()
        await store(redis, document(17, [17], body, etag=f"{gen:016x}"), {"_meta": meta(gen=gen)})

    async def write() -> None:
        gen = 1
        while True:
            gen += 1
            await swap(gen)

    await swap(1)
    writer = asyncio.create_task(write())
    replies = [reply for _ in range(25) for reply in await asyncio.gather(*(reader.ask() for _ in range(4)))]
    writer.cancel()
    assert len({reply.headers["report-gen"] for reply in replies}) > 1, "there were swaps to be seen"
    for reply in replies:
        gen = json.loads(reply.body)["gen"]
        assert reply.headers["report-gen"] == str(gen)
        assert reply.headers["etag"] == f'W/"{gen:016x}"'


# Redis away


OwnServer = Callable[..., Awaitable[OwnValkey]]


async def test_with_redis_dead_the_reader_says_so_and_recovers_by_itself(
    own_valkey: OwnServer, launch: Launch
) -> None:
    valkey = await own_valkey()
    async with Redis.from_url(valkey.url) as redis:
        await store(redis, DOCUMENT, {"_meta": meta()})
        token, _ = await Sessions(redis, deadline=GENEROUS).create("u-17", {"roots": [1]})
    open_reader, guarded = launch(valkey.url), launch(valkey.url, "session")
    assert (await open_reader.ask()).status == 200

    await valkey.kill()
    for reply in (
        await open_reader.once(),
        await guarded.once(Authorization=f"Bearer {token}"),
        await open_reader.once("/readyz"),
    ):
        assert (reply.status, reply.problem) == (503, "redis-unreachable")
        assert int(reply.headers["retry-after"]) > 0
    assert (await open_reader.once("/healthz")).status == 200

    await valkey.start()
    async with Redis.from_url(valkey.url) as redis:
        await store(redis, DOCUMENT, {"_meta": meta()})
    assert (await open_reader.ask()).status == 200
    assert (await open_reader.ask("/readyz")).body == b"ready\n"
    assert [reader.stop()[0] for reader in (open_reader, guarded)] == [0, 0]


async def test_a_frozen_redis_holds_nobody_and_its_late_replies_reach_nobody_else(
    own_valkey: OwnServer,
    launch: Launch,
) -> None:
    valkey = await own_valkey()
    bodies = {scope: json.dumps({"scope": scope}).encode() for scope in range(1, 21)}
    async with Redis.from_url(valkey.url) as redis:
        await store(redis, *(document(n, [n], body) for n, body in bodies.items()), {"_meta": meta()})
    reader = launch(valkey.url)
    paths = [f"/v1/reports/general/{scope}" for scope in bodies]
    await reader.ask(paths[0])

    valkey.pause()
    stalled = await asyncio.gather(*map(reader.once, paths))
    assert {(reply.status, reply.problem) for reply in stalled} == {(503, "redis-unreachable")}
    valkey.resume()

    for _ in range(5):
        replies = await asyncio.gather(*map(reader.ask, paths))
        assert [reply.body for reply in replies] == list(bodies.values())
    assert reader.stop()[0] == 0


async def test_an_answer_is_given_while_redis_is_still_silent(own_valkey: OwnServer) -> None:
    valkey = await own_valkey()
    connection = Connection(valkey.url)
    await connection.call("PING")
    valkey.pause()
    with pytest.raises(StoreUnavailable, match="50 ms"):
        await connection.call("HMGET", "key", "field")
    with pytest.raises(StoreUnavailable, match="a moment ago"):
        await connection.call("HMGET", "key", "field")
    valkey.resume()

    async def answered() -> bool:
        try:
            return bool(await connection.call("PING") == b"PONG")
        except StoreUnavailable:
            return False

    assert await eventually(answered)
    await connection.close()


# Whatever is sent


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET /v1/reports/general/17%00 HTTP/1.1",
        b"GET /v1/reports/%ff%fe/17 HTTP/1.1",
        b"GET /v1/reports/../../etc/passwd HTTP/1.1",
        b"GET /v1/reports/general/17?x=" + b"%" * 500 + b" HTTP/1.1",
        b"GET http://elsewhere/v1/reports/general/17 HTTP/1.1",
        b"GET //v1//reports HTTP/1.1",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1",
        b"GET /\xff\xfe HTTP/1.1",
        b"G\x00T / HTTP/1.1",
        b"CONNECT elsewhere:443 HTTP/1.1",
        b"GET / HTTP/9.9",
        b"GET",
    ],
)
async def test_no_request_line_makes_the_reader_fail(reader: Running, redis: Redis, request_line: bytes) -> None:
    await store(redis, DOCUMENT, {"_meta": meta()})
    answer = await reader.raw(request_line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert not answer.startswith(b"HTTP/1.1 500")
    assert (await reader.ask("/healthz")).body == b"ok\n"


@pytest.mark.parametrize(
    "header",
    [
        b"Authorization: Bearer \xff\xfe",
        b"Cookie: __Host-momentus=\x80; =; ;;;",
        b"Cache-Control: max-age=99999999999999999999999999, =, \xe9",
        b'If-None-Match: W/"', b"If-None-Match: " + b'"a",' * 5000,
        b"Range: bytes=99-1",
        b"Expect: 100-continue",
        b"Upgrade: websocket\r\nConnection: Upgrade",
        b"Content-Length: 10\r\nTransfer-Encoding: chunked",
        b"X: " + b"y" * 500_000,
    ],
)  # fmt: skip
async def test_no_header_makes_the_reader_fail(guarded: Running, redis: Redis, header: bytes) -> None:
    await store(redis, DOCUMENT, {"_meta": meta()})
    answer = await guarded.raw(b"GET " + URL.encode() + b" HTTP/1.1\r\nHost: x\r\n" + header + b"\r\n\r\n")
    assert not answer.startswith(b"HTTP/1.1 500")
    assert (await guarded.ask("/healthz")).body == b"ok\n"


names = st.sampled_from(["authorization", "cookie", "cache-control", "if-none-match", "x"])
values = st.text() | st.sampled_from(["max-stale", "*", "Bearer x", "__Host-momentus=", f'W/"{TAG}"'])
paths = (
    st.text()
    | st.lists(st.sampled_from(["/", "v1", "reports", "general", "17", "..", "\x00", "é"])).map("".join)
    | st.just(URL)
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None)
@given(method=st.sampled_from(["GET", "HEAD", "POST", ""]), path=paths, headers=st.lists(st.tuples(names, values)))
async def test_any_request_gets_an_answer_or_a_problem_never_a_fault(
    valkey_url: str, redis: Redis, method: str, path: str, headers: list[tuple[str, str]]
) -> None:
    await store(redis, DOCUMENT, {"_meta": meta()})
    connection = Connection(valkey_url, deadline=GENEROUS)
    shelf = StoredReports(connection, tenant="default")
    for guard in (Guard(connection), None):
        reader = Reader(shelf, ReportResponder(shelf, guard), guard)
        answer = await reader.response(Request(method=method, path=path, fields=HeaderList(headers)))
        assert answer.status != 500
        if answer.status >= 400:
            assert json.loads(answer.body)["status"] == answer.status
    await connection.close()


# The process


async def test_the_counters_tell_what_was_answered_and_how_old_it_was(
    valkey_url: str, redis: Redis, launch: Launch
) -> None:
    await store(redis, DOCUMENT, {"_meta": meta(age_s=40)})
    reader = launch(valkey_url)
    await reader.ask()
    await reader.ask(If_None_Match="*")
    await reader.ask("/nowhere")
    text = (await reader.ask("/metrics")).body.decode()
    reader.stop()
    lines = set(text.splitlines())
    assert 'momentus_reader_requests_total{outcome="stale"} 1.0' in lines
    assert 'momentus_reader_requests_total{outcome="not_modified"} 1.0' in lines
    assert 'momentus_reader_requests_total{outcome="not_found"} 1.0' in lines
    assert 'momentus_reader_age_seconds_bucket{le="30.0"} 0.0' in lines
    assert 'momentus_reader_age_seconds_bucket{le="3600.0"} 2.0' in lines
    assert "momentus_reader_age_seconds_count 2.0" in lines


async def test_a_reader_told_to_stop_exits_with_0_and_leaves_its_port(valkey_url: str, launch: Launch) -> None:
    reader = launch(valkey_url)
    assert (await reader.once("/healthz")).status == 200
    code, logged = reader.stop()
    assert code == 0
    assert json.loads(logged.splitlines()[-1])["drained"] is True
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", reader.port)


async def test_a_client_that_never_finishes_its_request_does_not_hold_the_reader(
    valkey_url: str, launch: Launch
) -> None:
    reader = launch(valkey_url)
    _, writer = await asyncio.open_connection("127.0.0.1", reader.port)
    writer.write(b"GET / HT")
    await writer.drain()
    code, logged = await asyncio.to_thread(reader.stop)
    writer.close()
    assert code == 0
    assert "Traceback" not in logged


async def test_a_port_in_use_is_one_line_and_exit_code_2(valkey_url: str, reader: Running) -> None:
    second = start_reader(REDIS_URL=valkey_url, READER__PORT=str(reader.port))
    said = what_it_says(second)
    assert second.returncode == 2
    assert said[0] == ""
    assert said[1].count("\n") == 1
    assert str(reader.port) in said[1]
    assert "MOMENTUS_READER__PORT" in said[1]


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({}, "MOMENTUS_REDIS_URL"),
        ({"REDIS_URL": "redis://127.0.0.1:secret/0"}, "MOMENTUS_REDIS_URL"),
        ({"REDIS_URL": "redis://127.0.0.1:1/0", "READER__HOST": "192.0.2.1"}, "MOMENTUS_READER__HOST"),
        (
            {"REDIS_URL": "redis://127.0.0.1:1/0", "READER__HOST": "0.0.0.0", "READER__ACCESS": "open"},  # noqa: S104  to be refused
            "MOMENTUS_READER__ACCESS",
        ),
    ],
)
def test_what_the_reader_cannot_work_with_is_named_and_ends_it_with_2(
    variables: dict[str, str], named: str
) -> None:
    process = start_reader(**variables)
    out, said = what_it_says(process)
    assert process.returncode == 2
    assert out == ""
    assert named in said
    assert "Traceback" not in said
    assert "secret" not in said
