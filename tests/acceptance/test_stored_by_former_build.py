"""What a build of before the rooms were moved has stored is read by this one: jobs, sessions, reports.

`tests/former/stored.json` is all that such a build wrote; `tests/former/fill.py` made it. It is loaded as if
it had been written five seconds ago: every instant near its own is moved, in milliseconds or microseconds.
"""

import base64
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import zstandard
from redis.asyncio import Redis

from jobs import Mail
from jobs.lanes import REPORTS
from jobs.refresh import RefreshReport
from ops.depth.read import read_depth
from ops.jobs.operations import revive_job
from producers import Producer
from producers.keys import LaneKeys
from producers.suppression import digest_of, reasons_of
from reader.connection import Connection
from reader.handler import Reader
from reader.message import HeaderList, Request
from reader.report import ReportResponder
from reader.store import StoredReports
from sessions import Sessions
from tests.boards import report, shop
from tests.command_line import run_ops
from tests.delivering import delivering
from tests.notes import running
from tests.provider import Provider
from tests.support import eventually
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler
from worker.reports.refresh import refresh_report

STORED = Path(__file__).parents[1] / "former" / "stored.json"
AGE_MS, YEAR_MS = 5_000, 366 * 86_400_000
GENEROUS = timedelta(seconds=10)
NORMAL = "mail.normal"


@pytest.fixture
async def notes(redis: Redis) -> dict[str, str]:
    """What the former build called the jobs and the tokens that are in the loaded Redis."""
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    seconds, _ = await redis.time()
    moved = Moved(stored["at_ms"], seconds * 1000 - AGE_MS)
    for entry in stored["keys"]:
        await load(redis, entry, moved)
    return dict(stored["notes"])


class Moved:
    """Instants near one, moved to lie as near another."""

    def __init__(self, at_ms: int, to_ms: int) -> None:
        self._at_ms, self._by_ms = at_ms, to_ms - at_ms

    def text(self, value: Any) -> bytes:
        if isinstance(value, dict):
            return base64.b64decode(value["base64"])
        return re.sub(r"(?<!\d)(\d{13}|\d{16})(?!\d)", lambda found: self._number(found[0]), value).encode()

    def _number(self, digits: str) -> str:
        scale = 1000 if len(digits) == 16 else 1
        return (
            str(round(self.instant(int(digits) / scale) * scale)) if self._is_near(int(digits) / scale) else digits
        )

    def instant(self, ms: float) -> float:
        return ms + self._by_ms if self._is_near(ms) else ms

    def _is_near(self, ms: float) -> bool:
        return abs(ms - self._at_ms) < YEAR_MS


async def load(redis: Redis, entry: dict[str, Any], moved: Moved) -> None:
    key, content = entry["key"], entry["content"]
    match entry["type"]:
        case "string":
            await redis.set(key, moved.text(content))
        case "hash":
            await redis.hset(key, mapping={name: moved.text(value) for name, value in content.items()})
        case "zset":
            await redis.zadd(key, {name: moved.instant(score) for name, score in content.items()})
        case "set":
            await redis.sadd(key, *content)
        case "list":
            await redis.rpush(key, *map(moved.text, content))
    if entry["ttl_ms"] > 0:
        await redis.pexpire(key, entry["ttl_ms"])


async def test_its_mails_are_sent_and_each_once(
    redis: Redis, valkey_url: str, producer: Producer, notes: dict[str, str]
) -> None:
    names = ("plain", "keyed", "later", "limited", "again", "ana", "blocked", "held")
    due = {f"{name}@example.com" for name in names}
    again = Mail(to="keyed@example.com", subject="Hola", text="Buenos días")
    assert (await producer.send(again, key="order-1")).id == notes["keyed"], "the key is in use"
    async with Provider() as provider, delivering(valkey_url, provider):
        await eventually(lambda: set(provider.recipients) >= due)
        assert (await revive_job(redis, notes["dead"]))[0] == "revived"
        await eventually(lambda: provider.recipients["dead@example.com"])
    assert provider.recipients == dict.fromkeys([*due, "dead@example.com"], 1)
    assert (await producer.send(again, key="order-1")).id == notes["keyed"], "the key outlives its job"
    (lane,) = [one for one in (await read_depth(redis, tenant="default")).lanes if one.lane == NORMAL]
    assert lane.done == 8
    assert await redis.zrange(f"arq:queue:{{mail}}:{NORMAL}", 0, -1) == [notes["far"].encode()]


@pytest.mark.usefixtures("notes")
async def test_its_refreshes_run_that_of_a_killed_worker_too_and_its_report_is_replaced(
    database: str, redis: Redis, valkey_url: str
) -> None:
    keys, declared = LaneKeys(REPORTS), report("general", board="general")
    assert await redis.zcard(keys.leases) == await redis.hlen("momentus:{reports}:next") == 1
    async with shop(database, valkey_url, declared) as it:
        former = await it.meta("general")
        await it.order(5)
        worker = Worker(
            [handler(refresh_report, kind=RefreshReport.kind)],
            redis_url=valkey_url,
            lanes=[LaneSlots(REPORTS, 1)],
            ctx={"refresher": it.refresher},
            handle_signals=False,
        )
        async with running(worker):
            done = f"done:{REPORTS}"
            await eventually(lambda: count(redis, keys.counters, done, 2))
        after = await it.meta("general")
        assert (after["gen"], await it.total("general")) == (former["gen"] + 2, 5)
        assert await it.field("4", "general") is None, "a node of the former set that is no more"
        assert await redis.zcard(keys.queue) == await redis.zcard(keys.leases) == 0


async def count(redis: Redis, key: str, field: str, wanted: int) -> bool:
    return int(await redis.hget(key, field) or 0) == wanted


async def test_its_jobs_are_explained_and_its_suppressed_addresses_stay(
    redis: Redis, valkey_url: str, notes: dict[str, str]
) -> None:
    code, out, err = await run_ops("why", notes["dead"], REDIS_URL=valkey_url)
    assert code == 0, err
    assert "550 no such user" in out
    assert notes["dead"] in (await run_ops("dead", NORMAL, REDIS_URL=valkey_url))[1]
    assert [one.by for one in await reasons_of(redis.execute_command, digest_of("blocked@example.com"))] == ["web"]


async def test_its_sessions_are_alive_and_those_that_were_ended_are_not(
    redis: Redis, notes: dict[str, str]
) -> None:
    sessions = Sessions(redis, deadline=GENEROUS)
    plain = await sessions.load(notes["plain"])
    assert plain is not None
    assert (plain.user, plain.data) == ("u-17", {"roots": [1, 4], "name": "Ana"})
    assert await sessions.load(notes["rotated"]) is not None
    assert await sessions.load(notes["service"]) is not None
    assert await sessions.load(notes["ended"]) is None
    assert len(await sessions.sessions_of("u-17")) == 1


@pytest.mark.usefixtures("notes")
@pytest.mark.parametrize("encoding", ["identity", "zstd"])
async def test_its_reports_are_served(valkey_url: str, encoding: str) -> None:
    connection = Connection(valkey_url, deadline=GENEROUS)
    store = StoredReports(connection, tenant="default")
    reader = Reader(store, ReportResponder(store, None), None)
    fields = HeaderList((("accept-encoding", encoding),))
    reply = await reader.response(Request(method="GET", path="/v1/reports/general/4", fields=fields))
    await connection.close()
    headers, body = dict(reply.headers), bytes(reply.body)
    assert (reply.status, headers["freshness"]) == (200, "fresh")
    assert headers.get("content-encoding", "identity") == encoding
    document = zstandard.ZstdDecompressor().decompress(body) if encoding == "zstd" else body
    assert orjson.loads(document)["data"]["number"] == 4
