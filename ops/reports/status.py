"""`ops reports status`: how each declared report fares, and when it is next due, by the rules that refresh it.

What is stored comes from Redis. What waits in the database, and so when a report is due, is asked of the database
where one is named, by the prober's own look and decision; without one those two stay unknown.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from statistics import median
from typing import Any

import orjson

from clocks import ClockReading, running_us, wall_us
from ops.command import Command, CommandRefused, CommandResult, Tools
from ops.depth.report_freshness import ReportFreshness, moment, read_report
from ops.reports.proofs_postgres import proof_line
from ops.reports.remedies import remedy_of
from ops.table import printable, table
from reports import Report, ReportError, load_reports
from reports.boards import Board, boards_of
from reports.catalogue_postgres import Catalogue
from reports.cost import p95
from reports.keys import snapshot, wanted
from reports.outbox_postgres import Outbox
from reports.pace import Decision, Probe, decide_all
from reports.source_postgres import DATABASE_FAULTS, log_fields
from reports.store import ReportStore
from reports.triggers import board_key

_DELAYS = {
    "failed": (
        "it rests after its failure",
        "mend what the error names, and it is computed at that time; each further failure doubles the rest",
    ),
    "budget": (
        "its budget puts the next refresh off",
        "make the query cheaper (./run ops reports check --plan), raise budget.max_db_share, or promise less",
    ),
}
"""What keeps a report waiting, and what to do."""
_HEADS = ["REPORT", "BOARD", "STATE", "GEN", "AGE", "P50", "P95", "WANTED", "MARKED", "PROOF", "DUE", "ERROR"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportStatus:
    """How a report fares. What is not known is None.

    Attributes:
        verified: the last instant at which it was known to be true.
        age_ms: since then.
        cost_p50_ms, cost_p95_ms: what its latest refreshes took of the database.
        wanted: somebody read it and found it old.
        marked: changes of its board wait.
        proof: what proves its board unchanged: ``marks``, ``snapshot`` or ``none``.
        unproved: why it is not ``marks``.
        refused_from: when readers cease to get it, if that is before its next refresh.
        due, why: when its board is refreshed next, and for which of the reasons of `reports/pace.py`.
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
    refused_from: datetime | None = None

    @property
    def well(self) -> bool:
        """Whether readers get it, and will until its next refresh."""
        return self.state in {"fresh", "stale"} and self.error is None and self.refused_from is None


async def status(tools: Tools, asked: argparse.Namespace) -> CommandResult:
    """All declared reports. Raises Refused and RedisError."""
    del asked
    try:
        boards = boards_of(load_reports(tools.reports_path, shipped=tools.reports_shipped))
    except ReportError as error:
        raise CommandRefused(f"{error}; ./run ops reports check tells all there is to mend") from None
    redis = await ReportStore(tools.redis, tenant=tools.tenant).clock()
    seen, decisions, catalogue, note = await _look(tools, boards, redis)
    clocks, told = _clocks(tools, redis, seen)
    fares = [
        await _report_status(tools, report, board, redis, seen, decisions.get(board.name), catalogue)
        for board in boards.values()
        for report in board.reports
    ]
    fares.sort(key=lambda one: one.report)
    now = seen.at if seen is not None else moment(redis.said_us)
    text = table(_HEADS, [_row(one, now) for one in fares], left={0, 1, 2, 9, 10, 11})
    unwatched = [proof_line(*one) for one in sorted(catalogue.proofs.items()) if one[1].why]
    facts = {"reports": [asdict(one) for one in fares], "clocks": clocks, "note": note}
    return CommandResult(
        "\n".join([text, *unwatched, *_to_do(fares), *told, *([note] if note else [])]),
        facts,
        done=all(one.well for one in fares),
    )


def _to_do(fares: Sequence[ReportStatus]) -> Iterator[str]:
    """What is wrong with each report, and what to do."""
    for one in fares:
        if one.error is not None:
            yield f"{one.report}: {printable(one.error)}: {remedy_of(one.error)}"
        elif one.state == "never":
            yield f"{one.report}: was never computed: is a worker with MOMENTUS_POSTGRES_DSN running?"
        if one.refused_from is not None and one.due is not None:
            delay, remedy = _DELAYS["failed" if one.why == "failed" else "budget"]
            yield (
                f"{one.report}: {delay} until {one.due:%Y-%m-%d %H:%M:%S} UTC, and "
                f"readers are refused it from {one.refused_from:%Y-%m-%d %H:%M:%S} UTC: {remedy}"
            )


def _clocks(tools: Tools, redis: ClockReading, seen: Probe | None) -> tuple[dict[str, float], list[str]]:
    """By how many seconds the database's clock and this machine's are ahead of Redis's; and lines for people."""
    ahead_us = {"this machine": wall_us() - running_us() - redis.ahead_us}
    if seen is not None and seen.reading is not None:
        ahead_us["the database"] = seen.reading.ahead_us - redis.ahead_us
    bound = tools.clock_bound.total_seconds()
    clocks = {whose: round(ahead / 1_000_000, 3) for whose, ahead in ahead_us.items()}
    lines = [
        f"the clock of {whose} is {ahead:+.1f} s from Redis's (MOMENTUS_REPORTS__CLOCK_BOUND allows {bound:g} s): "
        "no report is called fresh; let all follow the same time servers"
        for whose, ahead in clocks.items()
        if abs(ahead) > bound
    ]
    return clocks, lines


async def _look(
    tools: Tools, boards: Mapping[str, Board], redis: ClockReading
) -> tuple[Probe | None, Mapping[str, Decision], Catalogue, str]:
    """What the prober would see and decide now; and why that is not known, if it is not."""
    if not tools.postgres_dsn:
        return None, {}, Catalogue(), "MOMENTUS_POSTGRES_DSN is not set: what waits in the database is not known"
    outbox, store = (
        Outbox(tools.postgres_dsn, tenant=tools.tenant, boards=boards),
        ReportStore(tools.redis, tenant=tools.tenant),
    )
    try:
        seen = await outbox.look()
        if seen.reading is not None:
            seen = replace(seen, offset=timedelta(microseconds=seen.reading.ahead_us - redis.ahead_us))
        found = await outbox.catalogue()
        reports = [report.name for board in boards.values() for report in board.reports]
        known = await store.known(reports)
        read = [one for one in reports if await tools.redis.exists(wanted(tools.tenant, one))]
        decisions = decide_all(boards, known, seen, tenant=tools.tenant, watched=found.watched, wanted=read)
    except DATABASE_FAULTS as error:
        remedy = remedy_of(type(error).__name__)
        note = f"the database cannot be asked ({_in_words(error)}): what waits there is not known; {remedy}"
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
    meta, error, costs = await tools.redis.hmget(key, ["_meta", "_error", "_costs"])  # type: ignore[misc]
    fresh = read_report(name, meta, error, now_us=now.ahead_us + running_us(), bound=tools.clock_bound)
    fare = ReportStatus(
        report=name,
        board=board.name,
        wanted=bool(await tools.redis.exists(wanted(tools.tenant, name))),
        marked=None if seen is None else board_key(tools.tenant, board.name) in seen.marks,
        proof=None if seen is None else catalogue.proof(board.name).kind,
        unproved=catalogue.proof(board.name).why,
        due=None if decision is None or decision.why == "never" else decision.due,
        why=None if decision is None else decision.why,
        **_stored(fresh, meta, costs),
    )
    return replace(fare, refused_from=_refused_from(report, fare, decision))


def _refused_from(report: Report, fare: ReportStatus, decision: Decision | None) -> datetime | None:
    """When readers cease to get a report, if its budget puts the next refresh off for longer."""
    if decision is None or fare.due is None or fare.verified is None or report.name in decision.proved:
        return None
    until = fare.verified + report.hard
    return until if until < fare.due else None


def _in_words(error: BaseException) -> str:
    """The error with the server's words, where they are the server's."""
    return ": ".join(log_fields(error).values())


def _stored(fresh: ReportFreshness, meta: bytes | None, costs: bytes | None) -> dict[str, Any]:
    """What the stored set says of itself; of one that cannot be read, only that."""
    said: dict[str, Any] = {
        "state": fresh.state,
        "as_of": fresh.as_of,
        "age_ms": fresh.age_ms,
        "error": fresh.error,
    }
    if meta is None or fresh.state == "unreadable":
        return said
    fields, spent = orjson.loads(meta), orjson.loads(costs or b"[]")
    return said | {
        "generation": fields.get("gen"),
        "verified": moment(fields["verified_us"]),
        "cost_p50_ms": median(spent) if spent else fields.get("cost_ms"),
        "cost_p95_ms": p95(spent) if spent else fields.get("cost_ms"),
    }


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
    Command("status", "how each report fares, and when it is next due", "reports status", _arguments, status),
)
