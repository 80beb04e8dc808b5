"""One connection to Redis that pipelines by itself: all commands of one loop tick leave in one write.

redis-py takes a connection out of a pool, checks it, and reads one reply before the next command may go; that
costs several times what Redis needs for an enqueue. Here callers share one connection, replies come back in
the order of the commands, and a caller that goes away leaves its reply to be dropped, never to be taken by
somebody else (CVE-2023-28858 was that fault).

Behind an address of sentinels, they are asked for the primary at every connection, and what they name must
call itself a primary. A server that says it is none (any more) loses its connection, so that the next call
asks again (redis/redis-py 3874: a client that stays with the old one).

What can go wrong: the connection is lost (every waiting caller gets :class:`ConnectionLost`; the next call
connects anew); a reply is overdue (the caller's deadline; :meth:`Link.drop` then gives up the connection, so
that nobody waits behind a stalled server). It refuses nothing and repeats nothing: a command whose reply was
lost may have been carried out, and only the caller knows whether it may be sent again.
"""

import asyncio
import ssl
from collections.abc import Iterable, Sequence
from typing import Any

from redis.exceptions import ConnectionError as ConnectionLost, ResponseError

from .address import read_address
from .sentinel import find_primary
from .wire import Argument as Argument, Wire

_NOT_THE_PRIMARY = ("READONLY", "MASTERDOWN")


class Link:
    """A shared connection, made at the first call and again when it is lost. Belongs to one event loop.

    Args:
        url: ``redis://``, ``rediss://`` (TLS, certificate and host name checked), ``unix://`` or
            ``sentinel://``; see :mod:`.address`.

    Raises:
        ValueError: an address of another form; its words may hold a part of the password.
    """

    def __init__(self, url: str) -> None:
        self._address = read_address(url)
        self._options = self._address.options
        self._wire: Wire | None = None
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
        replies: list[Any] = await asyncio.gather(*[wire.send(command) for command in commands])
        if any(isinstance(one, ResponseError) and str(one).startswith(_NOT_THE_PRIMARY) for one in replies):
            wire.abort()
        return replies

    def drop(self) -> None:
        """Give up the connection; callers that wait on it are told, and the next call makes another."""
        if self._wire is not None:
            self._wire.abort()

    async def close(self) -> None:
        """Close the connection; asyncio lets go of the socket in the next tick of the loop."""
        self.drop()
        await asyncio.sleep(0)

    async def _connect(self) -> Wire:
        async with self._connecting:
            if self._wire is not None and not self._wire.closed:
                return self._wire
            wire = await self._open()
            try:
                await self._greet(wire)
            except BaseException:
                wire.abort()
                await asyncio.sleep(0)  # as in close
                raise
            self._wire = wire
            return wire

    async def _open(self) -> Wire:
        loop = asyncio.get_running_loop()
        if path := self._options.get("path"):
            _, wire = await loop.create_unix_connection(Wire, path)
            return wire
        host, port = await self._where()
        context = self._context() if self._address.secure else None
        _, wire = await loop.create_connection(Wire, host, port, ssl=context)
        return wire

    async def _where(self) -> tuple[str, int]:
        if self._address.sentinels:
            return await find_primary(self._address)
        return self._options.get("host", "localhost"), int(self._options.get("port", 6379))

    async def _greet(self, wire: Wire) -> None:
        replies = await asyncio.gather(*[wire.send(command) for command in self._greeting()])
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise reply
        if self._address.sentinels and replies[-1][0] != b"master":
            raise ConnectionLost("the server that the sentinels name is not the primary (yet)")

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
        if self._address.sentinels:
            commands.append(("ROLE",))
        return commands
