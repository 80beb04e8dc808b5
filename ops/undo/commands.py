"""`ops undo`: bring back what a change has removed, within ten minutes. `ops.__main__` runs it."""

import argparse
import re
from typing import get_args

from ops.audit.log import find_entry
from ops.command import Command, CommandRefused, CommandResult, Tools
from ops.jobs.undo import RestoreOutcome, restore_jobs
from ops.mail.suppression import add_operator
from ops.mail.undo import restore_reasons
from ops.undo.restore import UNDOABLE
from ops.undo.texts import UNDO

_NUMBER = re.compile(r"[0-9a-f]{16}")


async def _undo(tools: Tools, args: argparse.Namespace) -> CommandResult:
    entry = await find_entry(tools.redis, args.number)
    if entry is not None and entry.action not in UNDOABLE:
        raise CommandRefused(
            f"NUMBER: {entry.action} cannot be undone; only discard, bulk-discard and unsuppress can"
        )
    jobs = await restore_jobs(tools.redis, args.number)
    back, left = await restore_reasons(tools.redis, args.number, by=args.by)
    counts: dict[str, int] = {
        **{name: jobs[name] for name in get_args(RestoreOutcome)},
        "back": back,
        "left": left,
    }
    words = UNDO[tools.language]
    lines = [words[name].format(count=count) for name, count in counts.items() if count]
    text = "\n".join(lines) or words["nothing"].format(number=args.number)
    return CommandResult(text, {"number": args.number, **counts}, done=jobs["restored"] + back > 0)


def _number(text: str) -> str:
    if not _NUMBER.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not the number of a change; give the 16 hex digits that the change printed"
        )
    return text


def _add_number(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "number",
        type=_number,
        metavar="NUMBER",
        help="the number of the change, as it was printed, or of the audit log",
    )
    add_operator(parser)


UNDO_COMMAND = Command(
    "undo",
    "bring back what discard or unsuppress has removed within the last ten minutes",
    "undo 9f3c2a71d04e5b68",
    _add_number,
    _undo,
)
