"""Head of a response as bytes; each part is cached, because most responses repeat it."""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from reader.memo import memo
from reader.message import WITHOUT_LENGTH, Headers, Response


@lru_cache(maxsize=256)
def _first_lines(status: int, second: int, last: bool) -> bytes:  # noqa: FBT001  cached by position
    ending = "connection: close\r\n" if last else ""
    date = formatdate(second, usegmt=True)
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ndate: {date}\r\n{ending}".encode("ascii")


@memo(32 << 20, lambda _headers: 1024)
def _rendered(headers: Headers) -> bytes:
    """Return header fields as lines. Many responses have the same headers as an earlier one.

    Raises:
        ValueError: a field contains a line break, and would add a line.
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
        raise ValueError("headers: a field contains a line break; header fields of a response are single lines")
    return lines.encode("latin-1")


@lru_cache(maxsize=16_384)
def _length(size: int) -> bytes:
    return b"content-length: %d\r\n\r\n" % size


def response_head(response: Response, *, last: bool) -> bytes:
    """Return the head of a response, with the empty line that ends it.

    Args:
        last: announce that the connection ends with this response.

    Raises:
        ValueError: a header field contains a line break.
    """
    first = _first_lines(response.status, int(time.time()), last)
    timing = f"server-timing: {response.timing}\r\n".encode("ascii") if response.timing else b""
    length = b"\r\n" if response.status in WITHOUT_LENGTH else _length(len(response.body))
    return b"".join((first, _rendered(response.headers), timing, length))


def head_of_stream(status: int, headers: Headers) -> bytes:
    """Return the head of a response without a length, which ends with its connection.

    Raises:
        ValueError: a header field contains a line break.
    """
    return _first_lines(status, int(time.time()), True) + _rendered(headers) + b"\r\n"  # noqa: FBT003  as there
