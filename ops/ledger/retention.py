"""`ops ledger retain`: remove the days that are old enough, each as a whole."""

import argparse
from dataclasses import asdict
from datetime import UTC, datetime

from ledger.retention_postgres import remove_days
from ops.command import Command, CommandResult, Tools
from ops.database_postgres import open_database
from ops.ledger.arguments import age_argument
from ops.ledger.records import demand_ledger
from ops.ledger.words import RETENTION


async def _retain(tools: Tools, args: argparse.Namespace) -> CommandResult:
    words = RETENTION[tools.language]
    before = (datetime.now(UTC) - args.older_than).date()
    async with open_database(tools) as connection:
        await demand_ledger(connection)
        found = await remove_days(connection, before, dry_run=args.dry_run)
    facts = {"before": before, "dry_run": args.dry_run, "days": [asdict(one) for one in found]}
    if not found:
        return CommandResult(words["none"], facts, done=False)
    said = [("would" if one.outcome == "removed" and args.dry_run else one.outcome, one.day) for one in found]
    text = "\n".join(words[what].format(day=day) for what, day in said)
    return CommandResult(text, facts, done=all(one.outcome == "removed" for one in found))


def _add_age(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--older-than", type=age_argument, required=True, metavar="TIME", help="age of the jobs: 400d, at least 2d"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would be removed, and change nothing")


COMMANDS = (
    Command(
        "retain",
        "remove the days of the ledger that are older, once all their jobs have ended",
        "ledger retain --older-than 400d --dry-run",
        _add_age,
        _retain,
        needs_redis=False,
    ),
)
