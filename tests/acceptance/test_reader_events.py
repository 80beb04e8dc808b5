"""Streams of hints: who gets one, what it says while Redis is away, and that a browser never loses it for good.

An EventSource that is answered anything but 200 when it comes back never comes again (WHATWG HTML, 9.2.3).
"""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from redis.asyncio import Redis

from local.embedded.ports import free_port
from reader import events, hints
from reader.hints import Hints
from sessions import Sessions
from tests.reader_corpus import FORGED
from tests.reader_process import (
    REPORT,
    Client,
    LastingReaders,
    Reply,
    document,
    meta,
    read_reply,
    reader_process,
    request,
)
from tests.support import OwnValkey, eventually

CATALOGUE = "momentus:{reports}:catalogue:default"
CHANGED = "momentus:{reports}:changed:default"
FOLLOW = "/v1/events?report=general"
OwnServer = Callable[..., Awaitable[OwnValkey]]


@dataclass
class Stream:
    """What a client is told, line by line.

    Attributes:
        said: all that has come.
    """

    status: int
    headers: dict[str, str]
    reader: asyncio.StreamReader
    said: str = ""

    async def until(self, text: str) -> None:
        """Read until the stream has said this."""
        async with asyncio.timeout(30):
            while text not in self.said:
                line = await self.reader.readline()
                assert line, f"the stream has ended without {text!r}: {self.said!r}"
                self.said += line.decode()

    async def rest(self) -> str:
        """Read to the end."""
        async with asyncio.timeout(30):
            self.said += (await self.reader.read()).decode()
        return self.said


@asynccontextmanager
async def following(port: int, token: str = "", target: str = FOLLOW) -> AsyncIterator[Stream]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request(target, token))
        async with asyncio.timeout(30):
            status, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.partition(": ") for line in lines if line)
        yield Stream(int(status.split()[1]), {name.lower(): value for name, _, value in pairs}, reader)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def prepare(url: str) -> None:
    async with Redis.from_url(url) as redis:
        await redis.hset(CATALOGUE, "general", json.dumps({"title": "General"}))
        await redis.hset(REPORT, mapping=document(1, [1], b"{}") | meta(soft_s=3000, hard_s=3000))


async def log_in(url: str, roots: list[int]) -> str:
    sessions = Sessions.connect(url)
    token, _ = await sessions.create("u-1", {"roots": roots})
    await sessions.close()
    return token


async def announce(url: str, gen: int) -> int:
    """Tell of a change; how many readers heard it."""
    async with Redis.from_url(url) as redis:
        return int(await redis.publish(CHANGED, json.dumps({"report": "general", "gen": gen})))


# While Redis is away


async def test_a_stream_that_begins_while_redis_is_away_says_so_and_goes_on_when_it_is_back(
    own_valkey: OwnServer, tmp_path: Path
) -> None:
    server = await own_valkey()
    await prepare(server.url)
    token = await log_in(server.url, [1])
    async with reader_process(server.url, tmp_path / "log") as port:
        await server.stop()
        async with following(port, token) as stream, following(port, FORGED) as stranger:
            for one in (stream, stranger):
                assert (one.status, one.headers["content-type"]) == (200, "text/event-stream")
                await one.until(": Redis does not reply")
            await server.start()
            await stream.until('event: back\ndata: {"report":"general"}\n')
            assert "Redis does not reply" in await stranger.rest(), "it ends, and who comes back is refused"
            await eventually(lambda: announce(server.url, 7))
            await stream.until('id: 7\nevent: changed\ndata: {"report":"general","gen":7}\n')
        async with following(port, FORGED) as stranger:
            assert stranger.status == 401


async def test_a_stream_that_was_open_is_told_once_changes_are_heard_again(
    own_valkey: OwnServer, tmp_path: Path
) -> None:
    server = await own_valkey()
    await prepare(server.url)
    token = await log_in(server.url, [1])
    async with reader_process(server.url, tmp_path / "log") as port, following(port, token) as stream:
        await stream.until("retry: 2000")
        await eventually(lambda: announce(server.url, 1))
        await stream.until('"gen":1}')
        stream.said = ""
        await server.stop()
        await server.start()
        await stream.until("event: back")
        assert "event: changed" not in stream.said


async def test_who_has_no_token_gets_no_stream_while_redis_is_away_either(
    own_valkey: OwnServer, tmp_path: Path
) -> None:
    server = await own_valkey()
    async with reader_process(server.url, tmp_path / "log") as port:
        await server.stop()
        for token in ("", "eyJhbGciOiJub25lIn0"):
            async with following(port, token) as stream:
                assert stream.status == 401


async def test_no_more_than_some_wait_for_redis(own_valkey: OwnServer, tmp_path: Path) -> None:
    server = await own_valkey()
    async with reader_process(server.url, tmp_path / "log", READER__ACCESS="open") as port:
        await server.stop()
        streams = [following(port) for _ in range(events.WAITING_LIMIT)]
        for one in streams:
            await one.__aenter__()
        async with following(port) as one_more:
            assert one_more.status == 200
            assert "retry: 30000" in await one_more.rest()
        for one in streams:
            await one.__aexit__(None, None, None)


# Room


async def test_one_session_does_not_take_all_streams(valkey_url: str, lasting_readers: LastingReaders) -> None:
    await prepare(valkey_url)
    greedy, other = await log_in(valkey_url, [1]), await log_in(valkey_url, [1])
    port = await lasting_readers.port(valkey_url)
    streams = [following(port, greedy) for _ in range(hints.OF_ONE_LIMIT)]
    for one in streams:
        await (await one.__aenter__()).until("retry: 2000")
    async with following(port, greedy) as refused, following(port, other) as stream:
        assert refused.status == 200, "a browser comes back"
        assert "retry: 30000" in await refused.rest()
        await stream.until("retry: 2000")
        await eventually(lambda: announce(valkey_url, 3))
        await stream.until("id: 3")
    await streams.pop().__aexit__(None, None, None)
    assert await eventually(lambda: has_room(port, greedy)), "a stream that ends leaves its place"
    for one in streams:
        await one.__aexit__(None, None, None)


async def has_room(port: int, token: str) -> bool:
    async with following(port, token) as stream:
        await stream.until("retry: ")
        return "retry: 2000" in stream.said


async def test_a_process_has_so_many_streams_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "STREAMS_LIMIT", 3)
    crowd, ends = Hints(), asyncio.Event()

    class Holding:
        async def send_str(self, _data: str) -> None:
            await ends.wait()

    tasks = [asyncio.create_task(crowd.follow_report("general", Holding(), f"{number}")) for number in range(3)]
    await eventually(lambda: not crowd.has_room("another"))
    crowd.close()
    ends.set()
    await asyncio.gather(*tasks)
    assert crowd.has_room("another")


async def test_a_session_that_may_read_nothing_follows_nothing(
    valkey_url: str, lasting_readers: LastingReaders
) -> None:
    await prepare(valkey_url)
    token = await log_in(valkey_url, [])
    port = await lasting_readers.port(valkey_url)
    for target in (FOLLOW, "/v1/events?report=absent"):
        async with following(port, token, target) as stream:
            assert stream.status == 404


@pytest.mark.parametrize("query", ["", "?report=", "?report=general&report=general", "?report=%67eneral"])
async def test_a_report_is_named_once_and_as_it_is(
    valkey_url: str, lasting_readers: LastingReaders, query: str
) -> None:
    await prepare(valkey_url)
    port = await lasting_readers.port(valkey_url, READER__ACCESS="open")
    async with following(port, target=f"/v1/events{query}") as stream:
        assert stream.status == 404


async def test_streams_end_with_the_process_and_do_not_hold_it_up(valkey_url: str, tmp_path: Path) -> None:
    await prepare(valkey_url)
    async with reader_process(valkey_url, tmp_path / "log", READER__ACCESS="open") as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(FOLLOW))
        await reader.readuntil(b"retry: 2000\n\n")
        reading = asyncio.create_task(reader.read())
        reading.add_done_callback(lambda _: writer.close())
    assert await reading in (b"", b'event: back\ndata: {"report":"general"}\n\n')  # whole events, then the end
    (stopped,) = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines() if "stops" in line]
    assert stopped["drained"]


# Behind a proxy


@asynccontextmanager
async def nginx(upstream: int, folder: Path) -> AsyncIterator[int]:
    """An nginx that knows nothing but where to pass requests on; its port."""
    program, port = shutil.which("nginx") or shutil.which("/usr/sbin/nginx"), free_port()
    if program is None:
        pytest.skip("no nginx on this machine")
    user = "user root;" if os.geteuid() == 0 else ""  # else its workers could not read the folder
    paths = (f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;"
        f"events {{}} http {{ access_log off; {' '.join(paths)}"
        f"server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://127.0.0.1:{upstream}; }} }} }}\n"
    )
    process = await asyncio.create_subprocess_exec(
        program, "-c", str(folder / "nginx.conf"), "-p", str(folder), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await eventually(lambda: _listens(port))
        yield port
    finally:
        process.terminate()
        await process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def test_behind_an_nginx_as_it_comes_a_hint_arrives_at_once(
    valkey_url: str, lasting_readers: LastingReaders, tmp_path: Path
) -> None:
    await prepare(valkey_url)
    token = await log_in(valkey_url, [1])
    async with nginx(await lasting_readers.port(valkey_url), tmp_path) as front:
        async with following(front, token) as stream:
            await stream.until("retry: 2000")
            for gen in range(1, 6):
                await eventually(lambda: announce(valkey_url, gen))  # noqa: B023  awaited here
                await stream.until(f"id: {gen}\n")  # held back, it would come with the next ones only
        async with Client(front, token) as client:
            assert (await client.get_served("/v1/reports/general/1")).status == 200
        async with following(front, FORGED) as stream:
            assert stream.status == 401


async def test_an_open_reader_answers_to_the_name_by_which_nginx_asks(
    valkey_url: str, lasting_readers: LastingReaders, tmp_path: Path
) -> None:
    await prepare(valkey_url)
    port = await lasting_readers.port(valkey_url, READER__ACCESS="open")
    async with nginx(port, tmp_path) as front, Client(front) as client:
        reader, writer = await client.connect()

        async def served() -> Reply | None:
            writer.write(b"GET /v1/reports/general/1 HTTP/1.1\r\nHost: reports.example\r\n\r\n")
            reply = await read_reply(reader)
            return None if reply.problem == "redis-unreachable" else reply

        assert (await eventually(served)).status == 200
