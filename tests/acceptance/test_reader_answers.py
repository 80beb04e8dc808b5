"""What the reader offers beside the plain document: forms, bounds, wishes, closed days, hints, a description."""

import asyncio
import gzip
import json
import time
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from reader.connection import Connection
from reader.cors import Origins
from reader.handler import Reader
from reader.hints import Hints
from reader.http.request import split_target
from reader.message import HeaderList, Request, Response
from reader.report import ReportResponder, _as_memory
from reader.store import StoredReports
from tests.support import eventually

LONG = timedelta(seconds=10)
"""For a reply on a busy machine."""

KEY = "momentus:{reports}:snapshot:default:general"
URL = "/v1/reports/general/17"
BODY = b'{"report":"general","data":{"people":' + b"1" * 900 + b"}}"


def meta(*, age_s: float = 0, gen: int = 1, visible: str = "700:700:") -> bytes:
    then = time.time_ns() // 1000 - int(age_s * 1_000_000)
    return json.dumps(
        {
            "gen": gen,
            "verified_us": then,
            "valid_until_us": None,
            "soft_ms": 30_000,
            "hard_ms": 300_000,
            "cost_ms": 10,
            "snapshot": visible,
        }
    ).encode()


def head(etag: str = "0" * 16) -> bytes:
    return json.dumps({"etag": etag, "path": [1, 17], "as_of_us": 1}).encode()


@pytest.fixture
async def reader(valkey_url: str) -> AsyncIterator[Reader]:
    connection = Connection(valkey_url, deadline=LONG)
    store = StoredReports(connection, tenant="default")
    yield Reader(store, ReportResponder(store, None), origins=Origins(["https://app.example"]))
    await connection.close()


async def ask(reader: Reader, path: str = URL, query: str = "", method: str = "GET", **headers: str) -> Response:
    pairs = [(name.replace("_", "-").lower(), value) for name, value in headers.items()]
    return await reader.response(Request(method=method, path=path, query=query, fields=HeaderList(pairs)))


def header(answer: Response, name: str) -> str:
    return ", ".join(value for key, value in answer.fields if key == name)


def problem(answer: Response) -> str:
    return str(json.loads(answer.body)["type"]).rpartition(":")[2]


# Forms


async def test_a_document_goes_out_in_the_best_form_that_the_client_takes(reader: Reader, redis: Redis) -> None:
    packed = gzip.compress(BODY)
    await redis.hset(KEY, mapping={"17": BODY, "17:gzip": packed, "head:17": head(), "_meta": meta()})
    plain, small = await ask(reader), await ask(reader, Accept_Encoding="gzip, br;q=0.9")
    assert (plain.body, header(plain, "content-encoding")) == (BODY, "")
    assert (gzip.decompress(small.body), header(small, "content-encoding")) == (BODY, "gzip")
    assert header(plain, "etag") == header(small, "etag")
    assert "Accept-Encoding" in header(small, "vary")


async def test_a_document_without_a_compressed_form_goes_out_as_it_is(reader: Reader, redis: Redis) -> None:
    await redis.hset(KEY, mapping={"17": BODY, "head:17": head(), "_meta": meta()})
    for _ in range(3):
        answer = await ask(reader, Accept_Encoding="zstd, gzip")
        assert (answer.body, header(answer, "content-encoding")) == (BODY, "")
    await redis.hset(KEY, mapping={"17:zstd": b"packed", "head:17": head("1" * 16), "_meta": meta(gen=2)})
    await ask(reader, Accept_Encoding="zstd, gzip")
    again = await ask(reader, Accept_Encoding="zstd, gzip")
    assert header(again, "content-encoding") == "zstd"


@pytest.mark.parametrize("asked", [{"Accept": "text/html"}, {"Accept_Encoding": "br, identity;q=0"}])
async def test_a_client_that_takes_no_form_we_have_is_told_so(
    reader: Reader, redis: Redis, asked: dict[str, str]
) -> None:
    await redis.hset(KEY, mapping={"17": BODY, "head:17": head(), "_meta": meta()})
    answer = await ask(reader, **asked)
    assert (answer.status, problem(answer)) == (406, "not-acceptable")


# Bounds and wishes


async def test_reading_what_is_stale_makes_its_refresh_wanted(reader: Reader, redis: Redis) -> None:
    await redis.hset(KEY, mapping={"17": BODY, "head:17": head(), "_meta": meta(age_s=60)})
    assert header(await ask(reader), "freshness") == "stale"
    wanted = "momentus:{reports}:wanted:default:general"
    assert await eventually(lambda: redis.exists(wanted))
    assert await redis.pttl(wanted) > 0


async def test_a_client_with_a_bound_gets_the_refresh_that_arrives_in_time(reader: Reader, redis: Redis) -> None:
    await redis.hset(KEY, mapping={"17": b"old", "head:17": head(), "_meta": meta(age_s=20)})
    asked = asyncio.create_task(ask(reader, Cache_Control="max-age=5"))
    await eventually(lambda: _reads(redis))
    await redis.hset(KEY, mapping={"17": b"new", "head:17": head("1" * 16), "_meta": meta(gen=2)})
    answer = await asked
    assert (answer.status, answer.body) == (200, b"new")


async def _reads(redis: Redis) -> bool:
    """Whether the reader has looked at least twice: it waits."""
    return bool((await redis.info("commandstats"))["cmdstat_hmget"]["calls"] >= 2)


async def test_a_bound_that_is_not_met_in_time_is_refused(reader: Reader, redis: Redis) -> None:
    await redis.hset(KEY, mapping={"17": BODY, "head:17": head(), "_meta": meta(age_s=20)})
    waited, at_once = (
        await ask(reader, Cache_Control="max-age=5"),
        await ask(reader, Cache_Control="max-age=5, only-if-cached"),
    )
    assert (waited.status, problem(waited)) == (503, "not-fresh-enough")
    assert at_once.status == 504


@pytest.mark.parametrize(
    ("written", "status"), [("699", 200), ("700", 503), ("soon", 400), ("99999999999999999999999", 400)]
)
async def test_a_writer_sees_their_own_write_or_a_refusal(
    reader: Reader, redis: Redis, written: str, status: int
) -> None:
    await redis.hset(KEY, mapping={"17": BODY, "head:17": head(), "_meta": meta()})
    answer = await ask(reader, If_Write_Visible=written)
    assert answer.status == status
    if status == 503:
        assert problem(answer) == "not-yet-visible"


# Closed days


async def test_a_closed_day_is_served_as_it_was(reader: Reader, redis: Redis) -> None:
    key = "momentus:{reports}:closed:default:general:2026-11-20"
    await redis.hset(key, mapping={"17": b"then", "head:17": head(), "_meta": meta(age_s=500_000)})
    assert (await ask(reader, query="at=2026-11-20")).status == 404, "nothing says who may read it today"
    await redis.hset(KEY, mapping={"17": b"now", "head:17": head(), "_meta": meta()})
    for answer in (
        await ask(reader, query="at=2026-11-20"),
        await ask(reader, Accept_Datetime="Fri, 20 Nov 2026 10:00:00 GMT"),
    ):
        assert (answer.status, answer.body) == (200, b"then")
        assert header(answer, "cache-control") == "private, max-age=300"
        assert header(answer, "memento-datetime").endswith("GMT")
    assert (await ask(reader, query="at=2026-11-19")).status == 404


@pytest.mark.parametrize(
    "asked", [{"query": "at=yesterday"}, {"query": "at=2026-13-01"}, {"Accept_Datetime": "soon"}]
)
async def test_a_day_that_is_none_is_a_bad_request(reader: Reader, asked: dict[str, str]) -> None:
    answer = await ask(reader, **asked)
    assert (answer.status, problem(answer)) == (
        (400, "bad-request") if asked != {"query": "at="} else (404, "not-found")
    )


# Other sites


async def test_only_listed_sites_may_read_from_the_browser(reader: Reader, redis: Redis) -> None:
    await redis.hset(KEY, mapping={"17": BODY, "head:17": head(), "_meta": meta()})
    listed = await ask(reader, Origin="https://app.example")
    assert header(listed, "access-control-allow-origin") == "https://app.example"
    assert "Origin" in header(listed, "vary")
    assert header(await ask(reader, Origin="https://elsewhere.example"), "access-control-allow-origin") == ""
    preflight = await ask(reader, method="OPTIONS", Origin="https://app.example")
    assert preflight.status == 204
    assert "If-None-Match" in header(preflight, "access-control-allow-headers")


ONCE_EACH = [
    *(
        "/v1/reports/general/17",
        "/v1/reports/general/99",
        "/v1/reports/absent/1",
        "/v1/reports/general/17?at=2026-11-20",
    ),
    *(
        "/v1/reports/general/17?at=never",
        "/openapi.json",
        "/healthz",
        "/readyz",
        "/metrics",
        "/v1/events",
        "*",
        "/nowhere",
    ),
]


@pytest.mark.parametrize("origin", ["", "https://app.example", "https://elsewhere.example"])
async def test_each_header_stands_once_on_every_way_through_the_reader(
    reader: Reader, redis: Redis, origin: str
) -> None:
    await redis.hset(KEY, mapping={"17": BODY, "head:17": head(), "_meta": meta()})
    conditions: list[dict[str, str]] = [
        {},
        {"If_None_Match": "*"},
        {"Cache_Control": "max-age=1"},
        {"Accept": "text/html"},
    ]
    for target in ONCE_EACH:
        path, _, query = target.partition("?")
        for method in ("GET", "HEAD", "OPTIONS", "POST"):
            for headers in conditions:
                answer = await ask(
                    reader, path, query, method, **headers, **({"Origin": origin} if origin else {})
                )
                names = [name for name, _ in answer.fields]
                assert len(names) == len(set(names)), (method, target, headers, names)


async def test_the_answer_from_memory_has_one_header_of_each_name_too() -> None:
    headers = (("freshness", "fresh"), ("cache-status", "reports; hit; ttl=3"))
    assert _as_memory(headers) == (
        ("freshness", "stale"),
        ("cache-status", "reports; hit; detail=redis-unreachable"),
    )


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/v1/reports%2Fgeneral/17",
            "/v1/reports/%67eneral/17",
            "/v1/reports/general/%31%37",
            "/%761/reports/general/17",
        ),
        *(
            "//v1/reports/general/17",
            "/v1//reports/general/17",
            "/v1/./reports/general/17",
            "/v1/x/../reports/general/17",
        ),
        *(
            "/V1/reports/general/17",
            "/v1/reports/General/17",
            "/v1/reports/general/17/",
            "/v1/reports/general/17;a=b",
        ),
        *(
            "/v1/reports/general/017",
            "/v1\\reports/general/17",
            "v1/reports/general/17",
            "/healthz/",
            "/metrics%00",
        ),
    ],
)
async def test_a_page_has_one_path_and_no_other_way_to_write_it_is_answered(
    reader: Reader, redis: Redis, path: str
) -> None:
    await redis.hset(KEY, mapping={"17": BODY, "head:17": head(), "_meta": meta()})
    sent, _ = split_target(path.encode())
    assert (await ask(reader, sent)).status == 404
    assert (await ask(reader)).status == 200


# Hints


class Listener:
    """A client of a stream, until it goes."""

    def __init__(self) -> None:
        self.received: list[str] = []
        self.gone = False

    async def send_str(self, data: str) -> None:
        if self.gone:
            raise ConnectionResetError("the client has gone")
        self.received.append(data)


async def test_whoever_follows_a_report_is_told_of_its_changes_and_of_no_others() -> None:
    hints, client = Hints(beat_s=0.01), Listener()
    following = asyncio.create_task(hints.follow_report("general", client))
    await eventually(lambda: client.received)
    hints.publish_change(b'{"report":"other","gen":5,"scopes":[1]}')
    hints.publish_change(b'{"report":"general","gen":8}')
    hints.publish_change(b"not a change")
    event = 'id: 8\nevent: changed\ndata: {"report":"general","gen":8}\n\n'
    await eventually(lambda: event in client.received)
    assert not [one for one in client.received if "other" in one]
    client.gone = True
    await following


async def test_a_stream_ends_by_itself_so_that_a_log_out_is_noticed() -> None:
    client = Listener()
    await Hints(life_s=0.05, beat_s=0.01).follow_report("general", client)
    assert client.received[0].startswith("retry:")


# The description


async def test_the_description_names_every_declared_report_with_its_schema(reader: Reader, redis: Redis) -> None:
    schema = {"type": "object", "required": ["people"]}
    entry = json.dumps({"title": "Gerencia", "debounce_ms": 1000, "schema": schema})
    await redis.hset("momentus:{reports}:catalogue:default", "general", entry)
    answer = await ask(reader, path="/openapi.json")
    described = json.loads(answer.body)
    assert described["openapi"] == "3.1.0"
    assert described["paths"]["/v1/reports/general/{scope}"]["get"]["summary"] == "Gerencia"
    assert described["components"]["schemas"]["general"]["properties"]["data"] == schema
