"""Character sets of text files: the known names, and detection of the one that a file uses.

Only sure cases are detected: bytes that are UTF-8, or that begin with the byte order mark of UTF-16. Any other
file has no charset unless the caller gives one, since a wrong guess would show wrong letters where the
recipient's program may guess right.
"""

import codecs
import re

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,39}\Z")
_PYTHONS_OWN = frozenset(
    {"idna", "palmos", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-8-sig"}
)


def is_charset(name: str) -> bool:
    """Return True if a name is a character set that a Content-Type may state.

    >>> is_charset("iso-8859-1"), is_charset("hex")
    (True, False)
    """
    if not _NAME.match(name):
        return False
    try:
        "".encode(name)  # raises for codecs that are not character sets
        return codecs.lookup(name).name not in _PYTHONS_OWN
    except (LookupError, UnicodeError):
        return False


def decodes_as(charset: str, content: bytes) -> bool:
    """Return True if the bytes decode in this character set."""
    try:
        content.decode(charset)
    except UnicodeError:
        return False
    return True


def charset_of(content: bytes) -> str | None:
    """Return the character set of a text file, or None if its bytes do not show it."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and decodes_as("utf-16", content):
        return "utf-16"
    return "utf-8" if decodes_as("utf-8", content) else None
