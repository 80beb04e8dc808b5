"""Header of a mail as bytes, checked after encoding: a value that brings a line of its own is not sent.

The worker alone writes it; `header.py` encodes the text of its fields.
"""

import re
from collections.abc import Iterable, Sequence

from .errors import UnsafeHeader
from .header import LINE_BYTES

_PRINTABLE = re.compile(r"[\x20-\x7e]*\Z")
_NAME = re.compile(r"[!-9;-~]+\Z")
_NAMES = re.compile(r"(?:[!-9;-~]+\n)+\Z")
_FIELD = re.compile(rb"[!-9;-~]+: [\x20-\x7e]+\Z")
_BLOCK = re.compile(r"(?:[!-9;-~]+: [\x20-\x7e]+(?:\r\n[ \t][\x21-\x7e][\x20-\x7e]*)*\r\n)+\Z")
_FOLDED = re.compile(rb"[ \t][\x21-\x7e][\x20-\x7e]*\Z")


def header_block(fields: Iterable[tuple[str, str]]) -> bytes:
    """Return the header as bytes, without the empty line that ends it.

    Args:
        fields: name and encoded value, in order.

    Raises:
        UnsafeHeader: a value brings its own line, is too long or is not ASCII: a fault of this package, or an
            attack that passed the earlier checks. Either way the mail is not sent.
    """
    written = list(fields)
    block = "".join([f"{name}: {value}\r\n" for name, value in written])
    if len(block) <= LINE_BYTES and _is_sound(block, written):
        return block.encode("ascii")
    return b"".join([_checked_field(name, value) for name, value in written])


def _is_sound(block: str, written: Sequence[tuple[str, str]]) -> bool:
    """Apply the checks of :func:`_checked_field` to all fields at once, and check that none was added."""
    begun = block.count("\r\n") - block.count("\r\n ") - block.count("\r\n\t")
    if begun != len(written) or not _BLOCK.match(block):
        return False
    names = "\n".join([name for name, _ in written])
    return _NAMES.match(f"{names}\n") is not None


def _checked_field(name: str, value: str) -> bytes:
    """Return one field; each line after the first must be a continuation, or it would be another field."""
    encoded = f"{name}: {value}".encode("ascii", "replace")
    if value and len(encoded) <= LINE_BYTES and _PRINTABLE.match(value) and _NAME.match(name):
        return encoded + b"\r\n"  # one line, like nearly every field
    first, *folded = encoded.split(b"\r\n")
    too_long = any(len(line) > LINE_BYTES for line in (first, *folded))
    if too_long or not value.isascii() or not _FIELD.match(first) or not all(map(_FOLDED.match, folded)):
        raise UnsafeHeader(name, "the finished header field is malformed; the mail was not built")
    return encoded + b"\r\n"
