"""`ops ledger list`, `show` and `export`: what was sent to whom, when, through which account, and the final reply.

Recipients are stored as digests only; `--to` finds those of an address. A server's reply may quote an address,
which everyone who may read the ledger can see.
"""

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import orjson

from ledger.records import LedgerEffect, LedgerRecord, all_records, latest_records, read_record
from ledger.schema import SchemaFault, check
from ops.command import Command, CommandRefused, CommandResult, Tools
from ops.database_postgres import open_database
from ops.language import Language
from ops.ledger.arguments import add_filter, filter_of
from ops.ledger.words import RECORD_HEADS, RECORDS, STATES
from ops.table import printable, table
from reports.connection_postgres import Connection

_MOST = 10_000
_REPLY_WIDTH = 60
"""Characters of a reply in a table."""


async def demand_ledger(connection: Connection) -> None:
    """Check that the database has a ledger that this build can use. Raises CommandRefused."""
    try:
        await check(connection)
    except SchemaFault as fault:
        raise CommandRefused(str(fault)) from None


async def _list(tools: Tools, args: argparse.Namespace) -> CommandResult:
    async with open_database(tools) as connection:
        await demand_ledger(connection)
        found = await latest_records(connection, filter_of(args), limit=args.limit)
    facts = {"jobs": [asdict(one) for one in found]}
    if not found:
        return CommandResult(RECORDS[tools.language]["none"], facts, done=False)
    rows = [_row(one, tools.language) for one in found]
    return CommandResult(table(RECORD_HEADS[tools.language], rows, left={0, 1, 2, 3, 4, 6, 7, 8}), facts)


def _row(one: LedgerRecord, language: Language) -> list[str]:
    return [
        _time_text(one.staged_at),
        one.id,
        one.kind,
        one.template or "-",
        STATES[language][one.state],
        str(one.attempt or "-"),
        one.account or "-",
        "-" if one.ended_at is None else _time_text(one.ended_at),
        printable(one.reply)[:_REPLY_WIDTH] or "-",
    ]


async def _show(tools: Tools, args: argparse.Namespace) -> CommandResult:
    async with open_database(tools) as connection:
        await demand_ledger(connection)
        found = await read_record(connection, args.id)
    if found is None:
        return CommandResult(RECORDS[tools.language]["unknown"], {"id": args.id, "job": None}, done=False)
    record, effects = found
    facts = {"id": args.id, "job": asdict(record), "effects": [asdict(one) for one in effects]}
    return CommandResult(record_text(record, effects, tools.language), facts)


def record_text(record: LedgerRecord, effects: list[LedgerEffect], language: Language) -> str:
    """Return a record as text: state, times, final reply, and the effects that were begun."""
    words = RECORDS[language]
    lines = [
        record.id,
        words["state"].format(
            state=STATES[language][record.state], attempt=record.attempt, lane=record.lane, kind=record.kind
        ),
        words["staged"].format(at=_time_text(record.staged_at)),
    ]
    if record.due_at is not None:
        lines.append(words["due"].format(at=_time_text(record.due_at)))
    if record.ended_at is not None:
        lines.append(words["ended"].format(at=_time_text(record.ended_at)))
    if record.account:
        lines.append(words["account"].format(account=record.account))
    if record.uncertain:
        lines.append(words["uncertain"])
    if record.recipients:
        lines.append(words["recipients"].format(digests=", ".join(record.recipients)))
    lines += [record.reply] if record.reply else []
    lines += [words["effect"].format(attempt=one.attempt, at=_time_text(one.at), note=one.note) for one in effects]
    return "\n".join(map(printable, lines))


async def _export(tools: Tools, args: argparse.Namespace) -> CommandResult:
    count = 0
    async with open_database(tools) as connection:
        await demand_ledger(connection)
        with _new_file(args.file) as file:
            async for record in all_records(connection, filter_of(args)):
                with _naming_file(args.file):
                    file.write(orjson.dumps(record, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE))
                count += 1
    text = RECORDS[tools.language]["written"].format(count=count, file=args.file)
    return CommandResult(text, {"file": str(args.file), "jobs": count})


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """Lend a new file, and remove it if it was not written to its end. Raises CommandRefused."""
    with _naming_file(path):
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    try:
        yield file
        with _naming_file(path):
            file.close()
    except BaseException:
        path.unlink(missing_ok=True)
        with suppress(OSError):
            file.close()
        raise


@contextmanager
def _naming_file(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CommandRefused(
            f"FILE: {path} cannot be written: {error.strerror}; name a new file where there is room"
        ) from None


def _time_text(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def _add_list(parser: argparse.ArgumentParser) -> None:
    add_filter(parser)
    parser.add_argument("--limit", type=_limit, default=20, metavar="N", help="at most N jobs (default 20)")


def _add_id(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="the job's id, braces included; quote it in a shell")


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="a new file, one JSON object a line")
    add_filter(parser)


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= _MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is out of range; give a number from 1 to {_MOST}")
    return int(text)


COMMANDS = (
    Command(
        "list",
        "list the latest jobs of the ledger, and how each ended",
        "ledger list --to ana@example.com --since 30d",
        _add_list,
        _list,
        needs_redis=False,
    ),
    Command(
        "show",
        "show what the ledger has recorded of one job",
        "ledger show '{mail}0199…'",
        _add_id,
        _show,
        needs_redis=False,
    ),
    Command(
        "export",
        "write jobs of the ledger to a file, as JSON lines",
        "ledger export november.jsonl --since 2026-11-01 --until 2026-12-01",
        _add_export,
        _export,
        needs_redis=False,
    ),
)
