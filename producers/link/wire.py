"""The octets of one connection to Redis, and who waits for which reply."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import hiredis
from redis.exceptions import ConnectionError as ConnectionLost, ResponseError

from .address import Host

Argument = str | bytes | int


class ReplyWaiter(Protocol):
    """Whoever waits for replies: a future for one of them, or what takes several and does not raise."""

    def done(self) -> bool:
        """Whether nothing more is waited for."""

    def set_result(self, reply: Any, /) -> None:  # noqa: ANN401  a reply is whatever Redis says
        """The next reply."""

    def set_exception(self, error: Exception, /) -> None:
        """There will be none."""


class Wire(asyncio.Protocol):
    """The octets of one connection and the callers who wait for replies, first come first served.

    Attributes:
        on_push: called with what the server sends unasked (RESP3 only), before the replies behind it.
        unpushed: why it sends nothing unasked although that was wanted, in its words; empty when it does.
        server: host and port of the other end, if it has any.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(replyError=ResponseError)
        self._waiting: deque[ReplyWaiter] = deque()
        self._unsent: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._heard_at = self._loop.time()
        self._turned_away = ""
        self.closed = False
        self.on_push: Callable[[list[Any]], None] | None = None
        self.unpushed = ""
        self.server: Host | None = None

    def send(self, command: Sequence[Argument]) -> "asyncio.Future[Any]":
        """Queue a command; it leaves at the end of this loop tick."""
        reply: asyncio.Future[Any] = self._loop.create_future()
        self.send_packed(pack(command), reply, 1)
        return reply

    def send_packed(self, commands: bytes, waiting: ReplyWaiter, replies: int) -> None:
        """Queue commands that `pack` made; all their replies, so many, go to one who waits."""
        if self.closed:
            self._tell_lost(waiting)
            return
        if not self._unsent:
            self._loop.call_soon(self.flush)
        self._unsent.append(commands)
        self._waiting.extend((waiting,) * replies)

    def silent_for(self, seconds: float) -> bool:
        """Whether the server has sent nothing for so long."""
        return self._loop.time() - self._heard_at > seconds

    def abort(self) -> None:
        """Close without a word."""
        if self._loop.is_closed():  # nobody can be told any more, and the socket goes with the transport
            self.closed = True
            return
        if self._transport is not None:
            self._transport.abort()
        self._lose()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's word that it is open."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand replies to those who wait for them; one whose caller has gone is dropped."""
        self._heard_at = self._loop.time()
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                if type(reply) is hiredis.PushNotification:
                    self._pushed(reply)
                    continue
                if not self._waiting and isinstance(reply, ResponseError):
                    self._turned_away = f": {reply}"  # it has too many clients, say; the end follows
                    continue
                waiting = self._waiting.popleft()
                if not waiting.done():
                    waiting.set_result(reply)
        except (hiredis.ProtocolError, IndexError):
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """Asyncio's word that it is closed."""
        del error
        self._lose()

    def _pushed(self, message: list[Any]) -> None:
        if self.on_push is not None:
            self.on_push(message)

    def flush(self) -> None:
        """Let what is queued leave now, and not after all that is to run in this tick."""
        unsent, self._unsent = self._unsent, []
        if unsent and self._transport is not None and not self._transport.is_closing():  # else all is lost soon
            self._transport.write(b"".join(unsent))

    def _lose(self) -> None:
        self.closed = True
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                self._tell_lost(waiting)

    def _tell_lost(self, waiting: ReplyWaiter) -> None:
        waiting.set_exception(ConnectionLost(f"the connection to Redis was lost{self._turned_away}"))
        if isinstance(waiting, asyncio.Future):
            waiting.exception()  # who still waits is told; who does not any more is not to be reported as a fault


def pack(command: Sequence[Argument]) -> bytes:
    r"""A command as it goes over a wire.

    >>> pack(("GET", "a"))
    b'*2\r\n$3\r\nGET\r\n$1\r\na\r\n'
    """
    packed: bytes = hiredis.pack_command(tuple(command))  # type: ignore[arg-type]  # its stub forbids mixed tuples
    return packed
