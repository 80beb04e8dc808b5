"""Documents as readers send them: bytes, and a head with what the reader must know without parsing them."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import orjson

from reports import Report
from reports.bounds import DEFAULT, ReportBounds
from reports.node_ids import NodeId, id_json
from reports.numbers import as_text, write_json
from reports.rollup import Totals
from reports.tree import Tree

SCHEMA = 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Document:
    """Stored response for one scope.

    Attributes:
        etag: 16 hex digits over the data part alone, so that a refresh without change keeps it.
        body: bytes of the response, sent unchanged.
        head: JSON with etag, path (root to node) and ``as_of_us``.
    """

    etag: str
    body: bytes = field(repr=False)
    head: bytes = field(repr=False)


def write_documents(
    report: Report, tree: Tree, totals: Mapping[NodeId, Totals], *, as_of: datetime, bounds: ReportBounds = DEFAULT
) -> dict[NodeId, Document]:
    """Write a document for every node that has totals, in the tree's order if all have.

    JSON is assembled from parts that are each written once: the node's part for all reports of a board, and the
    parts that all documents of a report share.

    Args:
        as_of: instant for which the numbers are true, by the database's clock.
        bounds: largest allowed report.

    Raises:
        InvalidRows: the documents are larger than the bounds.
    """
    before = b'{"report":%b,"scope":' % orjson.dumps(report.name)
    between = b',"schema":%d,"as_of":"%b","data":' % (SCHEMA, format_instant(as_of).encode())
    as_of_us = microseconds(as_of)
    as_texts = report.scope in report.as_text
    nodes = tree.nodes_json_of_texts if as_texts else tree.nodes_json
    documents = {}
    written = 0
    for node_id in tree.nodes if len(totals) == len(tree.nodes) else totals:
        data = _data(nodes[node_id], _told(totals[node_id], report.as_text))
        etag = hashlib.blake2b(data, digest_size=8).hexdigest()
        scope = id_json(str(node_id) if as_texts else node_id)
        body = b"%b%b%b%b}" % (before, scope, between, data)
        head = b'{"etag":"%b","path":%b,"as_of_us":%d}' % (etag.encode(), tree.paths_json[node_id], as_of_us)
        documents[node_id] = Document(etag, body, head)
        written += len(body)
        bounds.require_bytes(written)
    return documents


def _told(totals: Totals, as_texts: frozenset[str]) -> Totals:
    """Return the totals with the numbers of these measures written as strings."""
    if not as_texts:
        return totals
    own, total = (
        {measure: as_text(value) if measure in as_texts else value for measure, value in part.items()}
        for part in (totals.own, totals.total)
    )
    return Totals(own, total)


def _data(node: bytes, totals: Totals) -> bytes:
    total = write_json(totals.total)
    own = total if totals.own is totals.total else write_json(totals.own)
    return b'{"node":%b,"total":%b,"own":%b}' % (node, total, own)


def microseconds(instant: datetime) -> int:
    """Return microseconds since 1970, exactly."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def format_instant(instant: datetime) -> str:
    """Format an instant as RFC 3339 in UTC, with microseconds."""
    return instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def milliseconds(duration: timedelta) -> int:
    """Round a duration to whole milliseconds."""
    return round(duration / timedelta(milliseconds=1))
