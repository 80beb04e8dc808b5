"""`ops reports preview`: compute one node's document now, and compare it with the stored one.

The refresh's own code computes it from the current database; nothing is stored.
"""

import argparse
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

from ops.command import Command, CommandRefused, CommandResult, Tools
from ops.reports.checks import judge_report
from ops.reports.facts_postgres import DatabaseAway, ReportFacts, open_probe
from reports import Report, ReportError, load_reports
from reports.keys import snapshot
from reports.numbers import read_exactly, write_json

_ABSENT = object()


async def preview_document(tools: Tools, args: argparse.Namespace) -> CommandResult:
    """Compute a document. Raises CommandRefused."""
    report = find_report(tools, args.name)
    facts = await _examined(tools, report)
    if not facts.documents:
        found = judge_report(report, facts)
        raise CommandRefused(
            "; ".join(one.line() for one in found)
            or f"NAME: {report.name} has no documents; its query returned no rows"
        )
    documents = {str(scope): one for scope, one in facts.documents.items()}
    if args.scope not in documents:
        some = ", ".join(map(str, sorted(facts.documents)[:5]))
        raise CommandRefused(f"--scope: node {args.scope} does not exist; there are {some}, ...")
    document = read_exactly(documents[args.scope].body.decode())
    if not args.diff:
        return CommandResult(write_json(document, indented=True).decode(), document)
    stored = await tools.redis.hget(snapshot(tools.tenant, report.name), str(args.scope))  # type: ignore[misc]
    return _difference(document, None if stored is None else read_exactly(stored.decode()))


def find_report(tools: Tools, name: str) -> Report:
    """Return a declared report. Raises CommandRefused."""
    try:
        reports = load_reports(tools.reports_path, shipped=tools.reports_shipped)
    except ReportError as error:
        raise CommandRefused(f"{error}; ./run ops reports check lists all faults") from None
    if name not in reports:
        raise CommandRefused(f"NAME: no report is called {name!r}; there are {', '.join(sorted(reports))}")
    return reports[name]


async def _examined(tools: Tools, report: Report) -> ReportFacts:
    if not tools.postgres_dsn:
        raise CommandRefused("MOMENTUS_POSTGRES_DSN: is not set; name the database of the report")
    try:
        async with open_probe(tools.postgres_dsn, longest=tools.statement_timeout, bounds=tools.bounds) as it:
            return await it.examine_report(report, ZoneInfo(tools.timezone))
    except DatabaseAway as error:
        raise CommandRefused(f"MOMENTUS_POSTGRES_DSN: the database does not answer: {error}") from None


def _difference(now: dict[str, Any], stored: dict[str, Any] | None) -> CommandResult:
    if stored is None:
        return CommandResult(
            "No document of this node is stored.", {"stored": None, "now": now, "differences": {}}
        )
    changes = {path: {"stored": old, "now": new} for path, old, new in differences(stored["data"], now["data"])}
    lines = [f"{path}: {_shown(one['stored'])} -> {_shown(one['now'])}" for path, one in changes.items()]
    facts = {"stored": stored["as_of"], "now": now["as_of"], "differences": changes}
    head = f"stored as of {stored['as_of']}, now {now['as_of']}"
    return CommandResult("\n".join([head, *(lines or ["no differences"])]), facts)


def differences(stored: Any, now: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:  # noqa: ANN401  JSON
    """Yield each difference of two documents: its path, the stored and the new value; None for a missing one.

    >>> list(differences({"total": {"a": 1, "b": 2}}, {"total": {"a": 1, "b": 3}}))
    [('total.b', 2, 3)]
    """
    if isinstance(stored, dict) and isinstance(now, dict):
        for key in dict.fromkeys((*stored, *now)):
            old, new = stored.get(key, _ABSENT), now.get(key, _ABSENT)
            yield from differences(old, new, f"{path}.{key}" if path else str(key))
    elif stored != now:
        yield path, None if stored is _ABSENT else stored, None if now is _ABSENT else now


def _shown(value: object) -> str:
    return write_json(value).decode()


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="the report")
    parser.add_argument("--scope", required=True, metavar="ID", help="the node's id")
    parser.add_argument("--diff", action="store_true", help="show only the differences from the stored document")


COMMANDS = (
    Command(
        "preview",
        "compute one node's document as a refresh would store it now",
        "reports preview management --scope 1 --diff",
        _arguments,
        preview_document,
    ),
)
