"""Stored form of one scope of one report.

The worker writes the fields all at once, so that body, path and times are from the same instant. This module
decodes them and refuses other formats: a response is never made from data that was only partly understood.

    <scope>        the document, as served; <scope>:zstd and <scope>:gzip the same, compressed
    head:<scope>   {"etag", "path", "as_of_us"}: identity, path in the tree, instant of the last change
    gone:<scope>   microseconds: instant at which the node was removed
    _meta          times and limits of the whole report
    _error         {"at_us", "error"}: the last refresh, if it failed
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from clocks import moment
from reader.memo import memo

ERROR_LENGTH = 300
"""Largest number of characters of a failed refresh's message; only its first line is used."""

REPORT_FIELDS = ("_meta", "_error")
"""Fields of a whole report, which follow those of its documents."""

_ETAG = re.compile(r"[0-9a-f]{16}", re.ASCII)


class SnapshotUnreadable(Exception):
    """A stored report is not in the agreed format; worker and reader have different versions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """Times and limits of a whole report; `_us` are microseconds, instants of the database's clock since 1970.

    Attributes:
        verified_us: instant until which the data is known to be true.
        valid_until_us: instant at which time makes it untrue (a new day), or None.
        soft_ms: age past which it is stale.
        hard_ms: age past which it is not served.
        cost_ms: duration of a refresh.
        clock_offset_us: microseconds by which the database's clock was ahead of Redis's; 0 if it was not measured.
    """

    gen: int
    verified_us: int
    valid_until_us: int | None
    soft_ms: int
    hard_ms: int
    cost_ms: float
    clock_offset_us: int = 0
    visible: str = ""
    """``pg_current_snapshot()``: the transactions that are in the data, or changed nothing in it."""
    tree: str = ""
    """Version of the tree of its documents; it changes if a node comes, leaves or moves. Empty if not known."""
    roots: tuple[str, ...] = ()
    """Tops of the tree; empty if not known."""

    @property
    def stamp(self) -> str:
        """Text that stays the same while no document is withdrawn and no path changes."""
        return self.tree or f"gen {self.gen}"

    def __hash__(self) -> int:
        return hash((self.gen, self.verified_us))


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """Identity of a document, its node's path from the top of the tree, and the last change of its data."""

    etag: str
    path: tuple[str, ...]
    as_of_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LastFailure:
    """The last refresh that failed."""

    at_us: int
    error: str = field(repr=False)


@dataclass(slots=True, kw_only=True)
class StoredScope:
    """Stored data of one scope of one report; without `meta` the report was never computed."""

    body: bytes | None = field(repr=False)
    head: Head | None
    gone_us: int | None
    meta: Meta | None
    failure: LastFailure | None
    encoding: str = ""


def fields_of(scope: str, encoding: str = "") -> list[str]:
    """Return the fields of a snapshot, in the order of `decode_snapshot`."""
    return [*document_fields(scope, encoding), *REPORT_FIELDS]


def document_fields(scope: str, encoding: str = "") -> tuple[str, str, str]:
    """Return the fields of one document, as part of :func:`fields_of`."""
    return f"{scope}:{encoding}" if encoding else scope, f"head:{scope}", f"gone:{scope}"


def standing_fields(scope: str) -> list[str]:
    """Return the fields of a node's standing in today's tree, in the order of `decode_standing`."""
    return [f"head:{scope}", f"gone:{scope}", "_meta"]


def decode_standing(values: Sequence[bytes | None]) -> StoredScope:
    """Return a snapshot without its body. Raises SnapshotUnreadable."""
    return decode_snapshot((None, *values, None))


def decode_meta(octets: bytes) -> Meta:
    """Return the times and limits of a whole report. Raises SnapshotUnreadable."""
    meta = decode_snapshot((None, None, None, octets, None)).meta
    assert meta is not None  # noqa: S101  it was given
    return meta


def with_path_of(day: StoredScope, today: StoredScope) -> StoredScope:
    """Return a closed day's document with today's path of its node.

    Today's tree decides who may read a node, and whether it exists: a node that is withdrawn today has no days to
    read.
    """
    head = replace(day.head, path=today.head.path) if day.head and today.head else None
    return replace(day, head=head, gone_us=today.gone_us, meta=day.meta if today.meta else None)


def decode_snapshot(values: Sequence[bytes | None], encoding: str = "") -> StoredScope:
    """Return a snapshot from the values of `fields_of`. Raises SnapshotUnreadable."""
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
        raise SnapshotUnreadable(
            f"stored report: not in the agreed format ({error!r}); run the same version of worker and reader"
        ) from error


@memo(16 << 20)
def _head(octets: bytes) -> Head:
    """Return the head; cached, because most lookups find the same bytes as an earlier one."""
    fields: dict[str, Any] = orjson.loads(octets)
    if not _ETAG.fullmatch(fields["etag"]):
        raise ValueError("etag: not 16 hex digits")
    return Head(
        etag=fields["etag"],
        path=tuple(map(_node, fields["path"])),
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
        roots=tuple(map(_node, fields.get("roots", ()))),
    )


def _node(node_id: object) -> str:
    """Return a node's id as text; integers are stored as numbers."""
    if type(node_id) not in {int, str}:
        raise TypeError(f"{node_id!r} is not a node id")
    return str(node_id)


def _failure(fields: dict[str, Any]) -> LastFailure:
    lines = str(fields["error"]).strip().splitlines() or [""]
    return LastFailure(at_us=_time(fields["at_us"]), error=lines[0][:ERROR_LENGTH])


def _time(microseconds: int) -> int:
    moment(int(microseconds))  # an instant outside the calendar is refused here, not when it is formatted
    return int(microseconds)
