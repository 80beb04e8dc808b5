"""What strangers can make a reader hold: requests that pile up, answers that are not taken, texts that differ."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module

import pytest

from reader.backlog import Backlog
from reader.http import client as connection
from reader.http.client import ClientConnection, HTTPExchange
from reader.http.listener import Listener
from reader.http.request import ParsedRequests
from reader.http.socket import bind_socket
from reader.memo import MEMOS
from reader.message import Request, Response
from tests.support import eventually

MIB = 1024 * 1024
ANSWER = bytes(60 * 1024)
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Counting:
    """Answers each request, and knows how many there were."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, exchange: HTTPExchange) -> None:
        self.count += 1
        exchange.respond(Response(200, "some", body=ANSWER))


@asynccontextmanager
async def listening(serve: Counting, backlog: Backlog | None = None) -> AsyncIterator[tuple[Listener, int]]:
    bound = bind_socket("127.0.0.1", 0, shared=False)
    one = Listener(serve, bound, limit=100, backlog=backlog)
    await one.start()
    try:
        yield one, bound.getsockname()[1]
    finally:
        await one.stop(shared=False, grace_s=0)


async def flood(port: int, octets: bytes) -> socket.socket:
    """A client that sends as long as somebody takes it, and reads nothing."""
    client = socket.create_connection(("127.0.0.1", port))
    client.settimeout(0)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for _ in range(200):
        try:
            client.send(octets)
        except BlockingIOError:
            break
        await asyncio.sleep(0)
    return client


def held(client: ClientConnection) -> int:
    """Bytes that one connection keeps in this process."""
    waiting = client._transport.get_write_buffer_size() if client._transport else 0
    return waiting + len(client._unread) + sum(2048 for _ in client._waiting)


async def stalled(one: Listener) -> ClientConnection:
    """The connection, once it has come to a halt."""

    async def found() -> ClientConnection | None:
        return next((client for client in one.clients if client._drained is not None and client._unread), None)

    return await eventually(found)


async def test_a_client_that_asks_on_and_never_reads_costs_at_most_a_mebibyte() -> None:
    serve = Counting()
    async with listening(serve) as (one, port):
        with await flood(port, REQUEST * 3000):
            client = await stalled(one)
            answered = serve.count
            assert held(client) < MIB
            await asyncio.sleep(0)
            assert serve.count == answered < 3000, "nothing is answered that nobody takes"


async def test_a_client_that_reads_late_gets_all_its_answers_in_order() -> None:
    serve = Counting()
    async with listening(serve) as (one, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
        writer.write(REQUEST * 200)
        await stalled(one)
        for _ in range(200):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            await reader.readexactly(len(ANSWER))
        assert serve.count == 200
        writer.close()


async def test_the_connection_of_a_client_that_never_reads_ends_in_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "WRITE_S", 0.05)
    async with listening(Counting()) as (one, port):
        with await flood(port, REQUEST * 3000):
            await eventually(lambda: bool(one.clients))
            await eventually(lambda: not one.clients)


async def test_a_refused_client_that_never_reads_is_not_kept_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a request stands behind the last one that is answered."""
    monkeypatch.setattr(connection, "WRITE_S", 0.05)
    async with listening(Counting()) as (one, port):
        ending = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET / HT"
        with await flood(port, REQUEST * 100 + ending):
            await eventually(lambda: bool(one.clients))
            await eventually(lambda: not one.clients)


async def test_all_connections_together_have_a_budget_and_the_one_held_up_for_longest_ends_first() -> None:
    backlog = Backlog(limit=MIB)
    async with listening(Counting(), backlog) as (one, port):
        clients = [await flood(port, REQUEST * 3000)]
        first = await stalled(one)
        for _ in range(12):
            clients.append(await flood(port, REQUEST * 3000))
            assert backlog.size <= MIB
        await eventually(lambda: first not in one.clients)
        assert one.clients, "the others go on"
        for client in clients:
            client.close()
        await eventually(lambda: not one.clients)
        assert backlog.size == 0


async def test_requests_that_never_become_whole_count_against_the_budget() -> None:
    backlog = Backlog(limit=200_000)
    async with listening(Counting(), backlog) as (_, port):
        pairs = [await asyncio.open_connection("127.0.0.1", port) for _ in range(10)]
        for _, writer in pairs:
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n" + bytes(40_000))
        async with asyncio.timeout(20):
            assert await pairs[0][0].read() == b"", "the first to be held up is the first to go"
        assert backlog.size <= 200_000
        for _, writer in pairs:
            writer.close()


def test_no_memo_is_filled_beyond_its_bytes_however_large_or_many_the_texts() -> None:
    import_module("reader.handler")
    assert len(MEMOS) > 8
    for one in MEMOS:
        memo = type(one)(lambda key: key, limit=one.limit, weigh=len)
        for number in range(20_000):
            assert memo[f"{number}".rjust(1024)]
        assert memo.held == sum(4 * len(key) + 300 for key in memo) <= memo.limit
        before = len(memo)
        assert memo["x" * 10_000]
        assert len(memo) == before, "what is large is not kept"


def test_requests_that_all_differ_are_kept_up_to_a_bound() -> None:
    kept = ParsedRequests()
    for number in range(20_000):
        octets = b"GET /%d HTTP/1.1" % number + bytes(4000)
        kept.keep_request(octets, Request("GET", f"/{number}"))
        assert octets not in kept._requests, "one that came once costs nothing"
        kept.keep_request(octets, Request("GET", f"/{number}"))
        assert octets in kept._requests
    assert kept.held <= 16 * MIB
    assert len(kept._seen) <= 8192
    assert kept.held >= sum(3 * len(octets) for octets in kept._requests)
