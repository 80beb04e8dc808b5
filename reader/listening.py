"""Sockets to listen on, for one reader alone or for several that share a port.

The kernel gives each new connection to one of the sockets that share a port (socket(7), SO_REUSEPORT), and a
socket that is closed takes with it what it was given and has not served. So a reader that leaves first lets no
further connection begin at its own socket: a filter on it drops the first packet of each (SO_ATTACH_FILTER).
Whoever sent it repeats it after a second, as TCP has it, and by then only the others are there to be given it.
Connections that had begun are finished and served meanwhile.
"""

from __future__ import annotations

import socket
import struct
import sys
from array import array
from contextlib import suppress

SHARES_PORTS = sys.platform == "linux"
"""Whether this system can do all that."""

_SO_ATTACH_FILTER = 26
"""linux/asm-generic/socket.h; Python has no name for it."""
_LOAD_OCTET, _JUMP_IF_SET, _RETURN = 0x30, 0x45, 0x06
_FLAGS_AT, _SYN = 13, 0x02
_NO_SYN = (
    (_LOAD_OCTET, 0, 0, _FLAGS_AT),
    (_JUMP_IF_SET, 0, 1, _SYN),
    (_RETURN, 0, 0, 0),
    (_RETURN, 0, 0, 0xFFFFFFFF),
)
"""A filter as linux/filter.h has it: code, jump if true, jump if false, operand; 0 octets of a packet are none."""


def bind(host: str, port: int, *, shared: bool) -> socket.socket:
    """A socket at this address, not listening yet.

    Args:
        port: 0 for any that is free.
        shared: let others bind there too, who say so as well.

    Raises:
        OSError: it cannot be had.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    one = socket.socket(family, kind, protocol)
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(address)
    except OSError:
        one.close()
        raise
    return one


def begin_no_more(listening: socket.socket) -> None:
    """Let no further connection begin here; those that have begun go on. Does nothing where that cannot be had."""
    instructions = array("B", b"".join(struct.pack("HBBI", *one) for one in _NO_SYN))
    program = struct.pack("HP", len(_NO_SYN), instructions.buffer_info()[0])
    with suppress(OSError):
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
