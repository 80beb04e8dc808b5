"""Sockets to listen on, for one reader alone or for several that share a port.

The kernel gives each new connection to one of the sockets that share a port (socket(7), SO_REUSEPORT). A socket
that is closed discards the connections that it was given and has not served. So a reader that stops first lets no
new connection begin at its own socket: a filter drops the first packet of each (SO_ATTACH_FILTER). The client
repeats the packet after a second, as TCP does, and by then only the other readers listen. Connections that had
begun are accepted and served meanwhile.
"""

from __future__ import annotations

import socket
import struct
import sys
from array import array
from contextlib import suppress

SHARES_PORTS = sys.platform == "linux"
"""True if this system can share a port and filter packets."""

_SO_ATTACH_FILTER = 26
"""linux/asm-generic/socket.h; Python has no name for it."""
_LOAD_BYTE, _JUMP_IF_SET, _RETURN = 0x30, 0x45, 0x06
_FLAGS_AT, _SYN = 13, 0x02
_NO_SYN = (
    (_LOAD_BYTE, 0, 0, _FLAGS_AT),
    (_JUMP_IF_SET, 0, 1, _SYN),
    (_RETURN, 0, 0, 0),
    (_RETURN, 0, 0, 0xFFFFFFFF),
)
"""A filter of linux/filter.h: code, jump if true, jump if false, operand. Returning 0 bytes drops the packet."""


def bind_socket(host: str, port: int, *, shared: bool) -> socket.socket:
    """Return a socket that is bound to this address and does not listen yet.

    Args:
        port: 0 for any free port.
        shared: let other sockets bind to the same port, if they set this too.

    Raises:
        OSError: the address cannot be bound.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def drop_new_connections(listening: socket.socket) -> None:
    """Refuse new connections and keep the open ones. Does nothing if the system has no such filter."""
    instructions = array("B", b"".join(struct.pack("HBBI", *one) for one in _NO_SYN))
    program = struct.pack("HP", len(_NO_SYN), instructions.buffer_info()[0])
    with suppress(OSError):
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
