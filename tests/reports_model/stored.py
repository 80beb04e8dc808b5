"""What Redis holds of a report, read without the product, and what must be true of it whatever happened."""

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
import zstandard

from tests.reports_model.clock import from_us, order

SMALLEST_VARIANT = 1400
Expected = Callable[[datetime], Mapping[int, dict[str, Any]]]
"""Every document's data at an instant."""


@dataclass(frozen=True, slots=True)
class StoredSet:
    """A report's hash."""

    fields: Mapping[str, bytes]

    @property
    def meta(self) -> dict[str, Any]:
        return orjson.loads(self.fields["_meta"])

    @property
    def as_of(self) -> datetime:
        return from_us(self.meta["as_of_us"])

    @property
    def verified(self) -> datetime:
        return from_us(self.meta["verified_us"])

    @property
    def generation(self) -> int:
        return int(self.meta["gen"])

    @property
    def bodies(self) -> dict[int, bytes]:
        return {int(name): value for name, value in self.fields.items() if name.isdigit()}

    @property
    def data(self) -> dict[int, dict[str, Any]]:
        return {scope: orjson.loads(body)["data"] for scope, body in self.bodies.items()}

    def of_scopes(self, kind: str) -> dict[int, bytes]:
        """Fields like ``head:7``."""
        return {
            int(name.partition(":")[2]): one for name, one in self.fields.items() if name.startswith(kind + ":")
        }


def require_whole(stored: StoredSet, expected: Expected) -> None:
    """All of it belongs together, and agrees with the slow computation as of its instant."""
    meta, now = stored.meta, expected(stored.as_of)
    assert stored.data == now
    assert meta["scopes"] == len(now)
    assert int(stored.fields["_as_of"]) == meta["as_of_us"]
    assert int(stored.fields["_gen"]) == meta["gen"]
    if meta["valid_until_us"] is not None:
        assert meta["verified_us"] <= meta["valid_until_us"]
    heads = {scope: orjson.loads(head) for scope, head in stored.of_scopes("head").items()}
    gone = {scope: from_us(int(at)) for scope, at in stored.of_scopes("gone").items()}
    assert heads.keys() == stored.bodies.keys() | gone.keys()
    assert not stored.bodies.keys() & gone.keys()
    for scope, body in stored.bodies.items():
        _require_document(stored, scope, body, heads[scope], expected)
    for scope, at in gone.items():
        assert order(at) <= order(stored.as_of)
        assert scope not in expected(at)
        _require_variants(stored, scope, b"")


def _require_document(
    stored: StoredSet, scope: int, body: bytes, head: Mapping[str, Any], expected: Expected
) -> None:
    document = orjson.loads(body)
    since = from_us(head["as_of_us"])
    assert order(since) <= order(stored.as_of)
    assert datetime.fromisoformat(document["as_of"]) == since, "body and head are of different refreshes"
    assert expected(since)[scope] == document["data"], "the document was not true at its own instant"
    assert head["path"] == document["data"]["node"]["path"]
    assert document["scope"] == scope
    _require_variants(stored, scope, body)


def _require_variants(stored: StoredSet, scope: int, body: bytes) -> None:
    zipped, packed = stored.fields.get(f"{scope}:gzip"), stored.fields.get(f"{scope}:zstd")
    if len(body) < SMALLEST_VARIANT:
        assert (zipped, packed) == (None, None)
        return
    assert zipped is not None
    assert packed is not None
    assert gzip.decompress(zipped) == body
    assert zstandard.ZstdDecompressor().decompress(packed) == body
