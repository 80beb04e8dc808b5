"""Text of header fields, encoded without Python's ``email`` package.

Python's own ``email`` package decodes encoded-words in its input and writes the result unchecked: before 3.11.10
a task title such as ``=?utf-8?q?x=0D=0ABcc:_evil=40example.org?=`` became a real ``Bcc`` line (CVE-2024-6923,
cpython#121650). So nothing here decodes: text is refused when it holds a control character or something that
looks like an encoded-word, and everything outside printable ASCII is written as base64 encoded-words (RFC 2047).
The finished fields are verified line by line (`header_block.py`).
"""

import re
import unicodedata
from base64 import b64encode
from collections.abc import Iterable

from .errors import UnsafeHeader

_ENCODED_WORD = re.compile(r"=\?[^?\s]*\?[bqBQ]\?")
_PLAIN = re.compile(r"[\x20-\x7e]*\Z")

_WORD_BYTES = 39
"""39 bytes are 52 of base64, 64 with ``=?utf-8?b?`` and ``?=``: a line with the longest name before it, or the
space of a folded one, stays within the 76 allowed (RFC 2047, 2)."""
LINE_BYTES = 998
"""The longest line a server must take, without CR LF (RFC 5322, 2.1.1)."""


def refuse_unsafe(text: str, *, field: str) -> None:
    """Raise if the text must not reach a header.

    Raises:
        UnsafeHeader: a control character, a line or paragraph separator, a surrogate, or an encoded-word.
    """
    for position, character in enumerate("" if text.isprintable() else text):
        if unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}:
            raise UnsafeHeader(
                field, f"contains the control character U+{ord(character):04X} at position {position}; remove it"
            )
    if _ENCODED_WORD.search(text):
        raise UnsafeHeader(
            field, "contains an encoded-word (=?charset?q?...); give plain text, which is encoded later"
        )


def encode_text(text: str) -> str:
    """Return a header value in printable ASCII, folded; equal text gives equal bytes.

    Example:
        >>> encode_text("Cierre mensual")
        'Cierre mensual'
        >>> encode_text("Reunión")
        '=?utf-8?b?UmV1bmnDs24=?='
    """
    if _PLAIN.match(text) and "=?" not in text and len(text) <= LINE_BYTES - 80:
        return text
    words = (f"=?utf-8?b?{b64encode(piece).decode()}?=" for piece in _pieces(text))
    return "\r\n ".join(words)


def _pieces(text: str) -> Iterable[bytes]:
    """Yield pieces of UTF-8 that fit an encoded-word and never split a character (RFC 2047, 5)."""
    encoded, start = text.encode(), 0
    while len(encoded) - start > _WORD_BYTES:
        end = start + _WORD_BYTES
        while encoded[end] & 0xC0 == 0x80:  # noqa: PLR2004  the second or a later byte of a character
            end -= 1
        yield encoded[start:end]
        start = end
    yield encoded[start:]
