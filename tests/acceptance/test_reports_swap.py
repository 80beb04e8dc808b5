"""A reader that never rests while sets are swapped: no answer ever holds two generations."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import orjson
import pytest
import zstandard
from redis.asyncio import Redis

from reader.cache import ReplyCache
from reader.connection import Connection
from reader.handler import Reader
from reader.message import HeaderList, Request, Response
from reader.report import ReportResponder
from reader.store import StoredReports
from reports.compress import SMALLEST
from reports.document import Document, format_instant, microseconds
from reports.node_ids import NodeId
from reports.store import NewSet, ReportStore, set_change

SCOPES = range(1, 6)
PATIENT = timedelta(seconds=30)


def documents(number: int, at: datetime) -> dict[NodeId, Document]:
    """Every document changes with every number, but node 4's with every third, and 5's comes and goes."""
    found: dict[NodeId, Document] = {}
    for scope in SCOPES:
        told = number - number % 3 if scope == 4 else number
        if scope == 5 and number % 2:
            continue
        data = {"number": told, "filling": "x" * SMALLEST if number % 4 < 2 else ""}
        body = orjson.dumps({"scope": scope, "as_of": format_instant(at), "data": data})
        head = {"etag": f"{told * 4 + number % 4:016x}", "path": [1, scope], "as_of_us": microseconds(at)}
        found[scope] = Document(f"{told * 4 + number % 4:016x}", body, orjson.dumps(head))
    return found


@dataclass(slots=True)
class Seen:
    """What the reader has answered."""

    answers: int = 0
    numbers: set[int] = field(default_factory=set)
    latest: int = 0
    gone: int = 0
    packed: int = 0


@pytest.mark.parametrize("swaps", [100, pytest.param(10_000, marks=pytest.mark.long)])
@pytest.mark.parametrize("scopes_at_once", [64, 1], ids=["where they stand", "in parts"])
@pytest.mark.parametrize("copy", [None, ReplyCache(limit=100_000)], ids=["asking", "with a copy"])
@pytest.mark.timeout(300)
async def test_a_reader_sees_one_generation_in_each_answer_however_many_sets_are_swapped(
    valkey_url: str, monkeypatch: pytest.MonkeyPatch, swaps: int, scopes_at_once: int, copy: ReplyCache | None
) -> None:
    monkeypatch.setattr("reports.staging.SCOPES", scopes_at_once)
    monkeypatch.setattr("reports.staging.DIRECT_SCOPES", scopes_at_once)
    over, seen = asyncio.Event(), Seen()
    began = datetime.now(UTC)
    async with Redis.from_url(valkey_url) as redis, a_reader(valkey_url, copy) as reader:
        store = ReportStore(redis, tenant="default")
        await swap(store, 0, began)
        hammers = [asyncio.create_task(hammer(reader, began, over, seen)) for _ in range(4)]
        for number in range(1, swaps + 1):
            await swap(store, number, began)
        over.set()
        await asyncio.gather(*hammers)
    assert seen.answers >= swaps
    assert len(seen.numbers) > swaps / 10
    assert seen.gone
    assert seen.packed


@asynccontextmanager
async def a_reader(url: str, copy: ReplyCache | None) -> AsyncIterator[Reader]:
    connection = Connection(url, deadline=PATIENT, copy=copy)
    store = StoredReports(connection, tenant="default", copy=copy)
    try:
        yield Reader(store, ReportResponder(store, None), None)
    finally:
        await connection.close()


async def swap(store: ReportStore, number: int, began: datetime) -> None:
    at = began + timedelta(microseconds=number)
    new = documents(number, at)
    meta = {
        "as_of_us": microseconds(at),
        "verified_us": microseconds(at),
        "valid_until_us": None,
        "soft_ms": 10**8,
        "hard_ms": 10**9,
        "cost_ms": 1.0,
        "scopes": len(new),
        "snapshot": "1:1:",
    }
    stored = await store.read_set("bench")
    ready = NewSet(report="bench", as_of=at, documents=new, meta=meta)
    assert await store.publish_set(ready, stored, set_change(stored, new)) == "stored"


async def hammer(reader: Reader, began: datetime, over: asyncio.Event, seen: Seen) -> None:
    turn = 0
    while not over.is_set():
        await asyncio.sleep(0)  # as between two requests of a socket: answers from a copy wait for nothing
        turn += 1
        scope = SCOPES[turn % len(SCOPES)]
        takes = (("accept-encoding", "zstd"),) if turn % 2 else ()
        request = Request(method="GET", path=f"/v1/reports/bench/{scope}", fields=HeaderList(takes))
        check(await reader.response(request), scope, began, seen)


def check(answer: Response, scope: int, began: datetime, seen: Seen) -> None:
    """The generation in the header is the one of which the body is, and neither goes back."""
    seen.answers += 1
    fields = dict(answer.headers)
    if answer.status == 410 and scope == 5:
        seen.gone += 1
        return
    assert answer.status == 200, answer
    body = bytes(answer.body)
    if fields.get("content-encoding") == "zstd":
        seen.packed += 1
        body = zstandard.ZstdDecompressor().decompress(body)
    number = int(fields["report-gen"]) - 1
    document = orjson.loads(body)
    told = number - number % 3 if scope == 4 else number
    assert document["data"]["number"] == told, "head and body are of two generations"
    assert document["scope"] == scope
    assert datetime.fromisoformat(document["as_of"]) <= began + timedelta(microseconds=number)
    assert number >= seen.latest - 4, "an answer is older than what was answered before it was asked for"
    seen.latest = max(seen.latest, number)
    seen.numbers.add(number)
