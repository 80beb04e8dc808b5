"""The reader's own copy: believed while provably current, a labelled memory in an outage, nothing else."""

import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from reader.cache import ReplyCache
from reader.connection import Connection
from reader.guard import Guard
from reader.handler import Reader
from reader.message import HeaderList, Request, Response
from reader.report import ReportResponder
from reader.store import StoredReports
from sessions import Sessions
from tests.support import OwnValkey, eventually

KEY = "momentus:{reports}:snapshot:default:general"
URL = "/v1/reports/general/17"


def fields(body: bytes, *, gen: int = 1, age_s: float = 0, etag: str = "0" * 16) -> dict[str, bytes]:
    now = time.time_ns() // 1000 - int(age_s * 1_000_000)
    meta = {"gen": gen, "verified_us": now, "valid_until_us": None, "soft_ms": 30_000, "hard_ms": 300_000}
    head = {"etag": etag, "path": [1, 17], "as_of_us": now}
    return {
        "17": body,
        "head:17": json.dumps(head).encode(),
        "_meta": json.dumps(meta | {"cost_ms": 10}).encode(),
    }


@dataclass
class Copied:
    """A reader with a copy on a server of its own, inside this process."""

    valkey: OwnValkey
    redis: Redis
    reader: Reader
    sessions: Sessions

    async def ask(self, token: str = "", **headers: str) -> Response:
        pairs = [(name.replace("_", "-").lower(), value) for name, value in headers.items()]
        if token:
            pairs.append(("authorization", f"Bearer {token}"))
        return await self.reader.response(Request(method="GET", path=URL, fields=HeaderList(pairs)))

    async def ask_until(self, source: str, token: str = "") -> Response:
        """Ask until the answer comes from there: `redis`, `copy` or `memory`."""

        async def came() -> Response | None:
            answer = await self.ask(token)
            return answer if header(answer, "server-timing").startswith(source) else None

        answer = await eventually(came)
        assert isinstance(answer, Response)
        return answer

    async def looks(self) -> int:
        return int((await self.redis.info("commandstats")).get("cmdstat_hmget", {"calls": 0})["calls"])


def header(answer: Response, name: str) -> str:
    return ", ".join(value for key, value in answer.fields if key == name)


@pytest.fixture
async def copied(own_valkey: Callable[..., Awaitable[OwnValkey]]) -> AsyncIterator[Copied]:
    valkey = await own_valkey()
    copy = ReplyCache(limit=1_000_000)
    connection = Connection(valkey.url, copy=copy)
    guard = Guard(connection, copy)
    store = StoredReports(connection, tenant="default", copy=copy)
    redis = Redis.from_url(valkey.url)
    sessions = Sessions.connect(valkey.url)
    yield Copied(valkey, redis, Reader(store, ReportResponder(store, guard), guard), sessions)
    await connection.close()
    await redis.aclose()
    await sessions.close()


async def test_what_has_not_changed_is_answered_without_asking_redis(copied: Copied) -> None:
    await copied.redis.hset(KEY, mapping=fields(b"{}"))
    token, _ = await copied.sessions.create("u-17", {"roots": [1]})
    await copied.ask_until("copy", token)
    before = await copied.looks()
    answers = [await copied.ask(token) for _ in range(20)]
    assert {answer.status for answer in answers} == {200}
    assert await copied.looks() == before


async def test_a_change_is_seen_as_soon_as_redis_tells_of_it(copied: Copied) -> None:
    token, _ = await copied.sessions.create("u-17", {"roots": [1]})
    for generation in range(1, 200):
        body = json.dumps({"generation": generation}).encode()
        await copied.redis.hset(KEY, mapping=fields(body, gen=generation, etag=f"{generation:016x}"))

        async def changed(body: bytes = body) -> bool:
            return (await copied.ask(token)).body == body

        assert await eventually(changed, every=0)


async def test_a_log_out_ends_a_session_that_the_copy_holds(copied: Copied) -> None:
    await copied.redis.hset(KEY, mapping=fields(b"{}"))
    token, _ = await copied.sessions.create("u-17", {"roots": [1]})
    await copied.ask_until("copy", token)
    await copied.sessions.revoke(token)

    async def refused() -> bool:
        return (await copied.ask(token)).status == 401

    assert await eventually(refused)


async def test_ending_all_sessions_of_a_user_ends_those_that_the_copy_holds(copied: Copied) -> None:
    await copied.redis.hset(KEY, mapping=fields(b"{}"))
    token, _ = await copied.sessions.create("u-17", {"roots": [1]})
    await copied.ask_until("copy", token)
    await copied.sessions.revoke_user("u-17")

    async def refused() -> bool:
        return (await copied.ask(token)).status == 401

    assert await eventually(refused)


async def test_while_redis_is_away_the_last_copy_is_served_and_labelled(copied: Copied) -> None:
    await copied.redis.hset(KEY, mapping=fields(b'{"a":1}'))
    token, _ = await copied.sessions.create("u-17", {"roots": [1]})
    await copied.ask_until("copy", token)
    copied.valkey.pause()
    answer = await copied.ask_until("memory", token)
    copied.valkey.resume()
    assert (answer.status, answer.body) == (200, b'{"a":1}')
    assert header(answer, "freshness") == "stale"
    assert "redis-unreachable" in header(answer, "cache-status")


async def test_past_its_hard_limit_not_even_the_copy_is_served(copied: Copied) -> None:
    await copied.redis.hset(KEY, mapping=fields(b"{}", age_s=299.5))
    token, _ = await copied.sessions.create("u-17", {"roots": [1]})
    await copied.ask(token)
    copied.valkey.pause()

    async def refused() -> bool:
        return (await copied.ask(token)).status == 503

    assert await eventually(refused)
    copied.valkey.resume()


async def test_nobody_who_was_not_known_before_gets_in_while_redis_is_away(copied: Copied) -> None:
    await copied.redis.hset(KEY, mapping=fields(b"{}"))
    known, _ = await copied.sessions.create("u-17", {"roots": [1]})
    unknown, _ = await copied.sessions.create("u-18", {"roots": [1]})
    await copied.ask_until("copy", known)
    copied.valkey.pause()
    await copied.ask_until("memory", known)
    answer = await copied.ask(unknown)
    copied.valkey.resume()
    assert answer.status == 503


async def test_after_an_outage_nothing_read_before_it_counts_as_current(copied: Copied) -> None:
    token, _ = await copied.sessions.create("u-17", {"roots": [1]})
    await copied.redis.hset(KEY, mapping=fields(b'{"a":1}'))
    await copied.ask_until("copy", token)
    await copied.redis.client_kill_filter(_type="normal", skipme=True)
    await copied.redis.hset(KEY, mapping=fields(b'{"a":2}', etag="1" * 16))

    async def renewed() -> bool:
        return (await copied.ask(token)).body == b'{"a":2}'

    assert await eventually(renewed)
