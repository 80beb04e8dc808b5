"""The database's catalogue: which boards it proves unchanged, and how.

    marks     each table of the board leaves a mark when it changes
    snapshot  all tables belong to this server: nothing changes while no writing transaction ends
    none      a standby lists no transactions in progress; rows of foreign or subscribed tables, rows hidden by
              row-level security, sequences and statistics change without a transaction of this server.
              Such a board is refreshed at the interval ``every``

Some statements change rows and fire no trigger: ATTACH of a filled partition, DROP of one, ALTER TABLE, a trigger
that is disabled and enabled again, another definition of a view. Each writes to the catalogue. So a set is stored
with a digest of the catalogue in its own state, and is not proved once that digest has changed.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import blake2b
from typing import Any

from reports.boards import Board
from reports.source_faults import SourceState, judge_sources
from reports.triggers import CALLS, CATALOGUE, board_key, trigger_name, watched_sources

Fetch = Callable[..., Awaitable[Sequence[Any]]]

_WORDS = {
    "absent": "{name} does not exist",
    "view": "{name} is a view, whose rows change with other tables; name those",
    "materialised": "{name} is a materialized view, and REFRESH fires no trigger",
    "foreign": "{name} is a foreign table, whose changes happen on another server",
    "subscribed": "{name} is filled by a logical subscription, which fires no triggers and may lag",
    "sequence": "{name} is a sequence, which changes without a transaction",
    "system": "{name} shows the server itself, which changes without a transaction",
    "hidden": "row-level security may hide rows of {name} from this user",
    "unmarked": "{name} has no trigger; run ./run ops reports install",
    "collecting": (
        "{name} has a foreign table below it: writes that reach it fail until ./run ops reports install is run"
    ),
    "former": "the trigger of {name} is disabled or not the current one; run ./run ops reports install again",
}
_UNPROVABLE = {"foreign", "hidden", "subscribed", "sequence", "system"}
"""Faults of a source whose rows may change, or be out of date, without a transaction of this server."""


@dataclass(frozen=True, slots=True)
class Proof:
    """Proof that a board's numbers are unchanged.

    Attributes:
        kind: ``marks``, ``snapshot`` or ``none``.
        why: reasons why the kind is not ``marks``; empty for ``marks``.
        digest: digest of the catalogue's rows about the board; None for ``none``.
        hidden: tables in which row-level security may hide rows.
        whole: tables whose marks name no nodes, although those of a new install would.
        unmarked, former: tables without a trigger, and those whose trigger is disabled or not the current one.
    """

    kind: str = "none"
    why: tuple[str, ...] = ()
    digest: str | None = None
    hidden: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    unmarked: tuple[str, ...] = ()
    former: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Catalogue:
    """State of the database's catalogue, as far as a tenant's boards depend on it.

    Attributes:
        visible: the ``pg_current_snapshot()`` of this state.
        proofs: each board's proof, by the board's name.
        faulty: sources that leave no marks.
        absent: sources that do not exist.
        since: start time of the server.
        standby: True if the server replays another server's changes (a standby).
        usable: True if this user may take up marks.
    """

    visible: str = ""
    proofs: Mapping[str, Proof] = field(default_factory=dict)
    faulty: tuple[str, ...] = ()
    absent: frozenset[str] = frozenset()
    since: datetime | None = None
    standby: bool = False
    usable: bool = False

    def proof(self, board: str) -> Proof:
        """Return the proof of a board; ``none`` for a board that was not part of the query."""
        return self.proofs.get(board, Proof())

    @property
    def watched(self) -> frozenset[str]:
        """Boards whose every change leaves a mark that this user may take up."""
        return frozenset(name for name, proof in self.proofs.items() if proof.kind == "marks")

    def without_marks(self, why: str) -> "Catalogue":
        """Return a copy in which boards proved by marks are proved by the snapshot."""
        proofs = {
            name: replace(proof, kind="snapshot", why=(f"marks cannot be taken up: {why}",))
            if proof.kind == "marks"
            else proof
            for name, proof in self.proofs.items()
        }
        return replace(self, proofs=proofs, usable=False)


async def read_catalogue(fetch: Fetch, tenant: str, boards: Mapping[str, Board]) -> Catalogue:
    """Query the catalogue for all boards.

    Args:
        fetch: runs a query; inside a transaction, the result is of that transaction's state.

    Raises:
        DATABASE_FAULTS: as ``fetch`` does.
    """
    wanted = watched_sources(tenant, boards)
    of_nodes = [one for one in wanted if one.column]
    calls = [
        (name, board_key(tenant, board.name)) for board in boards.values() if board.sources for name in board.calls
    ]
    names = [name for name, _ in calls]
    rows = await fetch(
        CATALOGUE,
        sorted({one.source for one in wanted}),
        trigger_name(tenant),
        [one.source for one in of_nodes],
        [one.column for one in of_nodes],
        names,
    )
    server, facts = rows[0], [row for row in rows if row["source"] is not None]
    reads: Sequence[Any] = ()
    if server["calls"]:
        sources, keys = [one.source for one in wanted], [one.board for one in wanted]
        reads = await fetch(CALLS, names, [key for _, key in calls], sources, keys)
    return judge_catalogue(tenant, boards, server, judge_sources(wanted, facts), reads)


def judge_catalogue(
    tenant: str,
    boards: Mapping[str, Board],
    server: Mapping[str, Any],
    sources: Sequence[SourceState],
    reads: Sequence[Mapping[str, Any]],
) -> Catalogue:
    """Judge the state of sources and the rows of ``server.sql`` and ``calls.sql``; pure."""
    proofs = {}
    for name, board in boards.items():
        key = board_key(tenant, name)
        states = [state for state in sources if state.board == key]
        proofs[name] = _proof(board, server, states, [row for row in reads if row["board"] == key])
    return Catalogue(
        visible=server["visible"],
        proofs=proofs,
        faulty=tuple(sorted({state.source for state in sources if state.faults})),
        absent=frozenset(state.source for state in sources if f"absent {state.source}" in state.faults),
        since=server["since"],
        standby=server["standby"],
        usable=server["usable"],
    )


def _proof(
    board: Board,
    server: Mapping[str, Any],
    states: Sequence[SourceState],
    reads: Sequence[Mapping[str, Any]],
) -> Proof:
    faults = sorted({fault for state in states for fault in state.faults}) if board.sources else []
    kinds = {fault.partition(" ")[0] for fault in faults}
    why = [_in_words(fault) for fault in faults]
    why += [_call_in_words(row["name"], row["relation"]) for row in reads]
    if server["standby"]:
        why.insert(0, _STANDBY)
    if not board.sources:
        why.append("a report of the board names no sources")
    beyond = server["outside"] is not None and (not board.sources or "view" in kinds or bool(reads))
    if beyond:
        why.append(_OUTSIDE.format(name=server["outside"]))
    if server["standby"] or beyond or kinds & _UNPROVABLE:
        return Proof("none", tuple(why), hidden=_tables(faults, "hidden"))
    digest = _digest(server, states)
    if board.sources and not faults and not reads and server["usable"]:
        whole = tuple(sorted({table for state in states for table in state.whole}))
        return Proof("marks", (), digest, whole=whole)
    if board.sources and not server["usable"]:
        why.append(_unusable(server["lacks"]))
    return Proof(
        "snapshot",
        tuple(why),
        digest,
        unmarked=_tables(faults, "unmarked", "collecting"),
        former=_tables(faults, "former"),
    )


def _tables(faults: Sequence[str], *kinds: str) -> tuple[str, ...]:
    return tuple(name for kind, _, name in (fault.partition(" ") for fault in faults) if kind in kinds)


def _unusable(lacks: str | None) -> str:
    if lacks is None:
        return "no triggers are installed; see ./run ops reports install"
    return f"this user may not take up marks: it lacks {lacks}; run ./run ops reports install --role with its name"


_STANDBY = "the database is a standby: it shows what it has replayed, and cannot store marks"
_OUTSIDE = "the database has {name}, which is foreign, subscribed or hides rows from this user"


def _digest(server: Mapping[str, Any], states: Sequence[SourceState]) -> str:
    text = "\n".join([server["digest"], *(f"{state.source} {state.digest}" for state in states)])
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _in_words(fault: str) -> str:
    kind, _, name = fault.partition(" ")
    return _WORDS[kind].format(name=name)


def _call_in_words(function: str, relation: str | None) -> str:
    if relation is None:
        return f"{function}() is called, and its body does not tell which tables it reads"
    return f"{function}() is called, which reads {relation}; name it in sources"
