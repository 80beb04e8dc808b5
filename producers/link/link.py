"""Connection to Redis that pipelines automatically: all commands of one loop tick leave in one write.

Callers share one connection, replies come back in the order of the commands, and the reply of a cancelled caller
is dropped, so that no other caller gets it (the fault of CVE-2023-28858).

For sentinels or a cluster, every new connection asks for the primary (:mod:`.primary`). One to a server that is no
longer a primary is closed, so that the next call asks again (redis/redis-py 3874: a client that stays).

A separate task opens the connection, so that a caller whose time is up leaves it to the next caller: with TLS to
a distant server it takes longer than a caller's deadline. A connection that was idle for a while is checked before
its use, while a new one is opened in case it stays silent, because firewalls drop idle flows without notice.

If the connection is lost, every waiting caller gets :class:`ConnectionLost`, and the next call connects again. If
a reply is overdue, the caller's deadline ends the wait and :meth:`Link.drop` closes the connection. A link never
repeats a command that may have been run: only the caller knows whether it may be. One to which a cluster replies
MOVED, or a replica READONLY, was not run, and is sent once more to the right server.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any

from redis.exceptions import ConnectionError as ConnectionLost, ResponseError

from .address import Address, Host, read_address
from .cluster import with_guard_key
from .command import Argument
from .primary import first_commands, reach_primary, tls_context
from .sentinel import is_primary
from .wire import Wire

NOT_THE_PRIMARY = ("READONLY", "MASTERDOWN", "MOVED", "CLUSTERDOWN")
CONNECT_SECONDS = 1.0
"""Timeout of one attempt to connect, greeting included: enough for TLS and log-in at 200 ms of latency."""
_ATTEMPTS = 10
"""Attempts to connect for one caller."""
IDLE_SECONDS = 10.0
"""Idle time after which a connection is tried before it is used. No firewall forgets a flow sooner."""
_TRY_SECONDS = 0.02
"""Time for the reply of an idle connection before another one is opened beside it."""


class Link:
    """Shared connection, opened at the first call and again when it is lost. Belongs to one event loop.

    Args:
        url: an address, see :mod:`.address`, or its text; with TLS, certificate and host name are checked.
        tag: on a cluster, the hash tag of all keys of the link, braces included.
        on_push: called with the messages that the server pushes, in order with the replies; selects RESP3.

    Raises:
        ValueError: the address is malformed.
    """

    def __init__(
        self, url: str | Address, tag: str = "", *, on_push: Callable[[list[Any]], None] | None = None
    ) -> None:
        self._address = read_address(url) if isinstance(url, str) else url
        self._tag = tag
        self._parted = bool(self._address.cluster)
        self._on_push = on_push
        self._options = self._address.options
        self._wire: Wire | None = None
        self._made = 0
        self._refused: Host | None = None
        self._task: asyncio.Task[Wire] | None = None

    async def call(self, *command: Argument) -> Any:  # noqa: ANN401  a reply has any type
        """Send one command and return its reply.

        Raises:
            ResponseError: Redis rejected it.
            ConnectionLost, OSError: it may or may not have been run.
        """
        if self._parted:
            (reply,) = await self._send_to_owner([command])
        else:
            wire = self._wire
            if wire is None or wire.closed or wire.silent_for(IDLE_SECONDS):
                wire = await self.wire()
            reply = await wire.send(command)
            if self._judge(wire, reply):
                (reply,) = await self._send([command])
        if isinstance(reply, ResponseError):
            raise reply
        return reply

    async def call_many(self, commands: Iterable[Sequence[Argument]]) -> list[Any]:
        """Send commands together and return their replies in order; errors are returned as values."""
        return await (self._send_to_owner(list(commands)) if self._parted else self._send(commands))

    async def _send(self, commands: Iterable[Sequence[Argument]]) -> list[Any]:
        replies: list[Any] = []
        for _ in range(2):
            wire = await self.wire()
            replies = await exchange(wire, commands)
            judged = [self._judge(wire, reply) for reply in replies]
            if not any(judged):
                break
        return replies

    async def _send_to_owner(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Repeat rejected commands once on a cluster if the slot has moved."""
        ours = [with_guard_key(command, self._tag) for command in commands]
        replies = await self._send(ours)
        return await self._send(ours) if replies and is_error(replies[0], "MOVED") else replies

    def _judge(self, wire: Wire, reply: object) -> bool:
        """Leave a server that is not the primary. Returns True if the command may be sent to another one."""
        if not isinstance(reply, ResponseError) or not is_error(reply, *NOT_THE_PRIMARY):
            return False
        self.leave_server(wire)
        return bool(self._address.sentinels) and is_error(reply, "READONLY")

    async def wire(self) -> Wire:
        """Return the open connection, for callers to whom a coroutine per command costs too much.

        Raises:
            ConnectionLost, OSError: no connection could be opened.
        """
        wire = self._wire
        if wire is None or wire.closed:
            return await self._shared(self._connect)
        if wire.silent_for(IDLE_SECONDS):
            return await self._shared(self._try)
        return wire

    @property
    def connection(self) -> int:
        """The number of the current connection, counted from 1; 0 without one."""
        return 0 if self._wire is None or self._wire.closed else self._made

    def leave_server(self, wire: Wire) -> None:
        """Close the connection because its server is not the primary: the next call searches for the primary."""
        if wire is self._wire and not wire.closed:
            self._refused = wire.server
        wire.abort()

    def drop(self) -> None:
        """Close the connection; waiting callers get an error, and the next call opens another."""
        if self._wire is not None:
            self._wire.abort()

    async def close(self) -> None:
        """Close the connection; asyncio closes the socket in the next tick of the loop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self.drop()
        await asyncio.sleep(0)

    async def _shared(self, work: Callable[[], Coroutine[Any, Any, Wire]]) -> Wire:
        """Wait for the task that opens the connection; the task continues when its callers are cancelled.

        An attempt that takes too long is followed by others, since another server may be the primary by then:
        callers with enough time wait for them.
        """
        for _ in range(_ATTEMPTS - 1):
            with suppress(TimeoutError):
                return await asyncio.shield(self._begun(work))
        return await asyncio.shield(self._begun(work))

    def _begun(self, work: Callable[[], Coroutine[Any, Any, Wire]]) -> "asyncio.Task[Wire]":
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(work())
            self._task.add_done_callback(retrieve_error)
        return self._task

    async def _try(self) -> Wire:
        """Return the idle connection if it replies, else a new one: the first of the two."""
        silent = self._wire
        if silent is None or silent.closed:
            return await self._connect()
        answer = silent.send(("PING",))
        await asyncio.wait({answer}, timeout=_TRY_SECONDS)
        if answer.done():
            return silent if not silent.closed else await self._connect()
        connecting = asyncio.create_task(self._answering())
        used: Wire | None = None
        try:
            await asyncio.wait({answer, connecting}, return_when=asyncio.FIRST_COMPLETED)
            if answer.done() and not silent.closed:
                return silent
            used = self._take(await connecting)
            return used
        finally:
            connecting.cancel()
            (made,) = await asyncio.gather(connecting, return_exceptions=True)
            if isinstance(made, Wire) and made is not used:
                made.abort()

    async def _answering(self) -> Wire:
        """Return a new connection that has replied to the same check as the idle one."""
        wire = await self.connect()
        try:
            await wire.send(("PING",))
        except BaseException:
            wire.abort()
            raise
        return wire

    async def _connect(self) -> Wire:
        return self._take(await self.connect())

    def _take(self, wire: Wire) -> Wire:
        """Use this connection from now on."""
        if self._wire is not None:
            self._wire.abort()
        self._wire, self._refused = wire, None
        self._made += 1
        return wire

    async def connect(self) -> Wire:
        """Return a new connection to the primary after its handshake; the caller closes it."""
        async with asyncio.timeout(CONNECT_SECONDS):
            if not self._address.asked:
                return await self._reach(None)
            wire, _ = await reach_primary(
                self._address, self._reach, Wire.abort, tag=self._tag, refused=self._refused
            )
            return wire

    async def _reach(self, host: Host | None) -> Wire:
        """Return a connection, after its handshake, to this server or by default to the address's server."""
        wire = await self._open(host)
        wire.on_push = self._on_push
        try:
            await self._greet(wire)
        except BaseException:
            wire.abort()
            await asyncio.sleep(0)  # as in close
            raise
        return wire

    async def _open(self, host: Host | None) -> Wire:
        loop = asyncio.get_running_loop()
        if path := self._options.get("path"):
            _, wire = await loop.create_unix_connection(Wire, path)
            return wire
        host = host or (self._options.get("host", "localhost"), int(self._options.get("port", 6379)))
        _, wire = await loop.create_connection(Wire, *host, ssl=tls_context(self._address))
        wire.server = host
        return wire

    async def _greet(self, wire: Wire) -> None:
        commands = first_commands(self._address, pushes=self._on_push is not None)
        replies = await asyncio.gather(*[wire.send(command) for command in commands])
        for command, reply in zip(commands, replies, strict=True):
            if isinstance(reply, ResponseError) and command[0] != "HELLO":
                raise reply
            if isinstance(reply, ResponseError):  # without RESP3 everything works except pushed messages
                wire.unpushed = str(reply)
        if self._address.sentinels and not is_primary(replies[-1]):
            raise ConnectionLost("the server that the sentinels name is not the primary (yet)")


async def find_primary(address: Address, tag: str = "") -> Host:
    """Return host and port of a primary that has replied. Raises RedisError, OSError if none is found."""
    wire = await Link(address, tag).connect()
    wire.abort()
    await asyncio.sleep(0)  # as in close
    assert wire.server is not None  # noqa: S101  only a socket's path has none
    return wire.server


async def exchange(wire: Wire, commands: Iterable[Sequence[Argument]]) -> list[Any]:
    """Send commands together and return their replies in order; errors are returned as values."""
    asked = [wire.send(command) for command in commands]
    wire.flush()
    return [await one for one in asked]


def retrieve_error(task: "asyncio.Task[Any]") -> None:
    """Retrieve a task's error, which waiting callers have received, so that asyncio does not log it."""
    if not task.cancelled():
        task.exception()


def is_error(reply: object, *codes: str) -> bool:
    """Return True if a reply is an error that begins with one of these words."""
    return isinstance(reply, ResponseError) and str(reply).startswith(codes)
