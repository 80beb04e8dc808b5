"""Decision of a refresh: which nodes of a report it queries, or that it computes the whole.

A few nodes are enough if the set of this worker's last refresh is the one that is stored, if every change since
left a mark that names its nodes, and if time has changed no others. Each rule below is one way in which that may
not be so. None of them relies on a clock: transactions identify what was taken up, and a stored set by its
generation and instant.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import blake2b

from reports import Report
from reports.day import Day
from reports.last_set import LastSet
from reports.node_ids import IdKind, NodeId, is_shown_form
from reports.pace import KnownSet
from reports.taken_marks import TakenMarks

DISTRUSTED_FOR = timedelta(days=1)
"""Time for which a report is computed whole after its query for some nodes gave a different result."""
LARGEST_PART = 0.1
"""Largest part of the nodes for which the query for some nodes is used."""
FEWEST = 20
"""Number of nodes for which it is used in any case."""


class Why(StrEnum):
    """Reason why a refresh computes the whole; ``nodes``: it does not."""

    NODES = "nodes"
    DECLARED = "declared"  # the report has no query for some nodes
    UNMARKED = "unmarked"  # not every change leaves a mark
    FIRST = "first"  # this worker keeps no set of it
    DISTRUSTED = "distrusted"
    TAKEN_UP = "taken_up"  # another refresh took up marks since
    STORED = "stored"  # another set is stored
    CATALOGUE = "catalogue"
    TIME = "time"  # a day has ended, or time changes the numbers of unknown nodes
    EVERYTHING = "everything"  # a mark names no nodes: the tree changed, or a table without a node column
    UNKNOWN_NODE = "unknown_node"  # a mark names a node that the tree does not have
    MANY = "many"
    UNASKED = "unasked"  # nothing has changed: the refresh must check all
    COMPARED = "compared"  # both are computed and compared


_COMPARABLE = frozenset({Why.COMPARED, Why.UNASKED})
_AT_OWN_PACE = frozenset({Why.FIRST, Why.TIME, Why.COMPARED, Why.UNASKED})


@dataclass(frozen=True, slots=True)
class RefreshScope:
    """Nodes that a refresh queries.

    Attributes:
        nodes: nodes to query; None: none, the whole is computed.
        why: reason for the whole; for ``compared`` these nodes are queried first.
    """

    nodes: frozenset[NodeId] | None
    why: Why

    @property
    def is_whole(self) -> bool:
        """True if all nodes are computed."""
        return self.why is not Why.NODES

    @property
    def is_comparable(self) -> bool:
        """True if the whole must be equal to the kept set."""
        return self.why in _COMPARABLE

    @property
    def is_at_own_pace(self) -> bool:
        """True if the whole was computed now and then, so its cost says nothing about the next refresh."""
        return self.why in _AT_OWN_PACE


def refresh_scope(  # noqa: PLR0911, PLR0913  one for each rule
    last: LastSet | None,
    marks: TakenMarks,
    stored: KnownSet,
    *,
    now: datetime,
    day: Day,
    digest: str,
    every: timedelta,
    asked: bool,
    distrusted: bool = False,
) -> RefreshScope:
    """Decide what a refresh of a watched report queries.

    Args:
        last: the set that this worker keeps of its last refresh.
        marks: what was taken up in this transaction.
        stored: the set that is stored.
        now: instant of this refresh.
        day: day around it.
        digest: digest of the catalogue in this state.
        asked: True if a mark, or an instant of a report of the board, is the reason for the refresh.
        every: interval at which the whole is computed as well, and compared.
        distrusted: True if the query for some nodes is not used.
    """
    if last is None or distrusted:
        return RefreshScope(None, Why.DISTRUSTED if distrusted else Why.FIRST)
    if why := _of_another_state(last, marks, stored, digest) or _of_another_time(last, now, day):
        return RefreshScope(None, why)
    if marks.everything or _concern_all(last.report, marks):
        return RefreshScope(None, Why.EVERYTHING)
    if not asked:
        return RefreshScope(None, Why.UNASKED)
    named = _named(last, marks)
    if named is None:
        return RefreshScope(None, Why.UNKNOWN_NODE)
    nodes = named.union(last.deadlines.reached(now))
    if len(nodes) > max(FEWEST, LARGEST_PART * len(last.tree.nodes)):
        return RefreshScope(None, Why.MANY)
    return RefreshScope(nodes, Why.COMPARED if now - last.whole_at >= every else Why.NODES)


def _of_another_state(last: LastSet, marks: TakenMarks, stored: KnownSet, digest: str) -> Why | None:
    """Return the reason if the stored set and these marks do not follow from the kept set; else None."""
    if not marks.follow(last.xid):
        return Why.TAKEN_UP
    if not is_stored_now(last, stored):
        return Why.STORED
    return Why.CATALOGUE if digest != last.digest else None


def is_stored_now(last: LastSet, stored: KnownSet) -> bool:
    """Return True if the stored set is the one that this worker stored last.

    A generation alone would not say so: Redis may have lost some sets, and others have been stored since.
    """
    return stored.stored and (stored.generation, stored.as_of) == (last.generation, last.as_of)


def _of_another_time(last: LastSet, now: datetime, day: Day) -> Why | None:
    """Return ``time`` if time has changed the numbers, or a clock was set, and no column says for which nodes."""
    over = not last.report.valid_until_column and last.valid_until is not None and last.valid_until <= now
    return Why.TIME if over or day != last.day or now < last.as_of else None


def distrusted_since(report: Report, stored: KnownSet, noted: datetime | None, now: datetime) -> datetime | None:
    """Return the time since which the report's query for some nodes is not used; None: it is used.

    Args:
        noted: instant at which that query failed in this worker; None: it did not.
    """
    known = stored.distrusted if stored.distrusted_query == query_digest(report) else None
    latest = max((one for one in (known, noted) if one is not None), default=None)
    return None if latest is None or now - latest >= DISTRUSTED_FOR else latest


def query_digest(report: Report) -> str:
    """Return 16 hex digits over what the author wrote about nodes; a changed query is trusted again."""
    text = "\n".join([report.sql_of_nodes, *(f"{key} {value}" for key, value in report.node_columns.items())])
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _concern_all(report: Report, marks: TakenMarks) -> bool:
    """Return True if a mark is of a table whose rows may count for any node of the report.

    It names nodes only because another report of the board declares a column of that table.
    """
    return any(source in marks.nodes and source not in report.node_columns for source in report.sources)


def _named(last: LastSet, marks: TakenMarks) -> frozenset[NodeId] | None:
    """Return the nodes that marks of the report's sources name; None if one of them is not known.

    Rows of a node that the tree leaves out count for no node. A text that is not an id as documents show it may be
    another form of one that counts, like a UUID in capitals.
    """
    tree = last.tree
    texts = {text for source in last.report.sources for text in marks.nodes.get(source, ())}
    ids = _ids(texts, tree.kind)
    if ids is None:
        return None
    strangers = (one for one in ids if one not in tree.nodes)
    if any(not tree.leaves_out(one) or not is_shown_form(one, tree.kind) for one in strangers):
        return None
    return frozenset(one for one in ids if one in tree.nodes)


def _ids(texts: Iterable[str], kind: IdKind) -> set[NodeId] | None:
    try:
        return {int(text) if kind is IdKind.INTEGER else text for text in texts}
    except ValueError:
        return None
