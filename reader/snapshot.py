"""What one look into Redis brought back about one scope of one report.

The fields are written by the worker, all at once, so that body, path and times are of the same instant.
This file reads them and refuses what is not in the format: an answer is never made of half-understood data.

    <scope>        the document, as served; <scope>:zstd and <scope>:gzip the same, compressed
    head:<scope>   {"etag", "path", "as_of_us"}: identity, place in the tree, when the data last changed
    gone:<scope>   microseconds: when the node was removed
    _meta          the whole report's times and limits
    _error         {"at_us", "error"}: the last refresh that failed; absent when all is well
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from reader.memo import memo

ERROR_LENGTH = 300
"""Characters of a failed refresh's message that are passed on; its first line says what happened."""

_ETAG = re.compile(r"[0-9a-f]{16}", re.ASCII)


class SnapshotUnreadable(Exception):
    """What is stored is not in the agreed format; the worker that wrote it and this reader differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """Times and limits of a whole report, in microseconds since 1970 where named `_us`.

    `verified_us`: until when the data is known to be true. `valid_until_us`: when time itself makes it
    untrue (a new day). Past `soft_ms` of age it is stale, past `hard_ms` it is not served. `cost_ms`: what
    a refresh takes. `clock_offset_us`: by how much the database's clock, whose all these instants are, was ahead
    of Redis's; 0 where nobody looked.
    """

    gen: int
    verified_us: int
    valid_until_us: int | None
    soft_ms: int
    hard_ms: int
    cost_ms: float
    clock_offset_us: int = 0
    visible: str = ""
    """``pg_current_snapshot()``: which transactions are in the data, or changed nothing in it."""
    tree: str = ""
    """The tree that its documents are of: another one when a node came, left or moved. Empty: not known."""

    @property
    def stamp(self) -> str:
        """What is the same as long as no document is withdrawn, and no other path leads to it."""
        return self.tree or f"gen {self.gen}"

    def __hash__(self) -> int:
        return hash((self.gen, self.verified_us))


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """One document's identity, its node's path from the top of the tree, and when its data last changed."""

    etag: str
    path: tuple[int, ...]
    as_of_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LastFailure:
    """The last refresh that failed."""

    at_us: int
    error: str = field(repr=False)


@dataclass(slots=True, kw_only=True)
class StoredScope:
    """One scope of one report; without `meta` the report was never computed."""

    body: bytes | None = field(repr=False)
    head: Head | None
    gone_us: int | None
    meta: Meta | None
    failure: LastFailure | None
    encoding: str = ""


def fields_of(scope: int, encoding: str = "") -> list[str]:
    """The fields that make a snapshot, in the order `decode` takes them."""
    return [f"{scope}:{encoding}" if encoding else f"{scope}", f"head:{scope}", f"gone:{scope}", "_meta", "_error"]


def standing_fields(scope: int) -> list[str]:
    """The fields that tell how a node stands in the tree of now, in the order `decode_standing` takes them."""
    return [f"head:{scope}", f"gone:{scope}", "_meta"]


def decode_standing(values: Sequence[bytes | None]) -> StoredScope:
    """A snapshot without its body. Raises SnapshotUnreadable."""
    return decode((None, *values, None))


def decode_meta(octets: bytes) -> Meta:
    """A whole report's times and limits. Raises SnapshotUnreadable."""
    meta = decode((None, None, None, octets, None)).meta
    assert meta is not None  # noqa: S101  it was given
    return meta


def under(day: StoredScope, today: StoredScope) -> StoredScope:
    """A closed day's document, with today's place of its node.

    Who may read a node, and whether it is there, is decided by the tree of now: what is withdrawn today is not
    to be had from yesterday.
    """
    head = replace(day.head, path=today.head.path) if day.head and today.head else None
    return replace(day, head=head, gone_us=today.gone_us, meta=day.meta if today.meta else None)


def decode(values: Sequence[bytes | None], encoding: str = "") -> StoredScope:
    """A snapshot from the values of `fields_of`. Raises SnapshotUnreadable."""
    body, head, gone, meta, failure = values
    try:
        return StoredScope(
            body=body,
            head=_head(head) if head else None,
            gone_us=_time(int(gone)) if gone else None,
            meta=_meta(meta) if meta else None,
            failure=_failure(orjson.loads(failure)) if failure else None,
            encoding=encoding,
        )
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise SnapshotUnreadable(f"a stored report is not in the agreed format: {error!r}") from error


def moment(microseconds: int) -> datetime:
    """Microseconds since 1970 as an aware datetime. Raises OverflowError past the year 9999."""
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)


@memo(16 << 20)
def _head(octets: bytes) -> Head:
    """The same octets are the same head: most looks find what an earlier one has read."""
    fields: dict[str, Any] = orjson.loads(octets)
    if not _ETAG.fullmatch(fields["etag"]):
        raise ValueError("etag is not 16 hex digits")
    return Head(
        etag=fields["etag"],
        path=tuple(int(node) for node in fields["path"]),
        as_of_us=_time(fields["as_of_us"]),
    )


@memo(1 << 20)
def _meta(octets: bytes) -> Meta:
    fields: dict[str, Any] = orjson.loads(octets)
    until = fields["valid_until_us"]
    return Meta(
        gen=int(fields["gen"]),
        verified_us=_time(fields["verified_us"]),
        valid_until_us=None if until is None else _time(until),
        soft_ms=int(fields["soft_ms"]),
        hard_ms=int(fields["hard_ms"]),
        cost_ms=float(fields["cost_ms"]),
        clock_offset_us=int(fields.get("clock_offset_us") or 0),
        visible=str(fields.get("proved_snapshot") or fields.get("snapshot", "")),
        tree=str(fields.get("tree", "")),
    )


def _failure(fields: dict[str, Any]) -> LastFailure:
    lines = str(fields["error"]).strip().splitlines() or [""]
    return LastFailure(at_us=_time(fields["at_us"]), error=lines[0][:ERROR_LENGTH])


def _time(microseconds: int) -> int:
    moment(int(microseconds))  # one that no calendar holds is refused here, not when it is shown
    return int(microseconds)
