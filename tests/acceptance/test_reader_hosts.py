"""A page of the web that has its own name point at this machine reads nothing (DNS rebinding)."""

import json
from contextlib import closing

import pytest
from redis.asyncio import Redis

from sessions import SyncSessions
from tests.reader_process import REPORT, Client, LastingReaders, Reply, document, meta, read_reply
from tests.support import eventually

URL = "/v1/reports/general/1"
PAGES = (URL, "/v1/reports/absent/1", "/v1/events?report=general", "/openapi.json", "/metrics", "/nowhere")


@pytest.fixture
async def stored(valkey_url: str) -> None:
    async with Redis.from_url(valkey_url) as redis:
        await redis.hset(REPORT, mapping=document(1, [1], b"{}") | meta(soft_s=3000, hard_s=3000))


async def ask(port: int, target: str, host: str, *lines: str, method: str = "GET") -> Reply:
    """The answer to one request, asked again while this machine is too busy for Redis to answer in 50 ms."""

    async def served() -> Reply | None:
        reply = await ask_once(port, target, host, *lines, method=method)
        return None if reply.problem == "redis-unreachable" else reply

    reply: Reply = await eventually(served)
    return reply


async def ask_once(port: int, target: str, host: str, *lines: str, method: str) -> Reply:
    async with Client(port) as client:
        reader, writer = await client.connect()
        named = [f"Host: {host}"] if host else []
        version = "1.1" if named else "1.0"
        asked = [f"{method} {target} HTTP/{version}", *named, "Connection: close", *lines, "", ""]
        writer.write("\r\n".join(asked).encode())
        return await read_reply(reader)


@pytest.mark.usefixtures("stored")
async def test_an_open_reader_answers_to_the_names_of_this_machine_and_to_no_other(
    valkey_url: str, lasting_readers: LastingReaders
) -> None:
    port = await lasting_readers.port(valkey_url, READER__ACCESS="open")
    for host in (f"127.0.0.1:{port}", "localhost", f"[::1]:{port}"):
        assert (await ask(port, URL, host)).status == 200, host
    for host in ("evil.example", f"127.0.0.1.evil.example:{port}", "10.0.0.1", ""):
        for page in PAGES:
            reply = await ask(port, page, host)
            assert (reply.status, reply.problem) == (421, "misdirected"), (host, page)
        assert (await ask(port, URL, host, method="OPTIONS")).status == 421, host
        for probe in ("/healthz", "/readyz"):
            assert (await ask(port, probe, host)).status == 200, (host, probe)


@pytest.mark.usefixtures("stored")
async def test_of_a_target_that_is_a_whole_address_its_own_host_counts(
    valkey_url: str, lasting_readers: LastingReaders
) -> None:
    port = await lasting_readers.port(valkey_url, READER__ACCESS="open")
    assert (await ask(port, f"http://evil.example{URL}", "localhost")).status == 421
    assert (await ask(port, f"http://localhost:{port}{URL}", "evil.example")).status == 200
    assert (await ask(port, f"http://evil.example?x=://localhost{URL}", "localhost")).status == 421


@pytest.mark.usefixtures("stored")
async def test_names_that_are_listed_are_answered_to_besides(
    valkey_url: str, lasting_readers: LastingReaders
) -> None:
    listed = {"READER__ACCESS": "open", "READER__ALLOWED_HOSTS": "reports.example [fd00::7]"}
    port = await lasting_readers.port(valkey_url, **listed)
    for host in ("reports.example", "REPORTS.example.:443", f"[fd00::7]:{port}", "localhost"):
        assert (await ask(port, URL, host)).status == 200, host
    assert (await ask(port, URL, "www.reports.example")).status == 421


@pytest.mark.parametrize(("listed", "status"), [("", 200), ("reports.example", 421)])
@pytest.mark.usefixtures("stored")
async def test_a_reader_with_sessions_is_asked_by_any_name_until_names_are_listed(
    valkey_url: str, lasting_readers: LastingReaders, listed: str, status: int
) -> None:
    """Behind a proxy it is asked by names that it need not know; a page of another name has no session there."""
    with closing(SyncSessions.connect(valkey_url)) as sessions:
        token, _ = sessions.create("u-1", {"roots": [1]})
    port = await lasting_readers.port(valkey_url, READER__ALLOWED_HOSTS=listed)
    login = f"Authorization: Bearer {token}"
    assert (await ask(port, URL, "elsewhere.example", login)).status == status
    assert (await ask(port, URL, "reports.example", login)).status == 200
    refused = await ask(port, URL, "elsewhere.example")
    assert json.loads(refused.body)["status"] == (401 if status == 200 else 421)
