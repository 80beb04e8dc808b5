"""A Bearer beside a cookie: the Bearer counts first, and one that opens nothing locks nobody out."""

from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from reader.cache import ReplyCache
from reader.connection import Connection
from reader.guard import Guard
from reader.handler import Reader
from reader.message import HeaderList, Request, Response
from reader.report import ReportResponder
from reader.store import StoredReports
from sessions import SyncSessions
from tests.reader_corpus import FORGED
from tests.reader_process import REPORT, document, meta

GATEWAYS = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbmEifQ."
"""A token, and none of a session."""
LONG = timedelta(seconds=20)
INVALID = 'Bearer realm="momentus", error="invalid_token"'


@dataclass
class House:
    reader: Reader
    ana: str
    ben: str

    async def ask(
        self, scope: int = 1, bearer: str = "", cookie: str = "", path: str = "", **more: str
    ) -> Response:
        headers: list[tuple[str, str]] = [(name.replace("_", "-"), value) for name, value in more.items()]
        headers += [("authorization", f"Bearer {bearer}")] if bearer else []
        headers += [("cookie", f"__Host-momentus={cookie}")] if cookie else []
        asked = path or f"/v1/reports/general/{scope}"
        return await self.reader.response(Request("GET", asked, fields=HeaderList(headers)))


@pytest.fixture(params=[False, True], ids=["without a copy", "with a copy"])
async def house(valkey_url: str, request: Any) -> AsyncIterator[House]:
    """Ana may read node 1, Ben node 2."""
    copy = ReplyCache(limit=1 << 20) if request.param else None
    connection = Connection(valkey_url, deadline=LONG, copy=copy)
    guard, store = Guard(connection, copy), StoredReports(connection, tenant="default", copy=copy)
    with closing(SyncSessions.connect(valkey_url, deadline=LONG)) as sessions:
        ana, _ = sessions.create("ana", {"roots": [1]})
        ben, _ = sessions.create("ben", {"roots": [2]})
    async with Redis.from_url(valkey_url) as redis:
        await redis.hset(REPORT, mapping=document(1, [1], b"ana") | document(2, [2], b"ben") | meta())
    yield House(Reader(store, ReportResponder(store, guard), guard), ana, ben)
    await connection.close()


def challenges(answer: Response) -> list[str]:
    return [value for name, value in answer.fields if name == "www-authenticate"]


@pytest.mark.parametrize("foreign", [GATEWAYS, FORGED])
async def test_a_bearer_that_opens_nothing_leaves_the_cookie_its_say_and_the_answer_says_so(
    house: House, foreign: str
) -> None:
    for _ in range(3):
        answer = await house.ask(1, bearer=foreign, cookie=house.ana)
        assert (answer.status, answer.body, challenges(answer)) == (200, b"ana", [INVALID])
    held = dict(answer.headers)["etag"]
    assert (await house.ask(1, bearer=foreign, cookie=house.ana, if_none_match=held)).status == 304
    assert (await house.ask(2, bearer=foreign, cookie=house.ana)).status == 404
    assert (await house.ask(path="/openapi.json", bearer=foreign, cookie=house.ana)).status == 200


async def test_a_bearer_that_opens_a_session_counts_whatever_the_cookie_says(house: House) -> None:
    for cookie in (house.ana, FORGED, "x"):
        answer = await house.ask(2, bearer=house.ben, cookie=cookie)
        assert (answer.status, answer.body, challenges(answer)) == (200, b"ben", [])
        assert (await house.ask(1, bearer=house.ben, cookie=cookie)).status == 404


@pytest.mark.parametrize("foreign", [GATEWAYS, FORGED])
async def test_with_neither_of_them_good_the_answer_is_one_challenge(house: House, foreign: str) -> None:
    for cookie in ("", FORGED, "x"):
        answer = await house.ask(1, bearer=foreign, cookie=cookie)
        assert (answer.status, challenges(answer)) == (401, [INVALID])
