"""`ops reports check`: test that the declared reports can be computed, before a worker tries.

It reads every file, even if another is unreadable, and tests each readable report on the database. Each finding
has a file, a line and a remedy, and makes the exit code 1. `--pin` writes the schema of each document beside its
report; after that a report that breaks its schema is a finding too.
"""

import argparse
import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from ops.command import Command, CommandRefused, CommandResult, Tools
from ops.reports.checks import judge_report, key_of
from ops.reports.facts_postgres import DatabaseAway, ReportFacts, open_probe
from ops.reports.finding import ReportFinding
from ops.reports.misread_numbers import misread_numbers
from ops.reports.node_checks import plan_notes, whole_notes
from ops.reports.proofs_postgres import proof_facts, proof_lines
from ops.reports.zones_postgres import REMEDY, ZoneFault, compare_zones, zones_of
from reports import Report, ReportError
from reports.boards import boards_of
from reports.catalogue import SHIPPED, Folder, read_folder, read_shipped, schema_file
from reports.catalogue_postgres import Catalogue
from reports.schema import document_schema

_NO_DATABASE = "MOMENTUS_POSTGRES_DSN: is not set; only the files were read, and no query was tested"


async def check_reports(tools: Tools, args: argparse.Namespace) -> CommandResult:
    """Check a folder's reports. Raises CommandRefused."""
    own: Path | None = args.path or tools.reports_path
    path = own or SHIPPED
    try:
        folder = read_folder(own) if own else read_shipped(tools.reports_shipped)
    except ReportError as error:
        raise CommandRefused(f"--path: {error.reason}" if args.path else str(error)) from None
    findings = [ReportFinding(fault.field, fault.reason, "") for fault in folder.faults]
    facts, catalogue, zones = await _facts(tools, folder)
    findings += _zones(folder, zones)
    _weigh_boards(folder, facts)
    for name, found in facts.items():
        findings += judge_report(folder.reports[name], found, catalogue.proof(folder.reports[name].board or name))
    notes = proof_lines(catalogue) if tools.postgres_dsn else [_NO_DATABASE]
    if args.pin:
        notes += _pin(path, folder, facts, findings)
    else:
        notes += [
            f"{name}: has no pinned schema; write it with --pin"
            for name, one in folder.reports.items()
            if not one.schema
        ]
    for name, found in facts.items():
        notes += misread_numbers(folder.reports[name], found.documents)
        notes += [f"{name}: {text}" for text in (*found.calls, *found.tree_notes)]
        notes += [f"{name}: {text}" for text in (plan_notes(found.nodes) if found.nodes else ())]
    notes += [f"{name}: {text}" for name, one in folder.reports.items() for text in whole_notes(one)]
    result = {
        "findings": [one.to_json() for one in findings],
        "reports": {name: _figures(folder.reports[name], one) for name, one in facts.items()},
        "boards": proof_facts(catalogue),
        "notes": notes,
    }
    return CommandResult(_text(folder, facts, findings, notes, plans=args.plan), result, done=not findings)


def _weigh_boards(folder: Folder, facts: Mapping[str, ReportFacts]) -> None:
    """Set the cost of all reports of a board, since a worker refreshes them together."""
    for board in boards_of(folder.reports).values():
        known = [(report, facts[report.name]) for report in board.reports if report.name in facts]
        if len(known) > 1:
            trees = {report.tree: one.tree_ms for report, one in known}
            rows_ms = sum((one.cost_ms or one.tree_ms) - one.tree_ms for _, one in known)
            for _, one in known:
                one.board = rows_ms + sum(trees.values()), board.max_db_share


def _zones(folder: Folder, faults: list[ZoneFault]) -> Iterator[ReportFinding]:
    """Yield a finding at the key of each report that names the zone, else at the setting."""
    for one in faults:
        own = [report for report in folder.reports.values() if report.timezone == one.zone]
        for where in [key_of(report, "timezone") for report in own] or ["MOMENTUS_TIMEZONE"]:
            yield ReportFinding(where, one.words, REMEDY)


async def _facts(tools: Tools, folder: Folder) -> tuple[dict[str, ReportFacts], Catalogue, list[ZoneFault]]:
    """Read the database's facts about each report, the boards and the zones; empty without a database."""
    if not tools.postgres_dsn:
        return {}, Catalogue(), []
    try:
        async with open_probe(tools.postgres_dsn, longest=tools.statement_timeout, bounds=tools.bounds) as it:
            zone = ZoneInfo(tools.timezone)
            catalogue = await it.catalogue(tools.tenant, boards_of(folder.reports))
            zones = zones_of(folder.reports.values(), tools.timezone)
            faults = await compare_zones(it.connection, zones, it.snapshot.as_of)
            facts = {name: await it.examine_report(report, zone) for name, report in folder.reports.items()}
            return facts, catalogue, faults
    except DatabaseAway as error:
        raise CommandRefused(f"MOMENTUS_POSTGRES_DSN: the database does not answer: {error}") from None


def _pin(path: Path, folder: Folder, facts: Mapping[str, ReportFacts], findings: list[ReportFinding]) -> list[str]:
    """Write the schemas of the current documents; a finding about a former schema is settled by that."""
    notes = []
    findings[:] = [one for one in findings if "pinned schema" not in one.fault]
    for name, one in facts.items():
        if not one.columns:
            continue
        report = folder.reports[name]
        file = schema_file(path, Path(report.place.file).stem)
        try:
            file.write_text(json.dumps(document_schema(report, one.columns), indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise CommandRefused(f"--pin: {file} cannot be written: {error.strerror}") from None
        notes.append(f"{name}: schema pinned in {file.name}")
    return notes


def _figures(report: Report, facts: ReportFacts) -> dict[str, Any]:
    apart = None if facts.cost_ms is None else timedelta(milliseconds=facts.cost_ms / report.max_db_share)
    return {
        "columns": facts.columns,
        "tables": sorted(facts.tables),
        "plan_cost": facts.cost,
        "cost_ms": None if facts.cost_ms is None else round(facts.cost_ms, 2),
        "one_node_ms": None if facts.nodes is None or facts.nodes.one_ms is None else round(facts.nodes.one_ms, 2),
        "rows": facts.rows,
        "scopes": len(facts.documents),
        "least_interval_ms": None if apart is None else round(apart / timedelta(milliseconds=1)),
        "plan": facts.plan,
    }


def _text(
    folder: Folder,
    facts: Mapping[str, ReportFacts],
    findings: list[ReportFinding],
    notes: list[str],
    *,
    plans: bool,
) -> str:
    lines = []
    for name, one in facts.items():
        report = folder.reports[name]
        if one.cost_ms is not None:
            apart = max(report.debounce, timedelta(milliseconds=one.cost_ms / report.max_db_share))
            lines.append(
                f"{name}: {one.rows} rows for {len(one.documents)} nodes in {one.cost_ms:.1f} ms "
                f"(plan cost {one.cost:.0f}){_one_node(one)}; "
                f"its budget of {report.max_db_share:.2%} allows a refresh in {apart.total_seconds():.1f} s"
            )
        if plans and one.plan:
            lines += [f"    {line}" for line in one.plan.splitlines()]
    lines += notes
    lines += [finding.line() for finding in findings]
    found = f"{len(findings)} to fix" if findings else "nothing to fix"
    return "\n".join([*lines, f"{len(folder.reports) + len(folder.faults)} reports, {found}"])


def _one_node(facts: ReportFacts) -> str:
    if facts.nodes is None or facts.nodes.one_ms is None:
        return ""
    return f", for one node in {facts.nodes.one_ms:.1f} ms"


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--path", type=Path, help="folder of reports (default MOMENTUS_REPORTS__PATH, else the shipped reports)"
    )
    parser.add_argument("--pin", action="store_true", help="write NAME.schema.json beside each report")
    parser.add_argument("--plan", action="store_true", help="show how the database would run each query")


COMMANDS = (
    Command(
        "check",
        "test that reports can be computed: columns, roll-ups, plan, cost, schema",
        "reports check --path my-reports",
        _arguments,
        check_reports,
        needs_redis=False,
    ),
)
