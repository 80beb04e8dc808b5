"""What is withdrawn stops being served, by every path and header there is: a table of what by which.

A report, a node and a right are each withdrawn as the product does it, on a real server, from a reader that has
just served the document on every path and keeps all of it in its copy.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from producers.keys import catalogue
from reader.cache import ReplyCache
from reader.connection import Connection
from reader.guard import Guard
from reader.handler import Reader
from reader.hints import Hints
from reader.lookup import ReportRequest
from reader.message import HeaderList, Headers, Request, Response
from reader.report import ReportResponder
from reader.store import StoredReports
from reports.declarations import Declarations
from reports.keys import closed, snapshot
from sessions import Session, Sessions
from sessions.token import place_of
from tests.support import OwnValkey, eventually

TENANT, REPORT = "default", "general"
KEY, DAY = snapshot(TENANT, REPORT), closed(TENANT, REPORT, "2026-11-20")
SECRET = b"the-number-that-is-withdrawn"
ETAG = "0123456789abcdef"

PATHS: dict[str, tuple[str, str, dict[str, str]]] = {
    "plain": ("GET", "", {}),
    "head": ("HEAD", "", {}),
    "zstd": ("GET", "", {"accept-encoding": "zstd"}),
    "gzip": ("GET", "", {"accept-encoding": "gzip"}),
    "if-none-match": ("GET", "", {"if-none-match": f'W/"{ETAG}"'}),
    "if-none-match any": ("GET", "", {"if-none-match": "*"}),
    "head if-none-match": ("HEAD", "", {"if-none-match": f'W/"{ETAG}"'}),
    "if-modified-since": ("GET", "", {"if-modified-since": "Fri, 01 Jan 2100 00:00:00 GMT"}),
    "if-match": ("GET", "", {"if-match": "*"}),
    "max-stale": ("GET", "", {"cache-control": "max-stale"}),
    "max-age": ("GET", "", {"cache-control": "max-age=10000"}),
    "only-if-cached": ("GET", "", {"cache-control": "only-if-cached"}),
    "waiting": ("GET", "", {"cache-control": "min-fresh=100000"}),
    "if-write-visible": ("GET", "", {"if-write-visible": "5"}),
    "cookie": ("GET", "", {"cookie": "yes"}),
    "day": ("GET", "at=2026-11-20", {}),
    "day head": ("HEAD", "at=2026-11-20", {}),
    "day if-none-match": ("GET", "at=2026-11-20", {"if-none-match": f'W/"{ETAG}"'}),
    "accept-datetime": ("GET", "", {"accept-datetime": "Fri, 20 Nov 2026 10:00:00 GMT"}),
}


def fields(path: list[int], *, tree: str, gen: int = 1) -> dict[str, bytes]:
    """Node 17 on this path, in every form."""
    now = time.time_ns() // 1000
    meta = {"gen": gen, "verified_us": now, "valid_until_us": None, "soft_ms": 3_600_000, "hard_ms": 7_200_000}
    head = {"etag": ETAG, "path": path, "as_of_us": now}
    return {
        **dict.fromkeys(("17", "17:zstd", "17:gzip"), SECRET),
        "head:17": json.dumps(head).encode(),
        "_meta": json.dumps(meta | {"cost_ms": 10, "tree": tree, "snapshot": "9:9:"}).encode(),
    }


@dataclass
class World:
    """A reader with a copy on a server of its own, and a session that may read node 17 by its root 4."""

    valkey: OwnValkey
    connection: Connection
    redis: Redis
    reports: ReportResponder
    reader: Reader
    sessions: Sessions
    token: str
    session: Session
    service: str

    async def ask(self, name: str) -> Response:
        return await self.reader.response(self.request(name))

    def request(self, name: str) -> Request:
        method, query, headers = PATHS[name]
        token = self.token
        credentials = {"cookie": f"__Host-momentus={token}"} if "cookie" in headers else {}
        credentials = credentials or {"authorization": f"Bearer {token}"}
        pairs = HeaderList(tuple((headers | credentials).items()))
        return Request(method, f"/v1/reports/{REPORT}/17", query, pairs)

    async def get(self, path: str) -> Response:
        return await self.reader.response(
            Request("GET", path, "", HeaderList((("authorization", f"Bearer {self.token}"),)))
        )

    def hints_request(self) -> Request:
        credentials = HeaderList((("authorization", f"Bearer {self.token}"),))
        return Request("GET", "/v1/events", f"report={REPORT}", credentials)

    @property
    def session_key(self) -> str:
        place = place_of(self.token)
        assert place is not None
        return place.session_key

    async def hear(self) -> None:
        """Come after all that Redis had to tell until now, and after what was asked because of it."""
        for _ in range(3):
            assert (await self.get("/readyz")).status == 200

    def goes_away(self) -> None:
        """Redis says nothing any longer, which is soon noticed."""
        self.connection._deadline = 0.05
        asyncio.get_running_loop().call_later(0.05, self.connection._watch)  # the next look was due by the old one
        self.valkey.pause()

    @property
    def declarations(self) -> Declarations:
        return Declarations(self.redis, tenant=TENANT)


@pytest.fixture
async def world(own_valkey: Callable[..., Awaitable[OwnValkey]]) -> AsyncIterator[World]:
    valkey = await own_valkey()
    copy = ReplyCache(limit=10_000_000)
    connection = Connection(valkey.url, copy=copy, deadline=timedelta(seconds=5))
    guard = Guard(connection, copy)
    store = StoredReports(connection, tenant=TENANT, copy=copy)
    redis = Redis.from_url(valkey.url)
    sessions = Sessions.connect(valkey.url)
    await Declarations(redis, tenant=TENANT).declare({REPORT: b'{"title":"General"}'})
    await redis.hset(KEY, mapping=fields([1, 4, 17], tree="a"))
    await redis.hset(DAY, mapping=fields([1, 4, 17], tree=""))
    token, session = await sessions.create("u-17", {"roots": [4]})
    service, _ = await sessions.create_service("wallboard", [4], lasts=timedelta(days=1))
    reports = ReportResponder(store, guard)
    reader = Reader(store, reports, guard, hints=Hints(beat_s=0.02))
    yield World(valkey, connection, redis, reports, reader, sessions, token, session, service)
    await connection.close()
    await redis.aclose()
    await sessions.close()


# What is withdrawn, and how it is answered from then on


async def report_no_worker_declares(world: World) -> int:
    assert await world.declarations.withdraw(REPORT, undeclared=timedelta(0)) == 0
    return 404


async def report_is_forgotten(world: World) -> int:
    assert await world.declarations.forget(REPORT) > 1
    return 404


async def node_is_removed(world: World) -> int:
    """As publish.lua does it."""
    async with world.redis.pipeline(transaction=True) as pipe:
        pipe.hdel(KEY, "17", "17:zstd", "17:gzip")
        pipe.hset(KEY, mapping={"gone:17": "1700000000000000", "_meta": fields([], tree="b", gen=2)["_meta"]})
        await pipe.execute()
    return 410


async def node_is_forgotten(world: World) -> int:
    await node_is_removed(world)
    assert await world.declarations.forget_gone(REPORT) == 1
    return 404


async def node_moves_out_of_reach(world: World) -> int:
    await world.redis.hset(KEY, mapping=fields([1, 5, 17], tree="b", gen=2))
    return 404


async def session_logs_out(world: World) -> int:
    assert await world.sessions.revoke(world.token)
    return 401


async def all_sessions_of_the_user_end(world: World) -> int:
    await world.sessions.revoke_user("u-17")
    return 401


async def roots_are_narrowed(world: World) -> int:
    await world.sessions.save(world.session, {"roots": [9]})
    return 404


async def roots_are_taken(world: World) -> int:
    await world.sessions.save(world.session, {})
    return 404


async def service_token_is_revoked(world: World) -> int:
    assert await world.sessions.revoke(world.service)
    return 401


WITHDRAWALS = (
    report_no_worker_declares,
    report_is_forgotten,
    node_is_removed,
    node_is_forgotten,
    node_moves_out_of_reach,
    session_logs_out,
    all_sessions_of_the_user_end,
    roots_are_narrowed,
    roots_are_taken,
    service_token_is_revoked,
)
Withdrawal = Callable[[World], Awaitable[int]]


async def served_on_every_path(world: World, withdrawal: Withdrawal) -> None:
    """Without this the table would prove nothing."""
    if withdrawal is service_token_is_revoked:
        world.token = world.service
    for _ in range(2):
        for name in PATHS:
            answer = await world.ask(name)
            assert answer.status in ({503} if name == "waiting" else {200, 304}), (name, answer)

    async def all_from_the_copy() -> bool:
        names = ("plain", "zstd", "gzip", "if-none-match", "max-stale")
        return all(["copy" in (await world.ask(name)).timing for name in names])

    assert await eventually(all_from_the_copy)


def shows_nothing(answer: Response) -> bool:
    """Whether an answer neither holds the document nor confirms what a client has of it."""
    names = {key for key, _ in answer.headers}
    told = names & {"etag", "last-modified", "as-of", "age", "memento-datetime", "report-gen", "freshness"}
    return not told and SECRET not in answer.body and ETAG.encode() not in answer.body


@pytest.mark.parametrize("withdrawal", WITHDRAWALS)
async def test_what_is_withdrawn_is_not_served_on_any_path(world: World, withdrawal: Withdrawal) -> None:
    await served_on_every_path(world, withdrawal)
    status = await withdrawal(world)
    await world.hear()
    for name in PATHS:
        answer = await world.ask(name)
        assert (name, answer.status) == (name, status)
        assert shows_nothing(answer), (name, answer)


@pytest.mark.parametrize("withdrawal", WITHDRAWALS)
async def test_what_is_withdrawn_is_not_remembered_when_redis_goes_away(
    world: World, withdrawal: Withdrawal
) -> None:
    await served_on_every_path(world, withdrawal)
    await withdrawal(world)
    await world.hear()
    world.goes_away()
    answers = await asyncio.gather(*map(world.ask, PATHS))  # each waits until it may give up
    world.valkey.resume()
    for name, answer in zip(PATHS, answers, strict=True):
        assert (name, answer.status) == (name, 503)
        assert shows_nothing(answer), (name, answer)


async def test_what_was_not_withdrawn_is_remembered_after_a_new_set_of_the_same_tree(world: World) -> None:
    await served_on_every_path(world, session_logs_out)
    await world.redis.hset(KEY, mapping=fields([1, 4, 17], tree="a", gen=2))
    await world.hear()
    world.goes_away()
    answers = {name: (await world.ask(name)).status for name in ("plain", "gzip", "if-none-match", "day")}
    world.valkey.resume()
    assert answers == {"plain": 200, "gzip": 200, "if-none-match": 304, "day": 200}


async def test_a_withdrawn_report_is_neither_described_nor_listed_nor_followed(world: World) -> None:
    described = json.loads((await world.get("/openapi.json")).body)
    assert f"/v1/reports/{REPORT}/{{scope}}" in described["paths"]
    await world.declarations.withdraw(REPORT, undeclared=timedelta(0))
    body = (await world.get("/openapi.json")).body
    assert REPORT.encode() not in body
    assert b"General" not in body
    assert await world.redis.hkeys(catalogue(TENANT)) == []
    assert not await world.redis.exists(KEY)


class Followed:
    """One exchange whose answer is a stream; it is held by whoever looks at it."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.answers: list[Response] = []
        self.sent: list[str] = []
        self.ended = asyncio.Event()

    def respond(self, answer: Response) -> None:
        self.answers.append(answer)

    def respond_in_parts(self, status: int, headers: Headers) -> "Followed":
        assert (status, dict(headers)["content-type"]) == (200, "text/event-stream")
        return self

    async def send_str(self, data: str) -> None:
        self.sent.append(data)

    def when_gone(self, call: Callable[[], object]) -> None:
        """This client stays."""

    def end(self) -> None:
        self.ended.set()


ENDS_A_STREAM = (
    report_no_worker_declares,
    report_is_forgotten,
    session_logs_out,
    all_sessions_of_the_user_end,
    roots_are_taken,
)


@pytest.mark.parametrize("withdrawal", ENDS_A_STREAM)
async def test_a_stream_of_hints_ends_when_what_admitted_it_is_withdrawn(
    world: World, withdrawal: Withdrawal
) -> None:
    followed = Followed(world.hints_request())
    world.reader.serve(followed)
    await eventually(lambda: len(followed.sent) > 3)
    assert not followed.ended.is_set()
    await withdrawal(world)
    async with asyncio.timeout(20):
        await followed.ended.wait()
    again = Followed(world.hints_request())
    world.reader.serve(again)
    await eventually(lambda: again.answers)
    assert again.answers[0].status in {401, 404}


async def test_a_stream_that_looks_whether_it_may_go_on_is_no_use_of_its_session(world: World) -> None:
    followed = Followed(world.hints_request())
    world.reader.serve(followed)
    await eventually(lambda: len(followed.sent) > 1)
    key = world.session_key
    await world.redis.hset(key, "t", "1")
    await world.redis.pexpire(key, 60_000)
    await eventually(lambda: len(followed.sent) > 6)
    assert await world.redis.pttl(key) <= 60_000, "it is left to end when nobody uses it"
    await world.ask("plain")
    await eventually(lambda: _is_longer(world.redis, key))
    await world.sessions.revoke(world.token)
    await followed.ended.wait()


async def _is_longer(redis: Redis, key: str) -> bool:
    return int(await redis.pttl(key)) > 60_000


async def test_a_report_that_is_declared_again_is_back_with_all_that_was_stored(world: World) -> None:
    await served_on_every_path(world, session_logs_out)
    await world.declarations.withdraw(REPORT, undeclared=timedelta(0))
    await world.declarations.declare({REPORT: b"{}"})
    await world.hear()
    for name in ("plain", "day"):
        assert (await world.ask(name)).status == 200


async def test_what_is_withdrawn_while_a_request_waits_is_not_served_when_it_has_waited(world: World) -> None:
    question = world.reports.read_request(world.request("waiting"), REPORT, "17", "")
    assert isinstance(question, ReportRequest)
    before = await world.reports.lookups.find_result(question)
    await node_moves_out_of_reach(world)
    assert (await world.reports._wait(question, before)).status == 404
    await report_no_worker_declares(world)
    assert (await world.reports._wait(question, before)).status == 404
    await session_logs_out(world)
    await world.hear()
    assert (await world.reports._wait(question, before)).status == 401
