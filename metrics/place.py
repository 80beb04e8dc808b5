"""Place where a process serves its metrics: a port of this machine or of a named address, or a Unix socket.

9310               port 9310 of this machine, which no other machine reaches
0.0.0.0:9310       port 9310 of every address
unix:/run/m.sock   a socket file, for the owner and its group
"""

from __future__ import annotations

import socket
import stat
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

_PORTS = 65_535


@dataclass(frozen=True, slots=True)
class ListenPlace:
    """A place to listen: a host with a port, or a path.

    Example:
        >>> ListenPlace.read("9310"), ListenPlace.read("[::1]:0").host, ListenPlace.read("unix:/run/m.sock").path
        (ListenPlace(host='127.0.0.1', port=9310, path=''), '::1', '/run/m.sock')
    """

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def read(cls, text: str) -> ListenPlace:
        """Read a place as settings and commands write it.

        Raises:
            ValueError: the text is malformed; the message says what is allowed.
        """
        if text.startswith("unix:/"):
            return cls(path=text.removeprefix("unix:"))
        host, _, port = text.rpartition(":")
        if not (port.isascii() and port.isdecimal() and int(port) <= _PORTS) or text.startswith(":"):
            raise ValueError(f"not an address to listen on ({text}); allowed: PORT, HOST:PORT and unix:/PATH")
        return cls(host=host.strip("[]") or "127.0.0.1", port=int(port))

    @property
    def is_local(self) -> bool:
        """True if no other machine reaches it."""
        if self.path or self.host == "localhost":
            return True
        with suppress(ValueError):
            return ip_address(self.host).is_loopback
        return False

    def __str__(self) -> str:
        """Return the place as it is written."""
        return f"unix:{self.path}" if self.path else f"{self.host}:{self.port}"


def bind(place: ListenPlace) -> socket.socket:
    """Return a listening socket.

    Raises:
        OSError: the place is taken, or not on this machine.
    """
    return _bind_path(place.path) if place.path else _bind_port(place.host, place.port)


def name_of(listening: socket.socket) -> str:
    """Return the address or path of a listening socket; of port 0, the one that the system chose."""
    name = listening.getsockname()
    return str(name) if isinstance(name, str) else f"{name[0]}:{name[1]}"


def remove_file(place: ListenPlace) -> None:
    """Remove the file of a socket that is no longer listened on; a port has none."""
    if place.path:
        Path(place.path).unlink(missing_ok=True)


def _bind_port(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return socket.create_server((str(address[0]), int(address[1])), family=family)


def _bind_path(path: str) -> socket.socket:
    """Listen on a socket file; one that a killed process left behind is replaced."""
    if _is_left_behind(path):
        Path(path).unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(path)
        Path(path).chmod(0o660)
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening


def _is_left_behind(path: str) -> bool:
    """Return True if the path is a socket on which no process listens."""
    with suppress(OSError):
        if stat.S_ISSOCK(Path(path).stat().st_mode):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1)
                try:
                    probe.connect(path)
                except ConnectionRefusedError:
                    return True
    return False
