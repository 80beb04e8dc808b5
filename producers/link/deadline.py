"""redis-py connections with one deadline for all steps of a call.

redis-py's timeouts are for one step each: a connect, a send, a receive. A call of several steps (connect, TLS,
AUTH, SELECT, then the script, whose reply comes in pieces) may so take several times its timeout. Here every
step gets the time that remains until the deadline of its thread.

The lookup of a host name is done by the operating system without a deadline; use an IP address, or a name from a
local resolver. A forked process gets its own connections and locks.
"""

import math
import ssl
import threading
import time
from contextvars import ContextVar
from functools import cache
from typing import Any

from redis.connection import Connection, ConnectionPool, DefaultParser, UnixDomainSocketConnection
from redis.exceptions import RedisError

from .address import Address

_DEADLINE: ContextVar[float] = ContextVar("deadline")
_IDLE_SECONDS = 10.0
"""After which a silent connection is tried before it is used: firewalls forget idle flows without a word."""
_LEAST = 0.001
"""Seconds for a step that begins too late: enough to fail in an orderly way. Zero would mean no blocking."""
_SHARED = ("host", "port", "path", "db", "username", "password")


class deadline:  # noqa: N801  used like a function, and for every call: a generator would cost twice as much
    """Limit the body to so many seconds; inside another deadline, the earlier one applies."""

    __slots__ = ("_seconds", "_token")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def __enter__(self) -> None:
        at = time.monotonic() + self._seconds
        self._token = _DEADLINE.set(min(at, _DEADLINE.get(at)))

    def __exit__(self, *_: object) -> None:
        _DEADLINE.reset(self._token)


def seconds_left() -> float:
    """Return the seconds until the deadline, or a minimum once it has passed."""
    return max(_DEADLINE.get() - time.monotonic(), _LEAST)


def connection_kind(address: Address) -> tuple[type[Connection], dict[str, Any]]:
    """Return the class of connections for an address, and their arguments.

    They are to be used within :func:`deadline`. Of the address's query, ``db``, ``ssl_ca_certs``,
    ``ssl_certfile`` and ``ssl_keyfile`` are read; the check of certificate and host name cannot be disabled.
    """
    options = address.options
    arguments = {name: options[name] for name in _SHARED if name in options} | {"parser_class": _Parser}
    arguments |= {"lib_name": None, "lib_version": None}  # each would cost the first call a round trip
    if "path" in options:
        return _Unix, arguments  # type: ignore[return-value]  # what both have in common is what is used
    if not address.secure:
        return _Tcp, arguments
    files = tuple(options.get(f"ssl_{name}") for name in ("ca_certs", "certfile", "keyfile"))
    return _Tls, arguments | {"files": files}


class Pool(ConnectionPool):
    """Connection pool that is fork-safe also if another thread of the parent was inside the pool at the fork."""

    def reset(self) -> None:
        """Forget the parent's connections; redis-py calls this in a new process."""
        self._lock = threading.Lock()  # redis-py keeps the parent's, whose holder is not in this process
        super().reset()


class _Parser(DefaultParser):  # type: ignore[misc, valid-type]  # hiredis's, by redis-py's choice
    """Parser that waits for each piece of a reply until the deadline at most."""

    def read_from_socket(self, **wish: Any) -> Any:  # noqa: ANN401  redis-py's signature is its own
        if not wish:
            self._sock.settimeout(seconds_left())
        return super().read_from_socket(**wish)


class _Timely:
    """Connection that takes its timeouts from the deadline and ignores those that redis-py sets."""

    _sock: Any
    _heard_at = 0.0

    @property
    def socket_timeout(self) -> float:
        return seconds_left()

    @socket_timeout.setter
    def socket_timeout(self, _wish: float | None) -> None: ...

    @property
    def socket_connect_timeout(self) -> float:
        return seconds_left()

    @socket_connect_timeout.setter
    def socket_connect_timeout(self, _wish: float | None) -> None: ...

    def on_connect(self) -> None:
        """Run the connection's handshake."""
        self._heard_at = math.inf  # its own commands must not trigger the check
        super().on_connect()  # type: ignore[misc]  # the connection beside this
        self._heard_at = time.monotonic()

    def read_response(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401  redis-py's own
        """Read a reply."""
        reply = super().read_response(*arguments, **options)  # type: ignore[misc]  # as above
        if self._heard_at != math.inf:
            self._heard_at = time.monotonic()
        return reply

    def can_read(self, timeout: float = 0) -> bool:
        """Return True if the server has sent data without a command.

        Raises:
            ConnectionError: the server rejects this client, for example because it has too many; the message
                quotes it.
        """
        if not super().can_read(timeout):  # type: ignore[misc]  # as above
            return False
        self.read_response()
        return True

    def check_health(self) -> None:
        """Check a connection that was idle for long, within half of the time, so that another can be opened."""
        if time.monotonic() - self._heard_at < _IDLE_SECONDS:
            return
        try:
            with deadline(seconds_left() / 2):
                self._send_ping()  # type: ignore[attr-defined]  # as above
        except (RedisError, OSError):
            self.disconnect()  # type: ignore[attr-defined]  # as above
            self.connect()  # type: ignore[attr-defined]  # as above

    def send_packed_command(self, *command: Any, **options: Any) -> None:  # noqa: ANN401  redis-py's own
        if self._sock:
            self._sock.settimeout(seconds_left())
        super().send_packed_command(*command, **options)  # type: ignore[misc]  # the connection beside this


class _Tcp(_Timely, Connection):  # type: ignore[misc]  # its timeouts are read, not set
    """``redis://``."""


class _Unix(_Timely, UnixDomainSocketConnection):  # type: ignore[misc]  # as above
    """``unix://``."""


class _Tls(_Timely, Connection):  # type: ignore[misc]  # as above
    """``rediss://``, with a check of the host name, which redis-py's own class leaves out."""

    def __init__(self, *, files: tuple[str | None, ...], **options: Any) -> None:  # noqa: ANN401  redis-py's own
        self._files = files
        super().__init__(**options)  # type: ignore[no-untyped-call]

    def _connect(self) -> ssl.SSLSocket:
        plain = super()._connect()  # type: ignore[no-untyped-call]
        try:
            return _context(*self._files).wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


@cache
def _context(authority: str | None, certificate: str | None, key: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority)
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context
