"""One connection to Redis that pipelines by itself: all commands of one loop tick leave in one write.

redis-py takes a connection out of a pool, checks it, and reads one reply before the next command may go; that
costs several times what Redis needs for an enqueue. Here callers share one connection, replies come back in
the order of the commands, and a caller that goes away leaves its reply to be dropped, never to be taken by
somebody else (CVE-2023-28858 was that fault).

What can go wrong: the connection is lost (every waiting caller gets :class:`ConnectionLost`; the next call
connects anew); a reply is overdue (the caller's deadline; :meth:`Link.drop` then gives up the connection, so
that nobody waits behind a stalled server). It refuses nothing and repeats nothing: a command whose reply was
lost may have been carried out, and only the caller knows whether it may be sent again.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, cast

import hiredis
from redis.connection import parse_url
from redis.exceptions import ConnectionError as ConnectionLost
from redis.exceptions import ResponseError

Argument = str | bytes | int


class Link:
    """A shared connection, made at the first call and again when it is lost. Belongs to one event loop.

    Args:
        url: ``redis://``, ``rediss://`` (TLS, certificate and host name checked) or ``unix://``.

    Raises:
        ValueError: an address of another form; its words may hold a part of the password.
    """

    def __init__(self, url: str) -> None:
        self._options: dict[str, Any] = dict(parse_url(url))  # type: ignore[no-untyped-call]
        self._secure = url.startswith("rediss://")
        self._wire: _Wire | None = None
        self._connecting: asyncio.Lock = asyncio.Lock()

    async def call(self, *command: Argument) -> Any:  # noqa: ANN401  a reply is whatever Redis says
        """Send one command; its reply.

        Raises:
            ResponseError: Redis refused it.
            ConnectionLost, OSError: it may or may not have been carried out.
        """
        (reply,) = await self.call_many((command,))
        if isinstance(reply, ResponseError):
            raise reply
        return reply

    async def call_many(self, commands: Iterable[Sequence[Argument]]) -> list[Any]:
        """Send commands together; their replies in order, refusals among them as values."""
        wire = self._wire
        if wire is None or wire.closed:
            wire = await self._connect()
        return await asyncio.gather(*[wire.send(command) for command in commands])

    def drop(self) -> None:
        """Give up the connection; callers that wait on it are told, and the next call makes another."""
        if self._wire is not None:
            self._wire.abort()

    async def close(self) -> None:
        """Close the connection."""
        self.drop()

    async def _connect(self) -> "_Wire":
        async with self._connecting:
            if self._wire is not None and not self._wire.closed:
                return self._wire
            wire = await self._open()
            replies = await asyncio.gather(*[wire.send(command) for command in self._greeting()])
            for reply in replies:
                if isinstance(reply, ResponseError):
                    wire.abort()
                    raise reply
            self._wire = wire
            return wire

    async def _open(self) -> "_Wire":
        loop = asyncio.get_running_loop()
        options = self._options
        if path := options.get("path"):
            _, wire = await loop.create_unix_connection(_Wire, path)
        else:
            host, port = options.get("host", "localhost"), int(options.get("port", 6379))
            context = self._context() if self._secure else None
            _, wire = await loop.create_connection(_Wire, host, port, ssl=context)
        return wire

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self._options.get("ssl_ca_certs"))
        if certificate := self._options.get("ssl_certfile"):
            context.load_cert_chain(certificate, self._options.get("ssl_keyfile"))
        return context

    def _greeting(self) -> list[tuple[Argument, ...]]:
        commands: list[tuple[Argument, ...]] = []
        if password := self._options.get("password"):
            commands.append(("AUTH", self._options.get("username") or "default", password))
        if database := self._options.get("db"):
            commands.append(("SELECT", int(database)))
        return commands


class _Wire(asyncio.Protocol):
    """The octets of one connection and the callers who wait for replies, first come first served."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(replyError=ResponseError)
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._unsent: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self.closed = False

    def send(self, command: Sequence[Argument]) -> "asyncio.Future[Any]":
        """Queue a command; it leaves at the end of this loop tick."""
        reply: asyncio.Future[Any] = self._loop.create_future()
        if self.closed:
            reply.set_exception(ConnectionLost("the connection to Redis was lost"))
            return reply
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(hiredis.pack_command(tuple(command)))  # type: ignore[arg-type]  # its stub forbids mixed tuples
        self._waiting.append(reply)
        return reply

    def abort(self) -> None:
        """Close without a word."""
        if self._transport is not None:
            self._transport.abort()
        self._lose()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's word that it is open."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand replies to those who wait for them; one whose caller has gone is dropped."""
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                waiting = self._waiting.popleft()
                if not waiting.done():
                    waiting.set_result(reply)
        except (hiredis.ProtocolError, IndexError):
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """Asyncio's word that it is closed."""
        del error
        self._lose()

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._transport is not None and unsent:
            self._transport.write(b"".join(unsent))

    def _lose(self) -> None:
        self.closed = True
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(ConnectionLost("the connection to Redis was lost"))
