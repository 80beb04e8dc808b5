"""The parts of a mail as octets (RFC 2045, 2046, 2183, 2231), each with the header of its own.

Everything is base64, so that no relay has a reason to rewrite it, no line can start with a dot or be too long, and
no content can hold a boundary: ``_`` is not in the alphabet of base64.
"""

from base64 import b64decode
from binascii import b2a_base64
from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any, NamedTuple
from urllib.parse import quote

from .header import header_block

_LINE = Struct("76s")
"""The characters of a line of base64 (RFC 2045, 6.8)."""
_UNENCODED = "!#$&+-.^_`|~"
"""What may stand in a value of RFC 2231 as it is, besides letters and digits."""


class Part(NamedTuple):
    """A part: header, empty line, content."""

    octets: bytes


def text_part(kind: str, body: str) -> Part:
    """``text/plain`` or ``text/html`` in UTF-8."""
    if "\r" in body:
        body = body.replace("\r\n", "\n").replace("\r", "\n")
    head = f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return Part(head.encode() + _base64(body.replace("\n", "\r\n").encode()))


def attachment_part(file: Mapping[str, Any], attached: Mapping[str, bytes]) -> Part:
    """A file to be saved, not shown.

    Args:
        file: a frozen attachment.
        attached: contents by ``ref``.

    Raises:
        KeyError: the content of the reference was not brought.
        ValueError: the content that travelled is no base64.
        UnsafeHeader: type or name would have made a header field of their own.
    """
    content = b64decode(file["content"], validate=True) if "content" in file else attached[file["ref"]]
    head = header_block(
        [
            ("Content-Type", file["type"]),
            ("Content-Disposition", f"attachment; {_filename(file['name'])}"),
            ("Content-Transfer-Encoding", "base64"),
        ]
    )
    return Part(head + b"\r\n" + _base64(content))


def multipart(kind: str, parts: Sequence[Part], *, boundary: str) -> Part:
    """Several parts as one."""
    divider = f"--{boundary}\r\n".encode("ascii")
    head = header_block([("Content-Type", f'multipart/{kind}; boundary="{boundary}"')])
    body = b"".join(divider + part.octets for part in parts)
    return Part(head + b"\r\n" + body + f"--{boundary}--\r\n".encode("ascii"))


def _filename(name: str) -> str:
    """ASCII in quotes; anything else in percents, with its charset, on one line (RFC 2231, 4)."""
    if name.isascii() and not {'"', "\\", "%"} & set(name):
        return f'filename="{name}"'
    return f"filename*=utf-8''{quote(name, safe=_UNENCODED)}"


def _base64(content: bytes) -> bytes:
    encoded = b2a_base64(content, newline=False)
    whole = len(encoded) - len(encoded) % _LINE.size
    lines = [line for (line,) in _LINE.iter_unpack(encoded[:whole])]  # slices one by one take twice as long
    if whole < len(encoded):
        lines.append(encoded[whole:])
    return b"\r\n".join(lines) + b"\r\n"
