"""`ops ledger check` and `reconcile`: compare the jobs of both stores, and hand over again what Redis has lost.

`check` counts, and names each job about which the stores disagree. Workers do by themselves what `reconcile` does,
but only every five minutes unless they notice the loss.
"""

import argparse
from dataclasses import asdict

from ledger.conservation import Conservation, compare_stores, return_lost
from ops.command import Command, CommandResult, Tools
from ops.database_postgres import open_database
from ops.language import Language
from ops.ledger.arguments import instant_argument
from ops.ledger.records import demand_ledger
from ops.ledger.words import CONSERVATION
from ops.table import printable

_SHOWN = 50
"""Largest number of disagreements in a text; ``--json`` has all."""


async def _check(tools: Tools, args: argparse.Namespace) -> CommandResult:
    async with open_database(tools) as connection:
        await demand_ledger(connection)
        since = None if args.since is None else args.since.date()
        found = await compare_stores(connection, tools.redis, since=since)
    return CommandResult(conservation_text(found, tools.language), asdict(found), done=not found.disagreements)


async def _reconcile(tools: Tools, args: argparse.Namespace) -> CommandResult:
    async with open_database(tools) as connection:
        await demand_ledger(connection)
        since = None if args.since is None else args.since.date()
        returned = await return_lost(connection, await compare_stores(connection, tools.redis, since=since))
    words = CONSERVATION[tools.language]
    text = words["returned"].format(count=len(returned)) if returned else words["none_lost"]
    return CommandResult(text, {"returned": returned}, done=bool(returned))


def conservation_text(found: Conservation, language: Language) -> str:
    """Return the counts of both stores, and the jobs about which they disagree."""
    words = CONSERVATION[language]
    lines = [
        words["postgres"].format(
            jobs=found.jobs, ended=found.ended, live=found.jobs - found.ended, pending=found.pending
        ),
        words["redis"].format(live=found.live, unrecorded=found.unrecorded),
    ]
    lines += [words[one.fault].format(id=printable(one.id), day=one.day) for one in found.disagreements[:_SHOWN]]
    if len(found.disagreements) > _SHOWN:
        lines.append(words["more"].format(count=len(found.disagreements) - _SHOWN))
    if not found.disagreements:
        lines.append(words["agree"])
    return "\n".join(lines)


def _add_since(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--since", type=instant_argument, metavar="TIME", help="only days from then on: 2026-11-29 or 30d"
    )


COMMANDS = (
    Command(
        "check",
        "count the jobs of Postgres and Redis, and name each about which they disagree",
        "ledger check --since 30d",
        _add_since,
        _check,
    ),
    Command(
        "reconcile",
        "hand over again the jobs that Redis has lost, without waiting for a worker to notice",
        "ledger reconcile",
        _add_since,
        _reconcile,
    ),
)
