"""Protocol of one connection to Redis: its bytes, and the callers who wait for replies."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import hiredis
from redis.exceptions import ConnectionError as ConnectionLost, ResponseError

from .address import Host
from .command import Argument


class ReplyWaiter(Protocol):
    """Receiver of replies: a future for one reply, or an object that takes several and does not raise."""

    def done(self) -> bool:
        """Return True if no more replies are expected."""

    def set_result(self, reply: Any, /) -> None:  # noqa: ANN401  a reply has any type
        """Receive the next reply."""

    def set_exception(self, error: Exception, /) -> None:
        """Receive the error in place of replies that will not come."""


class Wire(asyncio.Protocol):
    """asyncio protocol of one connection, with the callers who wait for replies in the order of their commands.

    Attributes:
        on_push: called with each message that the server pushes (RESP3 only), before the replies after it.
        unpushed: the server's reason for not pushing although that was requested; empty if it does.
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
        self.send_packed(pack_command(command), reply, 1)
        return reply

    def send_packed(self, commands: bytes, waiting: ReplyWaiter, replies: int) -> None:
        """Queue commands encoded by `pack_command`; all of their `replies` go to one waiter."""
        if self.closed:
            self._tell_lost(waiting)
            return
        if not self._unsent:
            self._loop.call_soon(self.flush)
        self._unsent.append(commands)
        self._waiting.extend((waiting,) * replies)

    def silent_for(self, seconds: float) -> bool:
        """Return True if the server has sent nothing for this number of seconds."""
        return self._loop.time() - self._heard_at > seconds

    def abort(self) -> None:
        """Close the connection at once."""
        if self._loop.is_closed():  # no waiter can be reached any more, and the transport closes the socket
            self.closed = True
            return
        if self._transport is not None:
            self._transport.abort()
        self._lose()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Record that the connection is open; called by asyncio."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Pass replies to the waiting callers; the reply of a cancelled caller is dropped."""
        self._heard_at = self._loop.time()
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                if type(reply) is hiredis.PushNotification:
                    self._pushed(reply)
                    continue
                if not self._waiting and isinstance(reply, ResponseError):
                    self._turned_away = (
                        f": {reply}"  # for example too many clients; the server then closes the connection
                    )
                    continue
                waiting = self._waiting.popleft()
                if not waiting.done():
                    waiting.set_result(reply)
        except (hiredis.ProtocolError, IndexError):
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """Pass the error to the waiting callers; called by asyncio."""
        del error
        self._lose()

    def _pushed(self, message: list[Any]) -> None:
        if self.on_push is not None:
            self.on_push(message)

    def flush(self) -> None:
        """Write queued commands now, instead of after all other callbacks of this tick."""
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
            waiting.exception()  # waiting callers get the error; a cancelled one must not be logged as a fault


def pack_command(command: Sequence[Argument]) -> bytes:
    r"""Encode a command.

    >>> pack_command(("GET", "a"))
    b'*2\r\n$3\r\nGET\r\n$1\r\na\r\n'
    """
    packed: bytes = hiredis.pack_command(tuple(command))  # type: ignore[arg-type]  # its stub forbids mixed tuples
    return packed
