"""MIME parts of a mail as bytes (RFC 2045, 2046, 2183, 2231), each with its own header.

Everything but an attached mail is base64, so that no relay has a reason to rewrite it, no line can start with a
dot or be too long, and no content can hold a boundary: ``_`` is not in the alphabet of base64. An attached mail
is not encoded (:mod:`.attached`), unless it holds this mail's boundary.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from pybase64 import b64decode, encodebytes

from .attached import MAIL, content_type, unencoded_mail
from .errors import UnsafeHeader
from .file_types import OCTET_STREAM
from .header_block import header_block

_TEXT_HEADS: Mapping[str, bytes] = {
    kind: f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n".encode()
    for kind in ("plain", "html")
}
_UNENCODED = "!#$&+-.^_`|~"
"""Characters allowed unencoded in a value of RFC 2231, besides letters and digits."""


_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=?-]+\Z")
"""Characters allowed in a boundary (RFC 2046, 5.1.1)."""

Part = list[bytes]
"""Header, empty line and content, in pieces that are joined once, with those of the whole mail."""


def text_part(kind: str, body: str) -> Part:
    """Return a text part in UTF-8: ``plain``, ``html``, or another subtype, with its further parameters.

    Raises:
        UnsafeHeader: the subtype would have made a header field of its own.
    """
    encoded = body.encode()
    if "\r" in body:
        encoded = encoded.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return [_TEXT_HEADS.get(kind) or _text_head(kind), _base64(encoded.replace(b"\n", b"\r\n"))]


def _text_head(kind: str) -> bytes:
    subtype, _, parameters = kind.partition(";")
    value = f"text/{subtype}; charset=utf-8{parameters and f';{parameters}'}"
    return header_block([("Content-Type", value), ("Content-Transfer-Encoding", "base64")]) + b"\r\n"


def attachment_part(file: Mapping[str, Any], attached: Mapping[str, bytes], *, boundary: str) -> Part:
    """Return the part of a file: to be saved, or with a ``cid`` to be shown by the HTML.

    Args:
        file: a frozen attachment.
        attached: contents by ``ref``.
        boundary: of the mail around it.

    Raises:
        KeyError: the content of the reference is missing.
        ValueError: the content that travelled is not base64.
        UnsafeHeader: type or name would have made a header field of their own.
    """
    content = b64decode(file["content"], validate=True) if "content" in file else attached[file["ref"]]
    kind = content_type(file, content)
    if kind == MAIL and boundary.encode("ascii") in content:
        kind = OCTET_STREAM
    plain = kind == MAIL
    cid = file.get("cid")
    fields = [
        ("Content-Type", kind),
        ("Content-Disposition", f"{'inline' if cid else 'attachment'}; {_filename(file['name'])}"),
        ("Content-Transfer-Encoding", "7bit" if plain else "base64"),
    ]
    head = header_block([*fields, ("Content-ID", f"<{cid}>")] if cid else fields)
    return [head, b"\r\n", unencoded_mail(content) if plain else _base64(content)]


def multipart(kind: str, parts: Sequence[Part], *, boundary: str) -> Part:
    """Join several parts into one.

    Raises:
        UnsafeHeader: an invalid boundary.
    """
    if not _BOUNDARY.match(boundary):
        raise UnsafeHeader(
            "boundary", "has a character that RFC 2046, 5.1.1 does not allow; the mail was not built"
        )
    divider = f"--{boundary}\r\n".encode("ascii")
    pieces = [f'Content-Type: multipart/{kind}; boundary="{boundary}"\r\n\r\n'.encode("ascii")]
    for part in parts:
        pieces += divider, *part
    pieces.append(f"--{boundary}--\r\n".encode("ascii"))
    return pieces


def _filename(name: str) -> str:
    """Return the file name as a parameter: ASCII in quotes, others percent-encoded (RFC 2231, 4)."""
    if name.isascii() and not {'"', "\\", "%"} & set(name):
        return f'filename="{name}"'
    return f"filename*=utf-8''{quote(name, safe=_UNENCODED)}"


def _base64(content: bytes) -> bytes:
    """Encode in lines of 76 characters of base64 (RFC 2045, 6.8); no content is one empty line."""
    return encodebytes(content).replace(b"\n", b"\r\n") or b"\r\n"
