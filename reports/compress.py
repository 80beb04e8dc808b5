"""A document's compressed variants, made once when it changes, so that the reader sends stored octets untouched.

zstd at 3 and gzip at 6: the next level costs more time than it saves octets on documents of a few kilobytes.
Brotli is left out: its fast levels gain little over zstd, and its best one takes a hundred times as long.
"""

import gzip
from dataclasses import dataclass, field

import zstandard

SMALLEST = 700
"""Octets below which a variant is not worth its header and its place: such a document fits one packet anyway."""
_ZSTD_LEVEL = 3
_GZIP_LEVEL = 6


@dataclass(frozen=True, slots=True)
class Variants:
    """The compressed forms; empty where there is none."""

    zstd: bytes = field(repr=False)
    gzip: bytes = field(repr=False)


NONE = Variants(b"", b"")


class Compressor:
    """Makes variants. Holds a context of zstd, which is dear to make; not for two threads at once."""

    def __init__(self) -> None:
        self._zstd = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)

    def variants(self, body: bytes) -> Variants:
        """The variants of a document; none of a small one. gzip without a clock, so that equal bodies stay equal.

        >>> Compressor().variants(b"small") == NONE
        True
        """
        if len(body) < SMALLEST:
            return NONE
        return Variants(self._zstd.compress(body), gzip.compress(body, _GZIP_LEVEL, mtime=0))
