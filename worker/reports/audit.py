"""Self-audit: the totals of some nodes are computed in a second, slower way and compared with the stored ones.

A cron starts it. For each report a few nodes are drawn at random. A recursive query walks down each node's
subtree, as a dashboard without stored reports would for every view, and returns the direct rows. The audit
aggregates these in one pass, without the tree, the roll-up or the documents of a refresh.

Both sides come from one state: the report's own instant is bound as ``:now``, and a set is audited only if the
database has not changed since: on a watched board, if no mark waits and none was taken up for a later set; on
others, if no transaction except the refresh's own has ended. Otherwise the report is passed over, which is
counted too. So a difference is a fault: of this code, of a trigger that left no mark, or of another program that
wrote into Redis.

A difference is logged (``report.mismatch``), counted and stored beside the report for `ops reports status`. It is
not corrected, since it does not show which of the two values is right.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import orjson
from redis.asyncio import Redis

from jobs.lanes import REPORTS
from producers.node_ids import fault_of
from reports import Report
from reports.day import day_around
from reports.keys import audit, snapshot
from reports.node_ids import NodeId
from reports.numbers import EXACT, as_text, nearest_ratio, read_exactly
from reports.pace import only_ended
from reports.rollup import InvalidRows
from reports.rollups import columns_of, ratio_of, top_of, weight_of
from reports.source_postgres import DATABASE_FAULTS, DatabaseSnapshot
from reports.triggers import board_key
from worker.engine import Cron, Schedule
from worker.events import emit, event
from worker.reports.audit_postgres import is_unmarked, rows_below
from worker.reports.refresh_context import RefreshContext

_REPORT_MISMATCH = event("report.mismatch")

KIND = "report.audit"
NODES = 3
"""Nodes of each report that one audit compares."""
_FIELDS_OF_A_NODE = 16
"""Fields drawn for each node: a node has up to four, one of which is its document."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Values = list[Any]


@dataclass(frozen=True, slots=True)
class Auditor:
    """Dependencies of an audit; handlers find it as ``auditor``.

    Attributes:
        redis: client with ``decode_responses=False``.
    """

    refresher: RefreshContext
    redis: Redis


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """Result of the audit of one report.

    Attributes:
        audited: number of compared nodes; 0 if the database has changed since.
        wrong: node and measure of each difference, without the values.
    """

    audited: int = 0
    wrong: tuple[tuple[NodeId, str], ...] = ()


def audit_cron() -> Cron:
    """Return the cron of the audit: every ten minutes, between refreshes."""
    return Cron(
        name="report.audit",
        schedule=Schedule(minute={4, 14, 24, 34, 44, 54}),
        kind=KIND,
        lane=REPORTS,
        payload={},
    )


async def audit_reports(context: dict[str, Any]) -> dict[str, object]:
    """Handle ``report.audit``: audit some nodes of every report.

    A report that the database refuses, or a database that is down, is left to the next audit; the refresh has
    reported it. A dead job would ask operators for a decision that is not needed.

    Raises:
        RedisError: Redis did not answer; the next audit tries again.
    """
    auditor: Auditor = context["auditor"]
    found: dict[str, object] = {}
    for report in auditor.refresher.reports.values():
        try:
            finding = await audit_report(auditor, report)
        except DATABASE_FAULTS as error:
            found[report.name] = {"audited": 0, "error": type(error).__name__}
        else:
            found[report.name] = {"audited": finding.audited, "mismatched": len(finding.wrong)}
    return found


async def audit_report(auditor: Auditor, report: Report, *, nodes: int = NODES) -> AuditFinding:
    """Audit some nodes of one report and record the result."""
    refresher = auditor.refresher
    async with refresher.source.snapshot() as state:
        stored = await _drawn(auditor, report, nodes)
        if stored is None or not await _is_of(refresher, state, report, stored.meta):
            finding = AuditFinding()
        else:
            async with state.part():
                finding = await _compared(refresher, state, report, stored)
    await _note(auditor, report, finding, state.as_of)
    return finding


@dataclass(frozen=True, slots=True)
class _StoredReport:
    meta: Mapping[str, Any] = field(repr=False)
    totals: Mapping[NodeId, Mapping[str, Any]] = field(repr=False)

    @property
    def as_of(self) -> datetime:
        return _EPOCH + timedelta(microseconds=self.meta["as_of_us"])


async def _drawn(auditor: Auditor, report: Report, nodes: int) -> _StoredReport | None:
    """Draw some nodes and return their totals and the set's times; None if nothing is stored."""
    key = snapshot(auditor.refresher.tenant, report.name)
    drawn = await auditor.redis.hrandfield(key, _FIELDS_OF_A_NODE * nodes)
    scopes = [name for name in drawn if not fault_of(name.decode())]
    chosen = random.sample(scopes, min(nodes, len(scopes)))
    meta, *bodies = await auditor.redis.hmget(key, [b"_meta", *chosen])  # type: ignore[misc]
    if meta is None:
        return None
    documents = [read_exactly(body.decode()) for body in bodies if body]
    return _StoredReport(orjson.loads(meta), {one["scope"]: one["data"]["total"] for one in documents})


async def _compared(
    refresher: RefreshContext, state: DatabaseSnapshot, report: Report, stored: _StoredReport
) -> AuditFinding:
    """Compare the drawn nodes; return an empty finding if a value has no form: the refresh reports that."""
    try:
        wrong = [
            (node, measure)
            for node, shown in stored.totals.items()
            for measure in await _differing(refresher, state, report, stored.as_of, node, shown)
        ]
    except InvalidRows:
        return AuditFinding()
    return AuditFinding(len(stored.totals), tuple(wrong))


async def _is_of(
    refresher: RefreshContext, state: DatabaseSnapshot, report: Report, meta: Mapping[str, Any]
) -> bool:
    """Return True if this database state still contains exactly what the set was computed from."""
    board = refresher.board_of(report).name
    as_of = _EPOCH + timedelta(microseconds=meta["as_of_us"])
    if state.standby or meta.get("catalogue") is None:
        return False
    if refresher.outbox is not None and await refresher.outbox.watches(board):
        return await is_unmarked(state, board_key(refresher.tenant, board), since=as_of)
    return only_ended(meta["snapshot"], state.visible, meta.get("xid"))


async def _differing(
    refresher: RefreshContext,
    state: DatabaseSnapshot,
    report: Report,
    as_of: datetime,
    node: NodeId,
    shown: Mapping[str, Any],
) -> list[str]:
    """Return the measures of a node's total that differ from the recomputed ones."""
    day = day_around(as_of, refresher.zone_of(report))
    rows = await rows_below(state, report, node, now=as_of, day=day)
    with localcontext(EXACT):
        slow = compute_measures(rows, report.rollup)
    return [
        measure
        for measure, value in slow.items()
        if not _same(as_text(value) if measure in report.as_text else value, shown.get(measure))
    ]


def compute_measures(rows: Sequence[Mapping[str, Any]], rollup: Mapping[str, str]) -> dict[str, Any]:
    """Compute the measures over all these rows together, each by its definition.

    A measure with ``sql`` is left out: the query computes it for a whole subtree, so no second way exists.

    >>> compute_measures([{"people": 2}, {"people": 3}], {"people": "sum"})
    {'people': 5}
    """
    columns = {
        measure: [row[measure] for row in rows if row[measure] is not None]
        for measure in columns_of(rollup)
        if rollup[measure] != "sql"
    }
    slow = {
        measure: _together(values, rollup[measure])
        for measure, values in columns.items()
        if not _is_beside(rollup[measure]) and not weight_of(rollup[measure])
    }
    slow |= {measure: _beside(rows, rollup, measure) for measure, how in rollup.items() if _is_beside(how)}
    for measure, how in rollup.items():
        if weight := weight_of(how):
            slow[measure] = _average([(row[measure], row[weight]) for row in rows if row[weight]])
        if pair := ratio_of(how):
            part, whole = (slow[name] for name in pair)
            slow[measure] = nearest_ratio(part, whole) if whole else None
    return slow


def _average(pairs: Sequence[tuple[Any, Any]]) -> float | None:
    """Return the weighted average of averages."""
    whole = sum(Fraction(weight) for _, weight in pairs)
    return float(sum(Fraction(value) * Fraction(weight) for value, weight in pairs) / whole) if whole else None


def _is_beside(how: str) -> bool:
    return how.startswith("of ")


def _together(values: _Values, how: str) -> Any:  # noqa: ANN401  one form per roll-up
    match how:
        case "sum":
            return sum(values)
        case "min" | "max":
            return (min if how == "min" else max)(values, default=None)
        case "any":
            return any(values)
        case "distinct":
            return len({one for array in values for one in array if one is not None})
        case "sums":
            objects = [read_exactly(value) for value in values]
            return {key: sum(one.get(key, 0) for one in objects) for one in objects for key in one}
    return _first(values, how)


def _first(values: _Values, how: str) -> _Values:
    """Return the first of all rows by their keys."""
    top = top_of(how)
    if top is None:
        raise ValueError(f"roll-up: {how!r} is not known to the audit; add it there")
    rows = [row for value in values for row in read_exactly(value)]
    return sorted(rows, key=lambda row: [row[key] for key in top.keys], reverse=top.descending)[: top.count]


def _beside(rows: Sequence[Mapping[str, Any]], rollup: Mapping[str, str], measure: str) -> Any:  # noqa: ANN401
    """Return the value in the row of the extreme; among equal extremes, the most extreme value."""
    leader = rollup[measure].removeprefix("of ")
    choose = min if rollup[leader] == "min" else max
    led = [row for row in rows if row[leader] is not None]
    if not led:
        return None
    extreme = choose(row[leader] for row in led)
    return choose(
        (row[measure] for row in led if row[leader] == extreme and row[measure] is not None), default=None
    )


def _same(slow: Any, shown: Any) -> bool:  # noqa: ANN401  values of any measure
    """Return True if a document shows this value; sums of binary fractions may differ in the last digits."""
    if isinstance(slow, float) and isinstance(shown, int | Decimal):
        return math.isclose(slow, shown, rel_tol=1e-9)
    if isinstance(slow, int | Decimal) and isinstance(shown, int | Decimal):
        return slow == shown
    if isinstance(slow, date):
        return isinstance(shown, str) and type(slow).fromisoformat(shown) == slow
    if isinstance(slow, dict) and isinstance(shown, dict):
        return slow.keys() == shown.keys() and all(_same(slow[key], shown[key]) for key in slow)
    return bool((str(slow) if not isinstance(slow, str | list | dict | bool | None) else slow) == shown)


async def _note(auditor: Auditor, report: Report, finding: AuditFinding, at: datetime) -> None:
    """Count the result, and store the nodes and measures that differed last."""
    key = audit(auditor.refresher.tenant, report.name)
    at_us = (at - _EPOCH) // timedelta(microseconds=1)
    async with auditor.redis.pipeline(transaction=True) as pipe:
        pipe.hincrby(key, "audited", finding.audited)
        pipe.hincrby(key, "passed_over", int(not finding.audited))
        pipe.hincrby(key, "mismatched", len(finding.wrong))
        pipe.hset(key, "at_us", str(at_us))
        if finding.wrong:
            pipe.hset(key, "last", orjson.dumps({"at_us": at_us, "wrong": finding.wrong[:20]}).decode())
        await pipe.execute()
    for node, measure in finding.wrong:
        emit(_REPORT_MISMATCH, report=report.name, node=node, measure=measure)
