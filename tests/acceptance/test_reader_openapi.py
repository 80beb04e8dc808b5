"""What the reader answers is what its description declares, and no request, however bad, makes it fail."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from importlib import import_module
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from redis import Redis

from reader.asgi import Application, Receive, Scope, Send
from reader.connection import Connection
from reader.guard import Guard
from reader.handler import Reader
from reader.report import ReportResponder
from reader.store import StoredReports
from sessions import SyncSessions
from tests.environments import EnvironmentUnavailable, environment, import_from
from tests.reader_corpus import CASES, Bad
from tests.reader_process import REPORT, document, meta

SCHEMATHESIS = "schemathesis==4.32.5"
"""In an environment of its own: it brings rich, which structlog would load at each start of a process."""
LONG = timedelta(seconds=20)
SCOPE = 17
CATALOGUE = "momentus:{reports}:catalogue:default"
SCHEMA = {"type": "object", "required": ["people"], "properties": {"people": {"type": "integer"}}}
BODY = {"report": "general", "scope": SCOPE, "as_of": "2026-11-20T10:00:00.000Z", "data": {"people": 3}}


@pytest.fixture
def token(valkey_url: str) -> Iterator[str]:
    """A session that may read what is stored: a report with a schema, a removed node, a closed day; one waits."""
    with Redis.from_url(valkey_url) as redis, closing(SyncSessions.connect(valkey_url, deadline=LONG)) as sessions:
        stored = document(SCOPE, [1, SCOPE], json.dumps(BODY).encode())
        redis.hset(REPORT, mapping={**stored, **document(18, [1, 18], b""), "gone:18": b"1", **meta()})
        redis.hset(REPORT.replace("snapshot", "closed") + ":2026-11-20", mapping={**stored, **meta()})
        for name, entry in {
            "general": {"title": "General", "schema": SCHEMA},
            "waiting": {"title": "Later"},
        }.items():
            redis.hset(CATALOGUE, name, json.dumps(entry))
        yield sessions.create("u-17", {"roots": [1]})[0]


class EachOnItsOwn:
    """The reader as an ASGI application whose every request may come on another event loop."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = Connection(self._url, deadline=LONG)
        guard, store = Guard(connection), StoredReports(connection, tenant="default")
        try:
            await Application(Reader(store, ReportResponder(store, guard), guard))(scope, receive, send)
        finally:
            await connection.close()


# What is declared


@pytest.fixture(scope="module")
def schemathesis() -> Any:
    try:
        import_from(environment("openapi", SCHEMATHESIS))
    except EnvironmentUnavailable as reason:
        pytest.skip(str(reason))
    return import_module("schemathesis")


def try_out(schemathesis: Any, url: str, token: str, examples: int) -> None:
    """Requests for every declared operation, good and bad ones; what comes back is what is declared."""
    login = {"Authorization": f"Bearer {token}"}
    schema = schemathesis.openapi.from_asgi("/openapi.json", EachOnItsOwn(url), headers=login)
    ok = import_module("schemathesis.core.result").Ok
    not_a_server_error = import_module("schemathesis.checks").not_a_server_error
    operations = [one.ok() for one in schema.get_all_operations() if isinstance(one, ok)]
    assert {(one.method, one.path) for one in operations} > {
        ("get", "/v1/reports/general/{scope}"),
        ("head", "/v1/reports/waiting/{scope}"),
        ("get", "/v1/reports"),
        ("get", "/v1/reports/general"),
        ("head", "/v1/reports/general/{scope}/children"),
        ("get", "/v1/events"),
        ("get", "/readyz"),
    }
    for operation in operations:
        known = {"scope": SCOPE} if "{scope}" in operation.path else None
        strategies = [operation.as_strategy(generation_mode=mode) for mode in schemathesis.GenerationMode]

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=st.one_of(operation.as_strategy(path_parameters=known), *strategies), logged_in=st.booleans())
        def conforms(case: Any, *, logged_in: bool) -> None:
            answer = case.call(headers=login if logged_in else {})
            assert answer.status_code != 500
            case.validate_response(answer, excluded_checks=[not_a_server_error])  # 503 and 504 are declared

        conforms()


def test_every_answer_is_one_that_the_description_declares(schemathesis: Any, valkey_url: str, token: str) -> None:
    try_out(schemathesis, valkey_url, token, 4)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_very_many_answers_are_ones_that_the_description_declares(
    schemathesis: Any, valkey_url: str, token: str
) -> None:
    try_out(schemathesis, valkey_url, token, 500)


# What is declared, and is no report


SPOILT = {
    b"not_json": b"{",
    b"not_utf8": b'"\xff"',
    b"not_an_object": b"[1]",
    b"schema_of_a_number": b'{"schema": 7}',
    b"deep": b'{"schema": {"a": ' + b"[" * 250 + b"]" * 250 + b"}}",
    b"Not a name": b"{}",
    b"\xff": b"{}",
}
"""Entries of a catalogue that something else has written."""


async def test_a_spoilt_entry_of_the_catalogue_is_left_out_and_the_log_says_so_once(
    valkey_url: str, token: str, caplog: pytest.LogCaptureFixture
) -> None:
    with Redis.from_url(valkey_url) as redis:
        redis.hset(CATALOGUE, mapping=dict(SPOILT.items()))
    described = Bad(seed=0, status=200, path="/openapi.json")
    async with application(valkey_url) as reader:
        answers = [await ask(reader, described, token) for _ in range(2)]
    assert [status for status, _, _ in answers] == [200, 200]
    paths = {path for path in json.loads(answers[0][2])["paths"] if path.startswith("/v1/reports/")}
    reports = {f"/v1/reports/{name}" for name in ("general", "waiting")}
    assert paths == {f"{one}{rest}" for one in reports for rest in ("", "/{scope}", "/{scope}/children")}
    assert len([one for one in caplog.messages if "left out" in one]) == len(SPOILT)


@pytest.mark.parametrize(("roots", "status", "names"), [(None, 401, 0), ([], 200, 0), ([1], 200, 1)])
async def test_the_description_names_reports_to_those_who_may_read_some_and_to_nobody_else(
    valkey_url: str, token: str, roots: list[int] | None, status: int, names: int
) -> None:
    described = Bad(seed=0, status=200, path="/openapi.json", logged_in=roots is not None)
    if roots is not None:
        with closing(SyncSessions.connect(valkey_url, deadline=LONG)) as sessions:
            token = sessions.create("u-18", {"roots": roots})[0]
    async with application(valkey_url) as reader:
        found, _, body = await ask(reader, described, token)
    assert found == status
    assert (b"general" in body) is bool(names)


async def test_the_stream_of_hints_is_described_with_its_refusals(valkey_url: str, token: str) -> None:
    async with application(valkey_url) as reader:
        _, _, body = await ask(reader, Bad(seed=0, status=200, path="/openapi.json"), token)
    events = json.loads(body)["paths"]["/v1/events"]["get"]
    assert list(events["responses"]["200"]["content"]) == ["text/event-stream"]
    assert set(events["responses"]) == {"200", "401", "404", "503"}
    assert [one["name"] for one in events["parameters"]] == ["report"]
    assert events["security"]


# Bad requests


async def ask(application: Application, bad: Bad, token: str) -> tuple[int, dict[str, str], bytes]:
    """One request as a server would hand it over; status, headers and body."""
    sent: list[Any] = []
    login = [("authorization", f"Bearer {token}")] if bad.logged_in else []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("no body is read")

    scope = {
        "type": "http",
        "method": bad.method,
        "path": bad.path,
        "query_string": bad.query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in [*login, *bad.headers]],
    }
    await application(scope, receive, send)
    start, body = sent
    return start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, body["body"]


def check(bad: Bad, answer: tuple[int, dict[str, str], bytes]) -> None:
    status, headers, body = answer
    assert status != 500, bad
    if status >= 400:
        assert headers["content-type"] == "application/problem+json", bad
        assert json.loads(body)["status"] == status, bad
        assert headers["cache-control"] == "no-store", bad


@asynccontextmanager
async def application(url: str) -> AsyncIterator[Application]:
    connection = Connection(url, deadline=LONG)
    guard, store = Guard(connection), StoredReports(connection, tenant="default")
    try:
        yield Application(Reader(store, ReportResponder(store, guard), guard))
    finally:
        await connection.close()


async def test_each_bad_request_gets_the_status_that_is_right_for_it(valkey_url: str, token: str) -> None:
    async with application(valkey_url) as reader:
        for bad in CASES:
            answer = await ask(reader, bad, token)
            assert answer[0] == bad.status, bad
            check(bad, answer)


@pytest.mark.parametrize("count", [10, pytest.param(3000, marks=[pytest.mark.long, pytest.mark.timeout(1200)])])
async def test_no_form_of_a_bad_request_makes_the_reader_fail(valkey_url: str, token: str, count: int) -> None:
    async with application(valkey_url) as reader:
        for bad in CASES:
            for form in bad.forms(count):
                check(form, await ask(reader, form, token))


def test_every_bad_request_has_a_seed_of_its_own() -> None:
    assert len({bad.seed for bad in CASES}) == len(CASES)
