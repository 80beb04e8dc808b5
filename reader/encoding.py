"""Content negotiation (RFC 9110, 12.5.3): the stored variant of a document that suits a client.

Documents are compressed once, when they are computed: zstd (which every current browser accepts over TLS) and
gzip. The client gets the variant with its highest weight, zstd before gzip, or the plain document if it accepts
neither.

>>> choose_encoding("gzip, br, zstd"), choose_encoding("gzip;q=1, zstd;q=0.5"), choose_encoding("br")
('zstd', 'gzip', '')
>>> takes_plain("gzip"), takes_plain("gzip, identity;q=0"), takes_plain("gzip, *;q=0")
(True, False, False)
>>> takes_json("text/html, */*;q=0.1"), takes_json("text/html"), takes_json("")
(True, False, True)
"""

from __future__ import annotations

import re

from reader.memo import memo

STORED = ("zstd", "gzip")
"""Stored variants, in order of preference."""
PLAIN = ""

_WEIGHT = re.compile(r"q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)", re.ASCII)


@memo(1 << 20)
def choose_encoding(accept_encoding: str) -> str:
    """Return the stored variant for a client, or ``PLAIN``."""
    weights = _weights(accept_encoding)
    offered = [(weights.get(name, weights.get("*", 0.0)), name) for name in STORED]
    best = max(weight for weight, _ in offered)
    if best <= 0 or best < weights.get("identity", 0.0):
        return PLAIN
    return next(name for weight, name in offered if weight == best)


@memo(1 << 20)
def takes_plain(accept_encoding: str) -> bool:
    """Return True if the client accepts the document uncompressed; it does unless it excludes that."""
    weights = _weights(accept_encoding)
    return weights.get("identity", weights.get("*", 1.0)) > 0


def takes_gzip(accept_encoding: str) -> bool:
    """Return True if the client accepts gzip, and would not rather have the plain form."""
    weights = _weights(accept_encoding)
    gzip = weights.get("gzip", weights.get("*", 0.0))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)


@memo(1 << 20)
def takes_json(accept: str) -> bool:
    """Return True if the client accepts JSON (RFC 9110, 12.5.1)."""
    weights = _weights(accept)
    ranges = ("application/json", "application/*", "*/*")
    return not weights or next((weights[one] for one in ranges if one in weights), 0.0) > 0


def _weights(header: str) -> dict[str, float]:
    """Return names and weights. An unreadable weight counts as 1; of a name given twice the first counts."""
    weights: dict[str, float] = {}
    for part in header.lower().split(","):
        name, *parameters = [piece.strip() for piece in part.split(";")]
        if not name:
            continue
        found = [match[1] for piece in parameters if (match := _WEIGHT.fullmatch(piece))]
        weights.setdefault(name, float(found[0]) if found else 1.0)
    return weights
