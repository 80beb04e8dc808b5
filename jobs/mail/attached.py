"""Content-Type and encoding of an attached file.

Both follow from the frozen attachment and its bytes, so that every attempt writes the same bytes.

- A text gets its charset (RFC 2046, 4.1.2): the caller's, or the one that its bytes show.
- A calendar gets its own method (RFC 6047, 2.4), else an invitation is shown as a plain file.
- An attached mail is not encoded: ``message/rfc822`` must not be base64 (RFC 2046, 5.2.1). One with 8-bit bytes
  or lines too long for SMTP is sent as ``application/octet-stream``, which mail programs open by its ending.
"""

import re
from collections.abc import Mapping
from typing import Any

from .charset import charset_of
from .file_types import OCTET_STREAM

MAIL = "message/rfc822"
_LINE_BYTES = 998
"""The longest line of SMTP, without CR LF (RFC 5321, 4.5.3.1.6)."""
_METHOD = re.compile(rb"^METHOD:[ \t]*([A-Za-z-]{1,20})[ \t]*\r?$", re.MULTILINE | re.IGNORECASE)


def content_type(file: Mapping[str, Any], content: bytes) -> str:
    """Return the value of the part's Content-Type field."""
    kind = str(file["type"])
    if ";" in kind:  # another producer wrote the parameters itself
        return kind
    if kind == MAIL:
        return kind if is_plain_mail(content) else OCTET_STREAM
    charset = file.get("charset") or (charset_of(content) if kind.startswith("text/") else None)
    parameters = [f"charset={charset}"] if charset else []
    if kind == "text/calendar" and (method := _METHOD.search(content)):
        parameters.append(f"method={method[1].decode().upper()}")
    return "; ".join([kind, *parameters])


def is_plain_mail(content: bytes) -> bool:
    """Return True if an attached mail needs no encoding: seven bits, no NUL, no lone CR, no line too long."""
    lines = content.replace(b"\r\n", b"\n")
    if not content.isascii() or b"\0" in content or b"\r" in lines:
        return False
    return max(map(len, lines.split(b"\n"))) <= _LINE_BYTES


def unencoded_mail(content: bytes) -> bytes:
    """Return a mail with CR LF line ends and a final one, which belongs to the boundary that follows."""
    return content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") + b"\r\n"
