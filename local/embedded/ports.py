"""Ports on 127.0.0.1: find a free one, or refuse one in use.

A port is only known to be free at the moment of the check. Free ports are therefore drawn at random from below
the range that systems use for outgoing connections (32768 on Linux, 49152 on macOS), so that no connection takes
it in between, and reserved among those who draw here: by the UDP port of the same number, which no server here
uses.
"""

import os
import socket
from collections import deque
from secrets import randbelow

from local.errors import PortInUse

_LOWEST, _HIGHEST = 20_000, 32_000
_TRIES = 200
_RESERVED = 64
"""Number of ports that a process keeps reserved: those that it drew last, whose servers may still be starting."""

_reservations: deque[int] = deque()


def is_free(port: int) -> bool:
    """Return True if a server could listen on 127.0.0.1:port now."""
    with socket.socket() as probe:
        # Servers set it too, so that connections in TIME_WAIT do not count as a server.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a free port on 127.0.0.1.

    Raises:
        OSError: 200 ports in a row were in use; the machine has none to spare.
    """
    for _ in range(_TRIES):
        port = _LOWEST + randbelow(_HIGHEST - _LOWEST)
        if is_free(port) and _reserve(port):
            return port
    raise OSError(f"port: all {_TRIES} tried on 127.0.0.1 ({_LOWEST} to {_HIGHEST}) are in use; stop some servers")


def _reserve(port: int) -> bool:
    """Return False if another process has just drawn this port. Reservations end with the process."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reservation:
        try:
            reservation.bind(("127.0.0.1", port))
        except OSError:
            return False
        _reservations.append(reservation.detach())
    if len(_reservations) > _RESERVED:
        os.close(_reservations.popleft())
    return True


def require_free(port: int, *, server: str, setting: str) -> None:
    """Raise unless the port is free.

    Raises:
        PortInUse: it is in use; the message names `setting`.
    """
    if not is_free(port):
        raise PortInUse(port, server=server, setting=setting)
