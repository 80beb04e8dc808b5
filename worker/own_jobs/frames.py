"""Messages between a worker and a child process: JSON, prefixed by its length in four bytes.

to the child     {"kind", "payload", "run", "trace"}, {"began"}
from the child   {"ready"}, {"progress"}, {"effect"}, then {"result"} or {"raised", "text", "arguments"}
"""

import asyncio
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import orjson

_LENGTH = struct.Struct("!I")
Message = dict[str, Any]


def write_frame(message: Mapping[str, Any]) -> bytes:
    r"""Encode a message.

    Raises:
        TypeError: JSON cannot hold a value of it.

    >>> write_frame({"began": True})
    b'\\x00\\x00\\x00\\x0e{"began":true}'
    """
    body = orjson.dumps(message, default=str, option=orjson.OPT_NON_STR_KEYS)
    return _LENGTH.pack(len(body)) + body


def read_frame(stream: BinaryIO) -> Message | None:
    """Read a message from a blocking stream; None at its end."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    body = stream.read(length)
    return None if len(body) < length else _message(body)


async def receive_frame(reader: asyncio.StreamReader) -> Message | None:
    """Receive a message; None at the end of the stream."""
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        return _message(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def _message(body: bytes) -> Message:
    found: Message = orjson.loads(body)
    return found
