"""The sockets on which this process listens, where several readers share one port.

The kernel gives each new connection to one of the sockets that share a port (socket(7), SO_REUSEPORT), and a
socket that is closed takes with it what it was given and has not served. So a reader that leaves first lets no
further connection begin at its own socket: a filter on it drops the first packet of each (SO_ATTACH_FILTER).
Whoever sent it repeats it after a second, as TCP has it, and by then only the others are there to be given it.
Connections that had begun are finished and served meanwhile.

The server's library has the sockets and shows them to nobody; they are found among the open files of this process.
Linux only.
"""

from __future__ import annotations

import os
import socket
import struct
from array import array
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SHARES_PORTS = os.name == "posix" and Path("/proc/self/fd").is_dir()
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


@contextmanager
def listening_on(port: int) -> Iterator[list[socket.socket]]:
    """This process's own sockets that listen on the port, in TCP; empty when there are none yet."""
    found = [one for one in map(_socket, Path("/proc/self/fd").iterdir()) if one is not None]
    try:
        yield [one for one in found if _listens_on(one, port)]
    finally:
        for one in found:
            one.close()


def begin_no_more(port: int) -> None:
    """Let no further connection begin here; those that have begun go on. Does nothing where that cannot be had."""
    instructions = array("B", b"".join(struct.pack("HBBI", *one) for one in _NO_SYN))
    program = struct.pack("HP", len(_NO_SYN), instructions.buffer_info()[0])
    with listening_on(port) as listening:
        for one in listening:
            with suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def _socket(file: Path) -> socket.socket | None:
    """The open file as a socket with a number of its own, so that closing it here closes nothing there."""
    try:
        return socket.socket(fileno=os.dup(int(file.name))) if file.readlink().name.startswith("socket:") else None
    except OSError:  # closed since it was listed
        return None


def _listens_on(one: socket.socket, port: int) -> bool:
    if one.family not in {socket.AF_INET, socket.AF_INET6} or one.type != socket.SOCK_STREAM:
        return False
    return bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)) and one.getsockname()[1] == port
