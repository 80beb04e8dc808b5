"""Connection to Redis for threads: a socket, and the bytes of :mod:`.wire` on it. To be used within a deadline.

Every step of a call gets the time that remains. A connection on which a call failed is closed: a late reply
reaches nobody.
"""

import socket
import ssl
import time
import weakref
from collections.abc import Sequence
from typing import Any

import hiredis
from redis.exceptions import ConnectionError as ConnectionLost, ResponseError, TimeoutError as RedisTimeoutError

from .address import Address, Host
from .command import Argument
from .deadline import deadline, is_over, seconds_left
from .primary import first_commands, tls_context
from .sentinel import is_primary
from .wire import pack_command

_IDLE_SECONDS = 10.0
"""Idle time after which a connection is tried before it is used: firewalls silently drop idle flows."""
_CHUNK = 64 * 1024
_TOO_LATE = "Timeout reading from Redis"


class SyncWire:
    """One open connection. Used by one thread at a time.

    Attributes:
        server: host and port of the other end, if it has any.
    """

    def __init__(self, connected: socket.socket, server: Host | None) -> None:
        self.server = server
        self._socket = connected
        self._reader = hiredis.Reader(replyError=ResponseError)
        self._heard_at = time.monotonic()
        # The connection of a producer that nobody closed; a __del__ here might come after the socket's own.
        weakref.finalize(self, connected.close).atexit = False

    def exchange(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Send commands together and return their replies in order; errors are returned as values.

        Raises:
            RedisTimeoutError: the deadline passed; the connection is closed.
            ConnectionLost: the server closed the connection.
        """
        replies: list[Any] = []
        try:
            self._send(b"".join(map(pack_command, commands)))
            while len(replies) < len(commands):
                replies.append(self._read())
        except TimeoutError as late:
            self.close()
            raise RedisTimeoutError(_TOO_LATE) from late
        except (OSError, hiredis.ProtocolError) as error:
            self.close()
            turned_away = f": {replies[-1]}" if replies and isinstance(replies[-1], ResponseError) else ""
            raise ConnectionLost(f"the connection to Redis was lost{turned_away}") from error
        except BaseException:
            self.close()
            raise
        self._heard_at = time.monotonic()
        return replies

    def is_usable(self) -> bool:
        """Return False if the server closed the connection, or does not reply after a long pause."""
        self._socket.settimeout(0)
        try:
            self._socket.recv(_CHUNK)
        except (BlockingIOError, ssl.SSLWantReadError):
            return time.monotonic() - self._heard_at < _IDLE_SECONDS or self._replies()
        except OSError:
            return False
        return False  # it sent something without a command, or closed

    def close(self) -> None:
        """Close the connection at once."""
        self._socket.close()

    def _replies(self) -> bool:
        """Check the connection within half of the time, so that another can be opened."""
        try:
            with deadline(seconds_left() / 2):
                self.exchange([("PING",)])
        except (ConnectionLost, RedisTimeoutError):
            return False
        return True

    def _send(self, packed: bytes) -> None:
        rest = memoryview(packed)
        while rest:
            self._wait_at_most()
            rest = rest[self._socket.send(rest) :]

    def _read(self) -> Any:  # noqa: ANN401  a reply has any type
        while (reply := self._reader.gets()) is False:
            self._wait_at_most()
            if not (chunk := self._socket.recv(_CHUNK)):
                raise ConnectionResetError("the server closed the connection")
            self._reader.feed(chunk)
        return reply

    def _wait_at_most(self) -> None:
        if is_over():
            raise TimeoutError(_TOO_LATE)
        self._socket.settimeout(seconds_left())


def connect(address: Address, host: Host | None = None) -> SyncWire:
    """Return a connection to this server, by default to the address's, before any command.

    Raises:
        RedisTimeoutError: the deadline passed.
        OSError: the server cannot be reached.
    """
    server = host or (address.options.get("host", "localhost"), int(address.options.get("port", 6379)))
    try:
        if path := address.options.get("path"):
            return SyncWire(_connected_unix(path), None)
        return SyncWire(_connected(address, server), server)
    except TimeoutError as late:
        raise RedisTimeoutError("Timeout connecting to Redis") from late
    except ConnectionError as error:  # the operating system names no address
        raise type(error)(error.errno, f"Connect call failed {address.options.get('path', server)}") from error


def open_wire(address: Address, host: Host | None = None) -> SyncWire:
    """Return a connection after its handshake; behind sentinels only to a primary.

    Raises:
        RedisError, OSError: the server cannot be reached, refuses the log-in, or is not the primary.
    """
    wire = connect(address, host)
    commands = first_commands(address)
    try:
        replies = wire.exchange(commands)
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise reply
        if address.sentinels and not is_primary(replies[-1]):
            raise ConnectionLost("the server that the sentinels name is not the primary (yet)")
    except RedisTimeoutError as late:
        raise RedisTimeoutError("Timeout connecting to Redis") from late
    except BaseException:
        wire.close()
        raise
    return wire


def _connected(address: Address, server: Host) -> socket.socket:
    plain = socket.create_connection(server, timeout=seconds_left())
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = tls_context(address)
        if context is None:
            return plain
        plain.settimeout(seconds_left())
        return context.wrap_socket(plain, server_hostname=server[0])
    except BaseException:
        plain.close()
        raise


def _connected_unix(path: str) -> socket.socket:
    plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        plain.settimeout(seconds_left())
        plain.connect(path)
    except BaseException:
        plain.close()
        raise
    return plain
