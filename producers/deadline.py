"""Connections of redis-py that keep one deadline, however many steps a call takes.

redis-py's timeouts are for one step each: a connect, a send, a receive. A call of several steps (connect, TLS,
AUTH, SELECT, then the script, whose reply comes in pieces) may so last several times its timeout. Here every
step gets what is left of the deadline of its thread.

What can go wrong: looking up a host name is the operating system's and knows no deadline; give an address, or
a name from a local resolver. A forked process gets connections and locks of its own.
"""

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, cast

from redis.connection import Connection, ConnectionPool, DefaultParser, UnixDomainSocketConnection, parse_url

_DEADLINE: ContextVar[float] = ContextVar("deadline")
_LEAST = 0.001
"""Seconds for a step that begins too late: enough to fail in an orderly way. Zero would mean no blocking."""
_SHARED = ("host", "port", "path", "db", "username", "password")


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """What happens inside has so many seconds; inside another deadline, the earlier one holds."""
    at = time.monotonic() + seconds
    token = _DEADLINE.set(min(at, _DEADLINE.get(at)))
    try:
        yield
    finally:
        _DEADLINE.reset(token)


def open_pool(url: str) -> ConnectionPool:
    """A pool without connections yet; they are to be used within :func:`deadline`.

    Args:
        url: ``redis://``, ``rediss://`` (certificate and host name are checked) or ``unix://``. Of its query,
            ``db``, ``ssl_ca_certs``, ``ssl_certfile`` and ``ssl_keyfile`` are read; a check cannot be put out.

    Raises:
        ValueError: an address of another form; its words may hold a part of the password.
    """
    options = cast("dict[str, Any]", parse_url(url))  # type: ignore[no-untyped-call]
    arguments = {name: options[name] for name in _SHARED if name in options} | {"parser_class": _Parser}
    if "path" in options:
        return _Pool(connection_class=_Unix, **arguments)
    if not url.startswith("rediss://"):
        return _Pool(connection_class=_Tcp, **arguments)
    files = tuple(options.get(f"ssl_{name}") for name in ("ca_certs", "certfile", "keyfile"))
    return _Pool(connection_class=_Tls, files=files, **arguments)


def _left() -> float:
    return max(_DEADLINE.get() - time.monotonic(), _LEAST)


class _Pool(ConnectionPool):
    """Fork-safe also when another thread of the parent was inside the pool at the fork."""

    def reset(self) -> None:
        self._lock = threading.Lock()  # redis-py keeps the parent's, whose holder is not in this process
        super().reset()


class _Parser(DefaultParser):  # type: ignore[misc, valid-type]  # hiredis's, by redis-py's choice
    """Waits for each piece of a reply no longer than the deadline allows."""

    def read_from_socket(self, **wish: Any) -> Any:  # noqa: ANN401  redis-py's signature is its own
        if not wish:
            self._sock.settimeout(_left())
        return super().read_from_socket(**wish)


class _Timely:
    """Reads its timeouts off the deadline; what redis-py would set them to is dropped."""

    _sock: Any

    @property
    def socket_timeout(self) -> float:
        return _left()

    @socket_timeout.setter
    def socket_timeout(self, _wish: float | None) -> None: ...

    @property
    def socket_connect_timeout(self) -> float:
        return _left()

    @socket_connect_timeout.setter
    def socket_connect_timeout(self, _wish: float | None) -> None: ...

    def send_packed_command(self, *command: Any, **options: Any) -> None:  # noqa: ANN401  redis-py's own
        if self._sock:
            self._sock.settimeout(_left())
        super().send_packed_command(*command, **options)  # type: ignore[misc]  # the connection beside this


class _Tcp(_Timely, Connection):  # type: ignore[misc]  # its timeouts are read, not set
    """``redis://``."""


class _Unix(_Timely, UnixDomainSocketConnection):  # type: ignore[misc]  # as above
    """``unix://``."""


class _Tls(_Timely, Connection):  # type: ignore[misc]  # as above
    """``rediss://``. redis-py's own class leaves the host name unchecked."""

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
