"""The documents that readers get: octets, and a head with what the reader needs to know without parsing them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import orjson

from jobs.reports import Report
from worker.reports.rollup import Totals
from worker.reports.tree import Tree

SCHEMA = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Document:
    """One scope's stored answer.

    Attributes:
        etag: 16 hex digits over the data part alone, so that a refresh without change keeps it.
        body: what is sent, untouched.
        head: JSON with etag, path (root to node) and ``as_of_us``.
    """

    etag: str
    body: bytes
    head: bytes


def write_documents(
    report: Report, tree: Tree, totals: Mapping[int, Totals], *, as_of: datetime
) -> dict[int, Document]:
    """A document for every node.

    Args:
        as_of: the database's instant that the numbers are true for.
    """
    shared = {"report": report.name, "schema": SCHEMA, "as_of": stamp(as_of)}
    as_of_us = microseconds(as_of)
    return {node_id: _document(tree, node_id, totals[node_id], shared, as_of_us) for node_id in tree.nodes}


def _document(tree: Tree, node_id: int, totals: Totals, shared: Mapping[str, object], as_of_us: int) -> Document:
    node, path = tree.nodes[node_id], tree.paths[node_id]
    about = {"id": node.id, "name": node.name, "kind": node.kind, "path": path, "children": tree.children[node_id]}
    octets = orjson.dumps({"node": about, "total": totals.total, "own": totals.own})
    etag = hashlib.blake2b(octets, digest_size=8).hexdigest()
    body = {
        "report": shared["report"],
        "scope": node_id,
        "schema": shared["schema"],
        "as_of": shared["as_of"],
        "data": orjson.Fragment(octets),
    }
    head = {"etag": etag, "path": path, "as_of_us": as_of_us}
    return Document(etag, orjson.dumps(body), orjson.dumps(head))


def microseconds(instant: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def stamp(instant: datetime) -> str:
    """RFC 3339 in UTC, with microseconds."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def milliseconds(duration: timedelta) -> int:
    """Whole milliseconds, as the wire has them."""
    return round(duration / timedelta(milliseconds=1))
