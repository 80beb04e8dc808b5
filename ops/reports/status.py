"""`ops reports status`: state of each declared report, and its next refresh by the worker's own rules.

The stored state comes from Redis. The waiting changes, and with them the next refresh, come from the database if
one is configured, with the prober's own query and decision; without a database they are unknown.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from clocks import ClockReading, moment, running_us, wall_us
from ops.command import Command, CommandRefused, CommandResult, Tools
from ops.depth.report_freshness import FIELDS, read_audit, read_report
from ops.doctor.checks_reports import judge_report
from ops.doctor.finding import DoctorFinding
from ops.doctor.texts import cause_text, remedy_text
from ops.reports.proofs_postgres import gain_lines, proof_line
from ops.reports.remedies import remedy_of
from ops.reports.stored import stored_fields
from ops.table import printable, table
from reports import Report, ReportError, load_reports
from reports.boards import Board, boards_of
from reports.catalogue_postgres import Catalogue
from reports.keys import audit, snapshot, wanted
from reports.outbox_postgres import Outbox
from reports.pace import Decision, Probe, decide_all
from reports.source_postgres import DATABASE_FAULTS, log_fields
from reports.store import ReportStore
from reports.triggers import board_key

_DELAYS = {
    "failed": (
        "it waits after its failure",
        "fix the cause of the error, and it is computed then; each further failure doubles the wait",
    ),
    "budget": (
        "its budget delays the next refresh",
        "make the query cheaper (./run ops reports check --plan), raise budget.max_db_share or the hard limit",
    ),
}
"""Causes of a late refresh, with their remedies."""
_TOLD = {"report.fails", "report.never", "report.distrusted"}
"""Findings for which there is a more detailed line."""
_HEADS = ["REPORT", "BOARD", "STATE", "GEN", "AGE", "P50", "P95", "WANTED", "MARKED", "PROOF", "DUE", "ERROR"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportStatus:
    """Status of a report. Unknown values are None.

    Attributes:
        verified: the last instant at which it was known to be true.
        age_ms: the time since then.
        cost_p50_ms, cost_p95_ms: execution time of its latest refreshes' queries, by the database's clock.
        wanted: True if a reader served it stale.
        marked: True if changes of its board wait.
        proof: the proof that its board is unchanged: ``marks``, ``snapshot`` or ``none``.
        unproved: why the proof is not ``marks``.
        computed: why all nodes were computed, or ``nodes``; None: an earlier build stored it.
        distrusted: the instant at which the query for some nodes disagreed with the whole.
        refused_from: the instant from which readers refuse it, if that is before its next refresh.
        findings: the doctor's findings about it.
        due, why: the next refresh of its board, and its reason from `reports/pace.py`.
    """

    report: str
    board: str
    state: str
    generation: int | None = None
    as_of: datetime | None = None
    verified: datetime | None = None
    age_ms: int | None = None
    cost_p50_ms: float | None = None
    cost_p95_ms: float | None = None
    wanted: bool = False
    marked: bool | None = None
    proof: str | None = None
    unproved: tuple[str, ...] = ()
    due: datetime | None = None
    why: str | None = None
    error: str | None = None
    computed: str | None = None
    distrusted: datetime | None = None
    refused_from: datetime | None = None
    findings: tuple[DoctorFinding, ...] = ()

    @property
    def well(self) -> bool:
        """True if nothing is wrong with it, and readers get it until its next refresh."""
        is_wrong = any(one.severity == "wrong" for one in self.findings)
        return not is_wrong and self.state != "never" and self.refused_from is None

    def to_json(self) -> dict[str, Any]:
        """Return plain values; ``orjson`` writes the datetimes."""
        fields = {name: value for name, value in asdict(self).items() if name != "findings"}
        return fields | {"findings": [{"code": one.code, "severity": one.severity} for one in self.findings]}


async def read_statuses(tools: Tools, args: argparse.Namespace) -> CommandResult:
    """Return the status of all declared reports. Raises CommandRefused and RedisError."""
    del args
    try:
        boards = boards_of(load_reports(tools.reports_path, shipped=tools.reports_shipped))
    except ReportError as error:
        raise CommandRefused(f"{error}; ./run ops reports check lists all faults") from None
    redis = await ReportStore(tools.redis, tenant=tools.tenant).read_clock()
    seen, decisions, catalogue, note = await _look(tools, boards, redis)
    clocks, clock_lines = _clocks(tools, redis, seen)
    statuses = [
        await _report_status(tools, report, board, redis, seen, decisions.get(board.name), catalogue)
        for board in boards.values()
        for report in board.reports
    ]
    statuses.sort(key=lambda one: one.report)
    now = seen.at if seen is not None else moment(redis.said_us)
    text = table(_HEADS, [_row(one, now) for one in statuses], left={0, 1, 2, 9, 10, 11})
    unwatched = [proof_line(*one) for one in sorted(catalogue.proofs.items()) if one[1].why]
    facts = {"reports": [one.to_json() for one in statuses], "clocks": clocks, "note": note}
    lines = [text, *unwatched, *gain_lines(catalogue), *_to_do(statuses), *clock_lines, *([note] if note else [])]
    return CommandResult(
        "\n".join(lines),
        facts,
        done=all(one.well for one in statuses),
    )


def _to_do(statuses: Sequence[ReportStatus]) -> Iterator[str]:
    """Yield what is wrong with each report, with the remedy."""
    for one in statuses:
        if one.error is not None:
            yield f"{one.report}: {printable(one.error)}: {remedy_of(one.error)}"
        elif one.state == "never":
            yield f"{one.report}: was never computed; start a worker with MOMENTUS_POSTGRES_DSN"
        for finding in one.findings:
            if finding.code not in _TOLD:
                yield f"{one.report}: {cause_text(finding)}: {remedy_text(finding)}"
        if one.distrusted is not None:
            yield (
                f"{one.report}: its query for some nodes failed, or disagreed with the whole, at "
                f"{one.distrusted:%Y-%m-%d %H:%M:%S} UTC, so the whole is computed for a day; "
                "see ./run ops reports check, and whether something writes to its tables without triggers"
            )
        if one.refused_from is not None and one.due is not None:
            delay, remedy = _DELAYS["failed" if one.why == "failed" else "budget"]
            yield (
                f"{one.report}: {delay} until {one.due:%Y-%m-%d %H:%M:%S} UTC, and "
                f"readers get 503 from {one.refused_from:%Y-%m-%d %H:%M:%S} UTC; {remedy}"
            )


def _clocks(tools: Tools, redis: ClockReading, seen: Probe | None) -> tuple[dict[str, float], list[str]]:
    """Return the seconds by which other clocks are ahead of Redis's, and lines about those too far apart."""
    ahead_us = {"this machine": wall_us() - running_us() - redis.ahead_us}
    if seen is not None and seen.reading is not None:
        ahead_us["the database"] = seen.reading.ahead_us - redis.ahead_us
    bound = tools.clock_bound.total_seconds()
    clocks = {owner: round(ahead / 1_000_000, 3) for owner, ahead in ahead_us.items()}
    lines = [
        f"the clock of {owner} is {ahead:+.1f} s from Redis's (MOMENTUS_REPORTS__CLOCK_BOUND allows {bound:g} s): "
        "no report counts as fresh; synchronise all machines with the same time servers"
        for owner, ahead in clocks.items()
        if abs(ahead) > bound
    ]
    return clocks, lines


async def _look(
    tools: Tools, boards: Mapping[str, Board], redis: ClockReading
) -> tuple[Probe | None, Mapping[str, Decision], Catalogue, str]:
    """Return the prober's present view and decisions, or a note why they are unknown."""
    if not tools.postgres_dsn:
        return None, {}, Catalogue(), "MOMENTUS_POSTGRES_DSN: is not set; the waiting changes are unknown"
    outbox, store = (
        Outbox(tools.postgres_dsn, tenant=tools.tenant, boards=boards),
        ReportStore(tools.redis, tenant=tools.tenant),
    )
    try:
        seen = await outbox.probe_database()
        if seen.reading is not None:
            seen = replace(seen, offset=timedelta(microseconds=seen.reading.ahead_us - redis.ahead_us))
        found = await outbox.catalogue()
        reports = [report.name for board in boards.values() for report in board.reports]
        known = await store.read_known(reports)
        read = [one for one in reports if await tools.redis.exists(wanted(tools.tenant, one))]
        decisions = decide_all(boards, known, seen, tenant=tools.tenant, watched=found.watched, wanted=read)
    except DATABASE_FAULTS as error:
        remedy = remedy_of(type(error).__name__)
        note = f"the database does not answer ({_in_words(error)}); the waiting changes are unknown; {remedy}"
        return None, {}, Catalogue(), note
    finally:
        await outbox.close()
    return seen, decisions, found, ""


async def _report_status(
    tools: Tools,
    report: Report,
    board: Board,
    now: ClockReading,
    seen: Probe | None,
    decision: Decision | None,
    catalogue: Catalogue,
) -> ReportStatus:
    name = report.name
    key = snapshot(tools.tenant, name)
    *fields, costs = await tools.redis.hmget(key, [*FIELDS, "_costs"])  # type: ignore[misc]
    last = await tools.redis.hget(audit(tools.tenant, name), "last")  # type: ignore[misc]
    now_us = now.ahead_us + running_us()
    fresh = replace(read_report(name, *fields, now_us=now_us, bound=tools.clock_bound), **read_audit(last))
    found = ReportStatus(
        report=name,
        board=board.name,
        wanted=bool(await tools.redis.exists(wanted(tools.tenant, name))),
        marked=None if seen is None else board_key(tools.tenant, board.name) in seen.marks,
        proof=None if seen is None else catalogue.proof(board.name).kind,
        unproved=catalogue.proof(board.name).why,
        due=None if decision is None or decision.why == "never" else decision.due,
        why=None if decision is None else decision.why,
        findings=tuple(judge_report(fresh, at=moment(now_us))),
        **stored_fields(fresh, fields[0], costs),
    )
    return replace(found, refused_from=_refused_from(report, found, decision))


def _refused_from(report: Report, found: ReportStatus, decision: Decision | None) -> datetime | None:
    """Return the instant from which readers refuse a report, if its next refresh is later."""
    if decision is None or found.due is None or found.verified is None or report.name in decision.proved:
        return None
    until = found.verified + report.hard
    return until if until < found.due else None


def _in_words(error: BaseException) -> str:
    """Return the error with the server's message, if the server sent one."""
    return ": ".join(log_fields(error).values())


def _row(one: ReportStatus, now: datetime) -> list[str]:
    due = (
        "?"
        if one.why is None
        else "-"
        if one.due is None
        else f"{max(0.0, (one.due - now).total_seconds()):.1f} s"
    )
    marked = {None: "?", True: "yes", False: "no"}[one.marked]
    return [
        one.report,
        one.board,
        one.state,
        _or_dash(one.generation, ""),
        _or_dash(None if one.age_ms is None else one.age_ms / 1000, " s"),
        _or_dash(one.cost_p50_ms, " ms"),
        _or_dash(one.cost_p95_ms, " ms"),
        "yes" if one.wanted else "no",
        marked,
        one.proof or "?",
        due if one.why is None else f"{due} ({one.why})",
        one.error or "-",
    ]


def _or_dash(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value}{unit}" if isinstance(value, int) else f"{value:.1f}{unit}"


def _arguments(parser: argparse.ArgumentParser) -> None:
    del parser


COMMANDS = (
    Command(
        "status",
        "show the state of each report, and its next refresh",
        "reports status",
        _arguments,
        read_statuses,
    ),
)
