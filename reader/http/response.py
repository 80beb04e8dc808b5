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


@memo(16 << 20, lambda field: len(field[0]) + len(field[1]))
def _line(field: tuple[str, str]) -> bytes:
    """Return a header field as a line. Most fields are the same as in an earlier response.

    Raises:
        ValueError: the field contains a line break, and would add a line.
    """
    line = f"{field[0]}: {field[1]}"
    if "\n" in line or "\r" in line:
        raise ValueError("headers: a field contains a line break; header fields of a response are single lines")
    return line.encode("latin-1") + b"\r\n"


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
    return b"".join((first, *map(_line, response.headers), timing, length))


def head_of_stream(status: int, headers: Headers) -> bytes:
    """Return the head of a response without a length, which ends with its connection.

    Raises:
        ValueError: a header field contains a line break.
    """
    return _first_lines(status, int(time.time()), True) + b"".join(map(_line, headers)) + b"\r\n"  # noqa: FBT003  as there
