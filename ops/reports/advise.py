"""`ops reports advise`: measure on this database whether precomputing a report pays.

It measures three ways to one dashboard: the application's own query node by node (`--walk`), the report's one
query for all nodes, and the read of a stored document. `advice.py` has the decision.
"""

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any
from zoneinfo import ZoneInfo

from ops.arguments import number_between
from ops.command import Command, CommandRefused, CommandResult, Tools
from ops.reports.advice import Advice, Measurement, advise_on
from ops.reports.checks import judge_report
from ops.reports.facts_postgres import DatabaseAway, ReportFacts, open_probe
from ops.reports.misread_numbers import misread_numbers
from ops.reports.preview import find_report
from ops.reports.walk_postgres import Walk, WalkFailure, measure_walk
from reports import Report
from reports.day import day_around
from reports.keys import snapshot
from reports.node_ids import NodeId

_READS = 50


async def advise_report(tools: Tools, args: argparse.Namespace) -> CommandResult:
    """Measure and advise. Raises CommandRefused."""
    report = find_report(tools, args.name)
    facts, walk = await _measured(tools, report, args)
    if facts.cost_ms is None or not facts.documents:
        raise CommandRefused(
            "; ".join(one.line() for one in judge_report(report, facts))
            or f"NAME: {report.name} has no documents; its query returned no rows"
        )
    per_view = min(args.nodes_per_view or len(facts.documents), len(facts.documents))
    apart_ms = max(facts.cost_ms / report.max_db_share, report.debounce.total_seconds() * 1000, 1.0)
    it = Measurement(
        set_ms=max(facts.cost_ms, 0.01),
        walk_ms=None if walk is None else _view_ms(walk, per_view),
        statements=1 if walk is None else per_view,
        read_ms=await _read_ms(tools, report, list(facts.documents)),
        views=args.views,
        refreshes=60_000 / apart_ms,
    )
    advice = advise_on(it)
    notes = [*facts.tree_notes, *misread_numbers(report, facts.documents)]
    result: dict[str, Any] = {"advice": asdict(advice), "measured": asdict(it), "nodes": len(facts.documents)}
    result["notes"] = notes
    if walk is not None:
        whole, give = walk.all_ms()
        result["walk"] = {
            "sampled": len(walk.took_ms),
            "mean_ms": walk.mean_ms,
            "root_ms": walk.root_ms,
            "all_ms": whole,
            "give_or_take_ms": give,
        }
    return CommandResult("\n".join([_text(report, it, advice, walk), *notes]), result)


def _view_ms(walk: Walk, per_view: int) -> float:
    """Return the duration of a view: for one node, the root's; for more, the mean for each."""
    return walk.root_ms if per_view == 1 else walk.mean_ms * per_view


async def _measured(tools: Tools, report: Report, args: argparse.Namespace) -> tuple[ReportFacts, Walk | None]:
    if not tools.postgres_dsn:
        raise CommandRefused("MOMENTUS_POSTGRES_DSN: is not set; name the database to measure")
    zone = ZoneInfo(report.timezone or tools.timezone)
    try:
        sql = None if args.walk is None else args.walk.read_text(encoding="utf-8")
        async with open_probe(tools.postgres_dsn, longest=tools.statement_timeout, bounds=tools.bounds) as it:
            facts = await it.examine_report(report, ZoneInfo(tools.timezone))
            if sql is None or not facts.documents:
                return facts, None
            tree = await it.snapshot.tree(report)
            day = day_around(it.snapshot.as_of, zone)
            return facts, await measure_walk(
                it, sql, tree, day, most=args.sample, seconds=args.seconds, file=args.walk.name
            )
    except WalkFailure as error:
        raise CommandRefused(f"--walk: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CommandRefused(f"--walk: {args.walk} cannot be read: {error}") from None
    except DatabaseAway as error:
        raise CommandRefused(f"MOMENTUS_POSTGRES_DSN: the database does not answer: {error}") from None


async def _read_ms(tools: Tools, report: Report, scopes: list[NodeId]) -> float | None:
    """Read documents with their freshness from Redis like a reader; return the median duration."""
    key = snapshot(tools.tenant, report.name)
    took = []
    for scope in scopes[:_READS]:
        began = time.perf_counter()
        body, *_ = await tools.redis.hmget(key, [str(scope), f"head:{scope}", "_meta"])  # type: ignore[misc]
        if body is not None:  # a node that came since the last refresh is not stored yet
            took.append((time.perf_counter() - began) * 1000)
    return median(took) if took else None


def _text(report: Report, it: Measurement, advice: Advice, walk: Walk | None) -> str:
    lines = [f"{report.name}: {advice.do}", *(f"  {reason}" for reason in advice.reasons), "measured:"]
    if walk is None:
        lines.append(
            "  the present way      not measured; give its query with --walk FILE, with :node as the node's id"
        )
    else:
        whole, give = walk.all_ms()
        lines.append(
            f"  node by node         {walk.mean_ms:,.2f} ms a node, the root {walk.root_ms:,.2f} ms "
            f"({len(walk.took_ms)} of {walk.nodes} measured); all {whole:,.0f} ms, plus or minus {give:,.0f}"
        )
    stored = "nothing is stored yet" if it.read_ms is None else f"{it.read_ms:,.2f} ms, without the database"
    lines += [
        f"  one query for all    {it.set_ms:,.2f} ms",
        f"  a stored document    {stored}",
        f"computed with {it.views:g} views and at most {it.refreshes:.1f} refreshes a minute",
        f"precomputing would save {advice.saved:.1%} of the database's time",
    ]
    return "\n".join(lines)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="the report")
    parser.add_argument(
        "--walk", type=Path, metavar="SQL-FILE", help="the application's query for one node, with :node as its id"
    )
    parser.add_argument("--views", type=_positive, default=10.0, metavar="N", help="views a minute (default 10)")
    parser.add_argument("--nodes-per-view", type=int, metavar="N", help="nodes that a view shows (default all)")
    parser.add_argument(
        "--sample", type=_sample_size, default=60, metavar="N", help="nodes to measure (default 60)"
    )
    parser.add_argument(
        "--seconds", type=_positive, default=20.0, metavar="S", help="longest time to measure (default 20)"
    )


def _positive(text: str) -> float:
    return number_between(text, 0.001, 999_999)


def _sample_size(text: str) -> int:
    return round(number_between(text, 2, 10_000))


COMMANDS = (
    Command(
        "advise",
        "measure whether to fix a query, precompute the report, or leave it",
        "reports advise management --walk dashboard.sql --views 10",
        _arguments,
        advise_report,
    ),
)
