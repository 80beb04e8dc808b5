"""Compressed variants of a document, made once when it changes, so that the reader sends stored bytes untouched.

zstd at level 3 and gzip at level 6: on documents of a few kilobytes the next level costs more time than it saves.
Brotli is not used: its fast levels gain little over zstd, and its best one takes a hundred times as long.
"""

import gzip
from dataclasses import dataclass, field

import zstandard

SMALLEST = 1400
"""Bytes below which a document has no variants: with its headers it is two packets, which are sent at once, so
that a compressed one would arrive no sooner. Most of a refresh of small documents was spent on such variants.
"""
_ZSTD_LEVEL = 3
_GZIP_LEVEL = 6


@dataclass(frozen=True, slots=True)
class Variants:
    """Compressed forms of a document; empty for a form that is not stored."""

    zstd: bytes = field(repr=False)
    gzip: bytes = field(repr=False)


NONE = Variants(b"", b"")


class Compressor:
    """Compressor of documents. Reuses one zstd context, which is expensive to create; not thread-safe."""

    def __init__(self) -> None:
        self._zstd = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)

    def variants(self, body: bytes) -> Variants:
        """Return the variants of a document; none for a small one.

        gzip omits the time, so that equal bodies give equal bytes.

        >>> Compressor().variants(b"small") == NONE
        True
        """
        if len(body) < SMALLEST:
            return NONE
        return Variants(self._zstd.compress(body), gzip.compress(body, _GZIP_LEVEL, mtime=0))
