"""The conditions of requests (RFC 9110, 13): honoured where they can be proved, and no 304 where they cannot."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from time import time
from typing import Any

import pytest
from hypothesis import given, strategies as st
from redis.asyncio import Redis

from reader.connection import Connection
from reader.freshness import http_date
from reader.handler import Reader
from reader.message import HeaderList, Request, Response
from reader.preconditions import Condition, weigh_conditions
from reader.report import ReportResponder
from reader.store import StoredReports
from tests.reader_process import REPORT

LONG = timedelta(seconds=10)
"""For a reply on a busy machine."""

TAG = "0123456789abcdef"
SECOND = 1_000_000
NOW = int(time()) * SECOND
CHANGED = NOW - 100 * SECOND + 250_000
CHANGED_DATE, BEFORE, AFTER = (http_date(CHANGED + shift * SECOND) for shift in (0, -1, 1))


@pytest.fixture
async def reader(valkey_url: str) -> AsyncIterator[Reader]:
    connection = Connection(valkey_url, deadline=LONG)
    store = StoredReports(connection, tenant="default")
    yield Reader(store, ReportResponder(store, None))
    await connection.close()


async def store(redis: Redis, *, changed: int = CHANGED, verified: int = NOW, scope: int = 17) -> None:
    head = {"etag": TAG, "path": [1, scope], "as_of_us": changed}
    limits = {"valid_until_us": None, "soft_ms": 10**9, "hard_ms": 10**9, "cost_ms": 1, "gen": 1}
    meta = json.dumps({"verified_us": verified, **limits})
    await redis.hset(REPORT, mapping={f"{scope}": b"{}", f"head:{scope}": json.dumps(head), "_meta": meta})


async def ask(
    reader: Reader, scope: int = 17, /, *, method: str = "GET", query: str = "", **headers: Any
) -> Response:
    pairs = [(name.replace("_", "-").lower(), value) for name, value in headers.items()]
    path = f"/v1/reports/general/{scope}"
    return await reader.response(Request(method=method, path=path, query=query, fields=HeaderList(pairs)))


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        ({"If_Modified_Since": CHANGED_DATE}, 304),
        ({"If_Modified_Since": BEFORE}, 200),
        ({"If_Modified_Since": AFTER}, 200),  # no date of ours: whoever made it up holds what nobody knows
        ({"If_Modified_Since": "soon"}, 200),
        ({"If_Modified_Since": CHANGED_DATE, "If_None_Match": '"else"'}, 200),
        ({"If_Modified_Since": BEFORE, "If_None_Match": f'W/"{TAG}"'}, 304),
        ({"If_Match": "*"}, 200),
        ({"If_Match": f'W/"{TAG}"'}, 412),
        ({"If_Match": f'"{TAG}"'}, 412),
        ({"If_Match": "*", "If_Unmodified_Since": BEFORE}, 200),
        ({"If_Match": '"else"', "If_None_Match": f'"{TAG}"'}, 412),
        ({"If_Unmodified_Since": CHANGED_DATE}, 200),
        ({"If_Unmodified_Since": AFTER}, 200),
        ({"If_Unmodified_Since": BEFORE}, 412),
        ({"If_Unmodified_Since": "soon"}, 200),
        ({"If_Unmodified_Since": AFTER, "If_None_Match": f'"{TAG}"'}, 304),
        ({"Range": "bytes=0-0", "If_Range": CHANGED_DATE}, 200),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_each_condition_is_honoured_in_the_order_of_the_standard(
    reader: Reader, redis: Redis, conditions: dict[str, str], status: int, method: str
) -> None:
    await store(redis)
    assert (await ask(reader, method=method, **conditions)).status == status


async def test_conditions_count_only_where_there_would_be_a_document(reader: Reader, redis: Redis) -> None:
    await store(redis)
    assert (await ask(reader, 99, If_Match='"else"')).status == 404
    assert (await ask(reader, 99, If_None_Match="*")).status == 404


async def test_a_day_that_was_closed_has_no_date_of_its_last_change(reader: Reader, redis: Redis) -> None:
    await store(redis)
    await redis.copy(REPORT, REPORT.replace("snapshot", "closed") + ":2026-11-20")
    for conditions in ({"If_Modified_Since": CHANGED_DATE}, {"If_Unmodified_Since": BEFORE}):
        assert (await ask(reader, query="at=2026-11-20", **conditions)).status == 200
    assert (await ask(reader, query="at=2026-11-20", If_None_Match=f'"{TAG}"')).status == 304
    assert (await ask(reader, query="at=2026-11-20", If_Match=f'"{TAG}"')).status == 412


async def test_a_document_has_a_date_only_once_its_second_is_over(reader: Reader, redis: Redis) -> None:
    """In the same second there may be another version, with other data and the same date."""
    await store(redis, verified=CHANGED + 100_000)
    fresh = await ask(reader)
    assert "last-modified" not in dict(fresh.headers)
    assert (await ask(reader, If_Modified_Since=CHANGED_DATE)).status == 200
    await store(redis, verified=CHANGED + SECOND)
    assert dict((await ask(reader)).headers)["last-modified"] == CHANGED_DATE
    assert (await ask(reader, If_Modified_Since=CHANGED_DATE)).status == 304


async def test_two_nodes_with_the_same_data_have_each_its_own_date(reader: Reader, redis: Redis) -> None:
    await store(redis)
    await store(redis, scope=18, changed=CHANGED + 5 * SECOND)
    dates = [dict((await ask(reader, scope)).headers)["last-modified"] for scope in (17, 18)]
    assert dates == [CHANGED_DATE, http_date(CHANGED + 5 * SECOND)]


versions = st.lists(st.integers(0, 3 * SECOND), min_size=1, max_size=6, unique=True).map(sorted)
"""When the data changed, in microseconds."""


@given(versions=versions, data=st.data())
def test_no_date_that_was_sent_ever_stands_for_another_version(versions: list[int], data: st.DataObject) -> None:
    """Whoever holds one version and sends its date is never told that it is the newest when it is not."""
    held = data.draw(st.integers(0, len(versions) - 1))
    after = versions[held + 1] if held + 1 < len(versions) else 5 * SECOND
    verified = data.draw(st.integers(versions[held], after - 1))
    if verified // SECOND == versions[held] // SECOND:
        return  # it was sent without a date
    now = data.draw(st.integers(held, len(versions) - 1))
    asked = HeaderList([("if-modified-since", http_date(versions[held]))])
    weighed = weigh_conditions(asked, TAG, changed_s=versions[now] // SECOND, dated=True)
    assert weighed is (Condition.HELD if now == held else Condition.MET)
