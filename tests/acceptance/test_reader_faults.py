"""The reader while clients vanish, Redis dies or everybody comes at once: no answer is mixed up or unlabelled."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from reader.cache import ReplyCache
from reader.connection import Connection
from reader.guard import Guard
from reader.handler import Reader
from reader.message import HeaderList, Request, Response
from reader.report import ReportResponder
from reader.store import StoredReports
from sessions import Sessions
from tests.reader_process import REPORT, Client, Reply, clients, document, meta, reader_process, request
from tests.support import OwnValkey, eventually

SEED = 6
NODES = range(1, 25)
COPY = {"READER__COPY_MIB": "16"}
OwnServer = Callable[..., Awaitable[OwnValkey]]


def dice(one: int) -> Random:
    return Random(f"{SEED}:{one}")  # noqa: S311  a test that can be repeated


def url_of(scope: int) -> str:
    return f"/v1/reports/general/{scope}"


def body_of(scope: int) -> bytes:
    """Names its scope; of very different lengths, so that answers end in other ticks than they began."""
    return json.dumps({"report": "general", "scope": scope, "data": "x" * (scope * 3000)}).encode()


async def store_all(redis: Redis, *, soft_s: float = 3000, hard_s: float = 3000) -> None:
    fields: dict[str, bytes] = {}
    for scope in NODES:
        fields |= document(scope, [scope], body_of(scope))
    await redis.hset(REPORT, mapping=fields | meta(soft_s=soft_s, hard_s=hard_s))


async def tokens_of(url: str) -> dict[int, str]:
    """A session for each node, which opens that node alone."""
    sessions = Sessions.connect(url)
    found = {scope: (await sessions.create(f"u-{scope}", {"roots": [scope]}))[0] for scope in NODES}
    await sessions.close()
    return found


# Clients that vanish


def check(reply: Reply, asked: int, own: int) -> bool:
    """Whether it was answered; fails unless the answer is that of the one who asked, and for what they asked."""
    if reply.problem == "redis-unreachable":  # this machine was too busy for 50 ms
        return False
    assert reply.status == (200 if asked == own else 404)
    if asked == own:
        assert json.loads(reply.body)["scope"] == own
    return True


async def vanish(port: int, asked: bytes, random: Random) -> None:
    """Ask, and be gone before, in the middle of, or right after the answer, or with half a request sent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(asked * random.choice([1, 1, 4]))
        match random.randrange(4):
            case 0:
                writer.write_eof()
            case 1:
                await reader.read(random.randrange(1, 20_000))
            case 2:
                writer.write(asked[: random.randrange(1, len(asked))])
                await reader.read(1)
    finally:
        writer.transport.abort()


@dataclass
class Crowd:
    """Clients that stay and check every answer, among others that vanish."""

    port: int
    tokens: Mapping[int, str]
    answered: int = 0
    vanished: int = 0

    async def stay(self, own: int, random: Random, enough: int) -> None:
        async with Client(self.port, self.tokens[own]) as client:
            while min(self.answered, self.vanished) < enough:
                asked = [random.choice([own, own, random.choice(NODES)]) for _ in range(random.choice([1, 1, 3]))]
                replies = await client.get_many([url_of(scope) for scope in asked])
                pairs = zip(replies, asked, strict=True)
                self.answered += sum([check(reply, scope, own) for reply, scope in pairs])

    async def come_and_go(self, random: Random) -> None:
        while True:
            scope = random.choice(NODES)
            with suppress(ConnectionError):
                await vanish(self.port, request(url_of(scope), self.tokens[scope]), random)
            self.vanished += 1

    async def meet(self, *, staying: int, going: int, enough: int) -> None:
        own = dice(0).sample(list(NODES), staying)
        async with at_work([asyncio.create_task(self.come_and_go(dice(one))) for one in range(going)]):
            await asyncio.gather(*(self.stay(scope, dice(scope), enough) for scope in own))


@pytest.mark.parametrize("settings", [{}, COPY], ids=["redis", "copy"])
@pytest.mark.parametrize("enough", [250, pytest.param(15_000, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
async def test_no_answer_reaches_another_client_while_clients_vanish(
    valkey_url: str, redis: Redis, tmp_path: Path, settings: dict[str, str], enough: int
) -> None:
    await store_all(redis)
    tokens = await tokens_of(valkey_url)
    async with reader_process(valkey_url, tmp_path / "log", **settings) as port:
        await Crowd(port, tokens).meet(staying=8, going=8, enough=enough)


@dataclass
class Inside:
    """A reader in this process, whose requests can be cancelled at any tick."""

    reader: Reader
    tokens: Mapping[int, str]

    async def ask(self, scope: int) -> Response:
        fields = HeaderList([("authorization", f"Bearer {self.tokens[scope]}")])
        return await self.reader.response(Request(method="GET", path=url_of(scope), fields=fields))


@asynccontextmanager
async def inside(url: str, copy: ReplyCache | None) -> AsyncIterator[Inside]:
    connection = Connection(url, deadline=timedelta(seconds=20), copy=copy)
    guard, store = Guard(connection, copy), StoredReports(connection, tenant="default", copy=copy)
    yield Inside(Reader(store, ReportResponder(store, guard), guard), await tokens_of(url))
    await connection.close()


@pytest.mark.parametrize("octets", [0, 200_000], ids=["redis", "copy"])
@pytest.mark.parametrize("rounds", [60, pytest.param(3000, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
async def test_a_request_cancelled_at_any_moment_takes_nothing_from_the_others(
    valkey_url: str, redis: Redis, octets: int, rounds: int
) -> None:
    """With a copy too small for all, so that some answers come from it and some from Redis."""
    await store_all(redis)
    random, cancelled = dice(0), 0
    async with inside(valkey_url, ReplyCache(limit=octets) if octets else None) as one:
        for _ in range(rounds):
            asked = {asyncio.create_task(one.ask(scope)): scope for scope in random.choices(NODES, k=20)}
            for task in random.sample(list(asked), 8):
                for _ in range(random.randrange(4)):
                    await asyncio.sleep(0)  # a tick of the loop, so that it is cancelled at another point
                cancelled += task.cancel()
            answers = await asyncio.gather(*asked, return_exceptions=True)
            for answer, scope in zip(answers, asked.values(), strict=True):
                if not isinstance(answer, asyncio.CancelledError):
                    assert isinstance(answer, Response)
                    assert (answer.status, json.loads(answer.body)["scope"]) == (200, scope)
    assert cancelled > rounds, "requests were cancelled while they were under way"


# Redis dead under load

SOFT_S, HARD_S = 0.8, 2.0
CLIENTS_AT_ONCE = 16
SAID_TO_S = 0.001
"""As-Of is cut to the millisecond."""


@dataclass
class Observed:
    """Every answer with the moment its request left, on the clock that the worker stamps with.

    Each node's document has an age of its own, so one may be refused while another still comes from memory.
    """

    replies: list[tuple[float, Reply]] = field(default_factory=list)
    refused: dict[int, float] = field(default_factory=dict)
    """When a node's document was last refused for its age."""
    back: list[tuple[float, Reply]] = field(default_factory=list)
    """Documents that came after such a refusal, with its moment."""
    publishing: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Whoever has it keeps the worker from storing."""

    async def watch(self, client: Client, scope: int) -> None:
        while True:
            asked_at = time.time()
            reply = await client.get(url_of(scope))
            self.replies.append((asked_at, reply))
            self.judge(asked_at, reply, scope)
            await asyncio.sleep(0.01)  # a client's pace, so that the reader has more to do than these have

    def judge(self, asked_at: float, reply: Reply, scope: int) -> None:
        """Fails for an answer that is older than its label says, older than it may be, or somebody else's."""
        if reply.status == 503:
            assert reply.problem in {"too-stale", "redis-unreachable"}
            assert int(reply.headers["retry-after"]) > 0
            if reply.problem == "too-stale":
                self.refused[scope] = asked_at
            return
        assert reply.status == 200, reply
        assert json.loads(reply.body)["scope"] == scope
        age = asked_at - reply.as_of
        assert age <= HARD_S + SAID_TO_S, "past the hard limit"
        if age > SOFT_S + SAID_TO_S or "redis-unreachable" in reply.headers["cache-status"]:
            assert reply.headers["freshness"] == "stale"
        if scope in self.refused:
            self.back.append((self.refused[scope], reply))

    def since(self, moment: float) -> list[Reply]:
        return [reply for asked_at, reply in self.replies if asked_at >= moment]


async def publish(redis: Redis, seen: Observed) -> None:
    """A worker that verifies the report again and again, whenever Redis takes it."""
    while True:
        async with seen.publishing:
            with suppress(RedisError, OSError, TimeoutError):
                await redis.hset(REPORT, mapping=meta(soft_s=SOFT_S, hard_s=HARD_S))
        await asyncio.sleep(0.1)  # the worker's pace, not a wait for something


def labelled(reply: Reply) -> str:
    """`fresh`, `stale`, `memory` (stale, Redis away) or the name of the problem."""
    if reply.status != 200:
        return reply.problem
    return "memory" if "redis-unreachable" in reply.headers["cache-status"] else reply.headers["freshness"]


@asynccontextmanager
async def at_work(tasks: Sequence[asyncio.Task[None]]) -> AsyncIterator[None]:
    """Endless tasks for the length of a block; none may end by itself."""
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    faults = [end for end in ends if not isinstance(end, asyncio.CancelledError)]
    assert not faults, faults


@asynccontextmanager
async def under_load(valkey: OwnValkey, log: Path) -> AsyncIterator[Observed]:
    """Sixteen clients ask all the time, a worker stores all the time."""
    seen = Observed()
    async with Redis.from_url(valkey.url, socket_timeout=0.5) as redis:
        await store_all(redis, soft_s=SOFT_S, hard_s=HARD_S)
        tokens = list((await tokens_of(valkey.url)).values())[:CLIENTS_AT_ONCE]
        async with reader_process(valkey.url, log, **COPY) as port, clients(port, tokens) as asking:
            pairs = zip(asking, NODES, strict=False)
            tasks = [asyncio.create_task(seen.watch(client, scope)) for client, scope in pairs]
            async with at_work([*tasks, asyncio.create_task(publish(redis, seen))]):
                yield seen


async def freeze(valkey: OwnValkey) -> None:
    valkey.pause()


async def thaw(valkey: OwnValkey) -> None:
    valkey.resume()


OUTAGES = {"killed": (OwnValkey.kill, OwnValkey.start), "frozen": (freeze, thaw)}


@pytest.mark.parametrize("how", ["killed", pytest.param("frozen", marks=pytest.mark.long)])
async def test_with_redis_dead_under_load_answers_are_labelled_then_refused_then_back(
    own_valkey: OwnServer, tmp_path: Path, how: str
) -> None:
    end, begin = OUTAGES[how]
    valkey = await own_valkey()
    async with under_load(valkey, tmp_path / "log") as seen:
        await eventually(lambda: len([one for _, one in seen.replies if labelled(one) == "fresh"]) > 200)
        async with seen.publishing:  # what has just changed is in doubt, and not remembered
            known = len(seen.replies)
            await eventually(lambda: len(seen.replies) > known + 3 * CLIENTS_AT_ONCE)
            await end(valkey)
            died = time.time()
        await eventually(lambda: "memory" in map(labelled, seen.since(died)))
        await eventually(lambda: "too-stale" in map(labelled, seen.since(died)))
        refused = time.time()
        await eventually(lambda: len(seen.since(refused)) > 200)
        while_away = [labelled(one) for one in seen.since(died)]
        await begin(valkey)
        back = time.time()
        await eventually(lambda: "fresh" in map(labelled, seen.since(back)))
        again = len(seen.replies)
        await eventually(lambda: len(seen.replies) > again + 200)
    first_refusal = while_away.index("too-stale")
    assert {"memory"} <= set(while_away[:first_refusal]) <= {"fresh", "stale", "memory", "redis-unreachable"}
    assert "fresh" not in while_away[while_away.index("memory") + 20 :], "known to be away, by all who ask"
    after = [one for refused_at, one in seen.back if refused_at > died]
    assert after
    assert all(one.as_of > died for one in after), "what was refused never comes back, not even from memory"
    assert {labelled(one) for one in seen.since(refused) if one.status != 200} <= {
        "too-stale",
        "redis-unreachable",
    }
    assert {one.status for _, one in seen.replies[again:]} == {200}, "and it stays back"


# Everybody at once

CLIENTS = 1000
WANTED = "momentus:{reports}:wanted:default:general"


async def test_a_thousand_clients_at_the_moment_of_expiry_make_one_wish(
    valkey_url: str, redis: Redis, tmp_path: Path
) -> None:
    await redis.hset(REPORT, mapping=document(1, [1], b'{"scope":1}') | meta(soft_s=30))
    async with (
        reader_process(valkey_url, tmp_path / "log", READER__ACCESS="open") as port,
        clients(port, [""] * CLIENTS) as asking,
    ):
        assert labelled(await asking[0].get(url_of(1))) in {"fresh", "redis-unreachable"}
        assert not await redis.exists(WANTED)
        await redis.hset(REPORT, mapping=meta(age_s=30, soft_s=30))
        before = await writes(redis)
        await redis.config_resetstat()
        replies = await asyncio.gather(*(client.get(url_of(1)) for client in asking))
        await eventually(lambda: redis.exists(WANTED))
        assert await writes(redis) - before == 1, "one wish, however many have it"
        asked = {name.removeprefix("cmdstat_") for name in await redis.info("commandstats")}
    labels = {labelled(reply) for reply in replies}
    assert "stale" in labels
    assert labels <= {"stale", "redis-unreachable"}
    assert asked <= {
        "hmget",
        "set",
        "exists",
        "info",
        "config|resetstat",
        "hello",
        "subscribe",
        "ping",
        "client|setinfo",
        "time",
    }


async def writes(redis: Redis) -> int:
    """How often anything was changed on this server."""
    return int((await redis.info("persistence"))["rdb_changes_since_last_save"])
