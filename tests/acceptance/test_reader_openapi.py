"""What the reader answers is what its description declares, and no request, however bad, makes it fail."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from random import Random
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from redis import Redis
from schemathesis import GenerationMode

from reader.asgi import Application, Receive, Scope, Send
from reader.connection import Connection
from reader.guard import Guard
from reader.handler import Reader
from reader.report import Reports
from reader.store import Store
from sessions import SyncSessions
from tests.reader_corpus import CASES, Bad
from tests.reader_process import REPORT, document, meta

LONG = timedelta(seconds=20)
SCOPE = 17
CATALOGUE = "momentus:{reports}:catalogue:default"
SCHEMA = {"type": "object", "required": ["people"], "properties": {"people": {"type": "integer"}}}
BODY = {"report": "general", "scope": SCOPE, "as_of": "2026-11-20T10:00:00.000Z", "data": {"people": 3}}


@pytest.fixture
def token(valkey_url: str) -> Iterator[str]:
    """A session that may read what is stored: a report with a schema, one that waits, a removed node, a closed day."""
    with Redis.from_url(valkey_url) as redis, closing(SyncSessions.connect(valkey_url, deadline=LONG)) as sessions:
        stored = document(SCOPE, [1, SCOPE], json.dumps(BODY).encode())
        redis.hset(REPORT, mapping={**stored, **document(18, [1, 18], b""), "gone:18": b"1", **meta()})
        redis.hset(REPORT.replace("snapshot", "closed") + ":2026-11-20", mapping={**stored, **meta()})
        for name, entry in {"general": {"title": "General", "schema": SCHEMA}, "waiting": {"title": "Later"}}.items():
            redis.hset(CATALOGUE, name, json.dumps(entry))
        yield sessions.create("u-17", {"roots": [1]})[0]


class EachOnItsOwn:
    """The reader as an ASGI application whose every request may come on another event loop."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = Connection(self._url, deadline=LONG)
        guard, store = Guard(connection), Store(connection, tenant="default")
        try:
            await Application(Reader(store, Reports(store, guard), guard))(scope, receive, send)
        finally:
            await connection.close()


# What is declared


def try_out(url: str, token: str, examples: int) -> None:
    """Requests for every declared operation, good and bad ones; what comes back is what is declared."""
    schema = schemathesis.openapi.from_asgi("/openapi.json", EachOnItsOwn(url))
    operations = [one.ok() for one in schema.get_all_operations()]
    assert {(one.method, one.path) for one in operations} > {
        ("get", "/v1/reports/general/{scope}"),
        ("head", "/v1/reports/waiting/{scope}"),
        ("get", "/readyz"),
    }
    for operation in operations:
        known = {"path_parameters": {"scope": SCOPE}} if "{scope}" in operation.path else {}
        strategies = [operation.as_strategy(generation_mode=mode) for mode in GenerationMode]

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=st.one_of(operation.as_strategy(**known), *strategies), logged_in=st.booleans())
        def conforms(case: schemathesis.Case, logged_in: bool) -> None:
            case.call_and_validate(headers={"Authorization": f"Bearer {token}"} if logged_in else {})

        conforms()


def test_every_answer_is_one_that_the_description_declares(valkey_url: str, token: str) -> None:
    try_out(valkey_url, token, 8)
