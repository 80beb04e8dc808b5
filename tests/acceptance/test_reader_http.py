"""The reader's HTTP: order, limits and ends of a connection, on real sockets."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from hypothesis import given, settings, strategies as st

from reader.http import client as connection, listener, parse
from reader.http.client import HTTPExchange, Serve
from reader.http.listener import Listener
from reader.http.socket import bind_socket
from reader.message import Response
from tests.reader_process import Reply, read_reply
from tests.support import eventually

MORE_THAN_A_FEW = 40


@dataclass
class Served:
    """A listener and its port."""

    listener: Listener
    port: int

    async def raw(self, octets: bytes, *, half_close: bool = False) -> bytes:
        """All that comes back for some octets, until the reader ends the connection."""
        async with connected(self.port) as (reader, writer):
            writer.write(octets)
            if half_close:
                writer.write_eof()
            async with asyncio.timeout(20):
                return await reader.read()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def served(serve: Serve, *, limit: int = 100) -> AsyncIterator[Served]:
    listening = bind_socket("127.0.0.1", 0, shared=False)
    one = Listener(serve, listening, limit=limit)
    await one.start()
    try:
        yield Served(one, listening.getsockname()[1])
    finally:
        await one.stop(shared=False, grace_s=0)


def echo(exchange: HTTPExchange) -> None:
    """What was asked, as JSON."""
    asked = exchange.request
    body = [asked.method, asked.path, asked.query, asked.values("host"), asked.values("x-mark")]
    exchange.respond(Response(200, "echo", body=json.dumps(body).encode()))


def get(target: str = "/", *lines: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: test", *lines, "", ""]).encode("latin-1")


def last(target: str = "/") -> bytes:
    return get(target, "Connection: close")


async def replies(octets: bytes) -> list[Reply]:
    """Every answer in the octets."""
    reader = asyncio.StreamReader()
    reader.feed_data(octets)
    reader.feed_eof()
    found = []
    while not reader.at_eof():
        found.append(await read_reply(reader))
    return found


def problem(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.problem


# Order


async def test_answers_leave_in_the_order_of_their_requests_however_long_one_takes() -> None:
    slow = asyncio.Event()
    held: list[HTTPExchange] = []

    def serve(exchange: HTTPExchange) -> None:
        if exchange.request.path == "/slow":
            held.append(exchange)
            slow.set()
        else:
            echo(exchange)

    async with served(serve) as here:
        asking = asyncio.create_task(here.raw(get("/slow") + get("/a") + last("/b")))
        await slow.wait()
        echo(held[0])
        answers = await replies(await asking)
    assert [json.loads(one.body)[1] for one in answers] == ["/slow", "/a", "/b"]


async def test_who_sends_far_ahead_is_answered_to_the_end() -> None:
    async with served(echo) as here:
        asked = b"".join(get(f"/{number}") for number in range(MORE_THAN_A_FEW)) + last("/last")
        answers = await replies(await here.raw(asked))
    assert [json.loads(one.body)[1] for one in answers][-2:] == [f"/{MORE_THAN_A_FEW - 1}", "/last"]
    assert len(answers) == MORE_THAN_A_FEW + 1


async def test_who_sends_far_ahead_of_a_slow_answer_is_not_read_without_end() -> None:
    held: list[HTTPExchange] = []
    async with served(held.append) as here, connected(here.port) as (_, writer):
        writer.transport.set_write_buffer_limits(0)
        flood = get("/" + "x" * 4000) * 10_000

        async def pour() -> None:
            writer.write(flood)
            await writer.drain()

        pouring = asyncio.create_task(pour())
        await eventually(lambda: held)
        done, _ = await asyncio.wait({pouring}, timeout=0.3)
        assert not done, "forty megabytes were taken in while one answer was being made"
        pouring.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await pouring
        writer.transport.abort()


@settings(deadline=None, max_examples=60)
@given(cuts=st.lists(st.integers(1, 200), max_size=12))
async def test_how_the_octets_arrive_changes_nothing(cuts: list[int]) -> None:
    asked = get("/a%20b?x=%20", "X-Mark: one", "x-mark: two") + last("http://elsewhere/c?d")
    pieces, rest = [], asked
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    async with served(echo) as here, connected(here.port) as (reader, writer):
        for piece in [*pieces, rest]:
            writer.write(piece)
            await asyncio.sleep(0)
        answers = await replies(await reader.read())
    assert [json.loads(one.body) for one in answers] == [
        ["GET", "/a%20b", "x=%20", ["test"], ["one", "two"]],
        ["GET", "/c", "d", ["test"], []],
    ]


async def test_the_same_octets_are_the_same_request_wherever_they_come() -> None:
    """Also in pieces, behind others, and while another one is being answered."""
    one = get("/a", "X-Mark: one")
    async with served(echo) as here, connected(here.port) as (reader, writer):
        for octets in (one, one, get("/b"), one[:20], one[20:], one + one):
            writer.write(octets)
            await asyncio.sleep(0)
        writer.write(last("/c"))
        answers = await replies(await reader.read())
    paths = [json.loads(answer.body)[1] for answer in answers]
    assert paths == ["/a", "/a", "/b", "/a", "/a", "/a", "/c"]


async def test_head_has_the_length_and_not_the_body() -> None:
    async with served(echo) as here:
        answer = await here.raw(get("/a", "Connection: close", method="HEAD"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert body == b""
    assert int(head.rpartition(b"content-length: ")[2]) > 0


# Limits


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (get("/" + "a" * parse.TARGET_LIMIT), (414, "target-too-long")),
        (get("/", "X: " + "y" * parse.HEAD_LIMIT), (431, "head-too-large")),
        (get("/", *["X: y"] * parse.HEAD_LIMIT), (431, "head-too-large")),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 2 * parse.REQUEST_LIMIT, (431, "head-too-large")),
        (
            get("/", "Content-Length: 9999999", method="POST") + b"x" * 2 * parse.BODY_LIMIT,
            (413, "body-too-large"),
        ),
        (b"GET / HTTP/1.1\r\n\r\n", (400, "malformed")),
        (get("/", "Host: two"), (400, "malformed")),
        (get("/", "Content-Length: 3", "Transfer-Encoding: chunked") + b"0\r\n\r\n", (400, "malformed")),
        (get("/", "Content-Length: 3", "Content-Length: 4") + b"abcd", (400, "malformed")),
        (get("/", "X : y"), (400, "malformed")),
        (b"GET / HTTP/1.1\nHost: test\n\n", (400, "malformed")),
        (b"\x16\x03\x01\x02\x00\x01", (400, "malformed")),
        (b"GET / HTTP/9.9\r\nHost: test\r\n\r\n", (400, "malformed")),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, "malformed")),
        (get("/", method="BREW"), (405, "method-not-allowed")),
    ],
)
async def test_what_cannot_be_read_is_refused_by_its_name_and_ends_the_connection(
    octets: bytes, expected: tuple[int, str]
) -> None:
    async with served(echo) as here:
        (reply,) = await replies(await here.raw(octets))
    assert problem(reply) == expected
    assert reply.headers["connection"] == "close"


async def test_a_fault_is_answered_after_the_requests_before_it_and_nothing_after_it() -> None:
    async with served(echo) as here:
        answers = await replies(await here.raw(get("/a") + b"\x00\r\n\r\n" + get("/b")))
        unknown = await replies(await here.raw(get("/a") + get("/b", method="BREW") + get("/c")))
    assert [one.status for one in answers] == [200, 400]
    assert [one.status for one in unknown] == [200, 405]


async def test_a_small_body_is_read_and_forgotten() -> None:
    sent = get("/a", "Content-Length: 5", method="POST") + b"GET /" + get("/b") + last("/c")
    async with served(echo) as here:
        answers = await replies(await here.raw(sent))
    assert [json.loads(one.body)[:2] for one in answers] == [["POST", "/a"], ["GET", "/b"], ["GET", "/c"]]


async def test_who_asks_before_sending_a_body_is_answered_without_it() -> None:
    asked = get("/a", "Expect: 100-continue", "Content-Length: 100000000", method="POST")
    async with served(echo) as here, connected(here.port) as (reader, writer):
        writer.write(asked)
        answers = await replies(await reader.read())
    assert [one.status for one in answers] == [200]


async def test_an_upgrade_is_an_ordinary_request_and_the_last_one() -> None:
    asked = get("/a", "Connection: Upgrade", "Upgrade: websocket") + b"\x81\x00"
    async with served(echo) as here:
        (reply,) = await replies(await here.raw(asked))
    assert reply.status == 200


async def test_a_client_of_http_1_0_is_answered_and_let_go() -> None:
    async with served(echo) as here:
        (reply,) = await replies(await here.raw(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"))
    assert (reply.status, reply.headers["connection"]) == (200, "close")


async def test_a_client_that_will_ask_no_more_still_gets_what_it_asked_for() -> None:
    asked = asyncio.Event()
    held: list[HTTPExchange] = []

    def serve(exchange: HTTPExchange) -> None:
        held.append(exchange)
        asked.set()

    async with served(serve) as here:
        asking = asyncio.create_task(here.raw(get("/a"), half_close=True))
        await asked.wait()
        await asyncio.sleep(0)
        echo(held[0])
        (reply,) = await replies(await asking)
    assert reply.status == 200


async def test_one_connection_too_many_is_told_so() -> None:
    async with served(echo, limit=2) as here, connected(here.port) as first, connected(here.port) as second:
        for reader, writer in (first, second):
            writer.write(get("/a"))
            assert (await read_reply(reader)).status == 200
        (reply,) = await replies(await here.raw(b""))
    assert problem(reply) == (503, "too-many-connections")


async def test_a_field_with_a_line_break_never_leaves() -> None:
    refused: list[ValueError] = []

    def serve(exchange: HTTPExchange) -> None:
        try:
            exchange.respond(Response(200, "bad", (("x", "a\r\nset-cookie: b"),)))
        except ValueError as error:
            refused.append(error)
            exchange.respond(Response(500, "fault"))

    async with served(serve) as here:
        answer = await here.raw(last())
    assert refused
    assert b"set-cookie" not in answer


# Time


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes one of the deadlines short."""
    monkeypatch.setattr(listener, "_SWEEP_S", 0.01)
    return lambda name: monkeypatch.setattr(connection, name, 0.02)


async def test_a_request_that_does_not_come_to_its_end_is_given_up(hurried: Callable[[str], None]) -> None:
    hurried("HEAD_S")
    async with served(echo) as here:
        (reply,) = await replies(await here.raw(b"GET / HTTP/1.1\r\nHost: te"))
    assert problem(reply) == (408, "too-slow")


async def test_octet_by_octet_is_no_way_around_it(hurried: Callable[[str], None]) -> None:
    hurried("HEAD_S")
    async with served(echo) as here, connected(here.port) as (reader, writer):
        reading = asyncio.create_task(reader.read())
        for octet in get("/" + "a" * 4000):
            if reading.done():
                break
            writer.write(bytes([octet]))
            await asyncio.sleep(0.001)  # the client's own slowness
        (reply,) = await replies(await reading)
    assert problem(reply) == (408, "too-slow")


@pytest.mark.parametrize(("asked", "deadline"), [(b"", "HEAD_S"), (get("/a"), "IDLE_S")])
async def test_a_silent_connection_ends_without_a_word(
    hurried: Callable[[str], None], asked: bytes, deadline: str
) -> None:
    hurried(deadline)
    async with served(echo) as here:
        answers = await replies(await here.raw(asked))
    assert [one.status for one in answers] == ([200] if asked else [])


async def test_a_client_that_does_not_take_its_answer_is_dropped(hurried: Callable[[str], None]) -> None:
    hurried("WRITE_S")
    large = b"x" * 50_000_000
    clients: list[object] = []

    def serve(exchange: HTTPExchange) -> None:
        clients.append(exchange)
        exchange.respond(Response(200, "large", body=large))

    async with served(serve) as here, connected(here.port) as (reader, writer):
        writer.write(get("/a"))
        await eventually(lambda: clients)
        await eventually(lambda: not here.listener.clients)
        taken = 0
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(1 << 20):
                taken += len(chunk)
        assert taken < len(large)


# Parts


async def test_an_answer_in_parts_arrives_as_it_is_made_and_ends_when_it_is_over() -> None:
    more = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []

    async def tell(exchange: HTTPExchange) -> None:
        parts = exchange.respond_in_parts(200, (("content-type", "text/event-stream"),))
        await parts.send_str("one")
        await more.wait()
        await parts.send_str("two")
        parts.end()

    def serve(exchange: HTTPExchange) -> None:
        tasks.append(asyncio.create_task(tell(exchange)))

    async with served(serve) as here, connected(here.port) as (reader, writer):
        writer.write(get("/events"))
        head = await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(3) == b"one"
        more.set()
        assert await reader.read() == b"two"
    assert b"connection: close" in head


async def test_whoever_makes_parts_is_told_that_the_client_has_gone() -> None:
    tasks: list[asyncio.Task[None]] = []

    async def tell(exchange: HTTPExchange) -> None:
        parts = exchange.respond_in_parts(200, ())
        while True:
            await parts.send_str("x" * 1000)
            await asyncio.sleep(0)

    async with served(lambda exchange: tasks.append(asyncio.create_task(tell(exchange)))) as here:
        async with connected(here.port) as (reader, writer):
            writer.write(get("/events"))
            await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(20):
            with pytest.raises(ConnectionResetError):
                await tasks[0]


# The end


async def test_told_to_stop_it_finishes_what_has_begun_and_ends_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "LINGER_S", 0.02)
    held: list[HTTPExchange] = []

    def serve(exchange: HTTPExchange) -> None:
        if exchange.request.path == "/held":
            held.append(exchange)
        else:
            echo(exchange)

    async with (
        served(serve) as here,
        connected(here.port) as (idle, idle_writer),
        connected(here.port) as (busy, busy_writer),
        connected(here.port) as (fresh, fresh_writer),
    ):
        idle_writer.write(get("/a"))
        assert (await read_reply(idle)).status == 200
        busy_writer.write(get("/held"))
        await eventually(lambda: held)
        await eventually(lambda: len(here.listener.clients) == 3)
        stopping = asyncio.create_task(here.listener.stop(shared=False, grace_s=20))
        assert await idle.read() == b"", "nothing was under way"
        fresh_writer.write(get("/fresh"))
        reply = await read_reply(fresh)
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        echo(held[0])
        assert (await read_reply(busy)).status == 200
        assert await stopping
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", here.port)


async def test_a_client_that_asks_within_a_moment_of_the_end_is_answered_and_told_that_it_was_the_last_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener, "_NEXT_S", 20)
    async with served(echo) as here, connected(here.port) as (reader, writer):
        writer.write(get("/a"))
        assert "connection" not in (await read_reply(reader)).headers
        stopping = asyncio.create_task(here.listener.stop(shared=False, grace_s=20))
        await eventually(lambda: all(client._is_ending for client in here.listener.clients))
        writer.write(get("/b") + get("/c") + get("/d"))
        answers = await replies(await reader.read())
        writer.close()
        assert await stopping
    assert [json.loads(one.body)[1] for one in answers] == ["/b", "/c", "/d"], "what has come is answered"
    assert ["connection" in one.headers for one in answers] == [False, False, True], "and the last one says so"


async def test_what_a_client_sends_behind_its_last_answer_does_not_take_that_answer_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A connection that is closed with something unread is reset, and the answer may be lost with it."""
    monkeypatch.setattr(listener, "_NEXT_S", 20)
    async with served(echo) as here, connected(here.port) as (reader, writer):
        writer.write(get("/a"))
        await read_reply(reader)
        stopping = asyncio.create_task(here.listener.stop(shared=False, grace_s=20))
        await eventually(lambda: all(client._is_ending for client in here.listener.clients))
        writer.write(get("/b"))
        await eventually(lambda: all(client._ignores_input for client in here.listener.clients))
        writer.write(get("/late"))
        await writer.drain()
        (answer,) = await replies(await reader.read())
        assert (json.loads(answer.body)[1], answer.headers["connection"]) == ("/b", "close")
        writer.close()
        assert await stopping


async def test_who_asks_on_and_on_is_told_to_go_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LINGER_S", 0.02)
    async with served(echo) as here, connected(here.port) as (reader, writer):

        async def pour() -> None:
            while True:
                writer.write(get("/a"))
                await writer.drain()
                await asyncio.sleep(0)

        pouring = asyncio.create_task(pour())
        await read_reply(reader)
        stopping = asyncio.create_task(here.listener.stop(shared=False, grace_s=20))
        async with asyncio.timeout(20):
            while "connection" not in (await read_reply(reader)).headers:
                pass
        pouring.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await pouring
        writer.close()
        assert await stopping


async def test_a_silent_connection_is_not_closed_while_something_has_come_on_it() -> None:
    """Neither at the end nor when its time between two requests is over."""
    async with served(echo) as here, connected(here.port) as (reader, writer):
        writer.write(get("/a"))
        await read_reply(reader)
        (client,) = here.listener.clients
        sender = writer.transport.get_extra_info("socket")
        assert sender.fileno() >= 0
        os.write(sender.fileno(), get("/b"))  # at once: the event loop has had no time to read it
        client.end()
        client.enforce_deadline()
        assert (await read_reply(reader)).headers["connection"] == "close"


async def test_who_asks_very_much_at_once_holds_nobody_else_up() -> None:
    served_paths: list[str] = []

    def serve(exchange: HTTPExchange) -> None:
        served_paths.append(exchange.request.path)
        echo(exchange)

    async with served(serve) as here, connected(here.port) as (_, greedy), connected(here.port) as (reader, other):
        for writer in (greedy, other):
            writer.write(get("/before"))
        await eventually(lambda: len(served_paths) == 2)
        greedy.write(get("/greedy") * 3000)
        other.write(get("/other"))
        assert [(await read_reply(reader)).status for _ in range(2)] == [200, 200]
        assert served_paths.index("/other") < 1000
        greedy.transport.abort()


async def test_who_sends_far_ahead_and_then_no_more_is_answered_to_the_end() -> None:
    asked = b"".join(get(f"/{number}") for number in range(300))
    async with served(echo) as here:
        answers = await replies(await here.raw(asked, half_close=True))
        halved = await replies(await here.raw(asked[:-5], half_close=True))
    assert [json.loads(one.body)[1] for one in answers] == [f"/{number}" for number in range(300)]
    assert len(halved) == 299, "half a request is none"


async def test_who_never_finishes_a_request_is_not_waited_for_beyond_the_grace() -> None:
    async with served(echo) as here, connected(here.port) as (_, writer):
        writer.write(b"GET / HT")
        await eventually(lambda: here.listener.clients)
        assert not await here.listener.stop(shared=False, grace_s=0.05)
