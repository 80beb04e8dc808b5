"""Commands for jobs and holds: their arguments and results. `ops.__main__` runs them."""

import argparse
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from jobs.lanes import LANES, OWN
from ops import arguments
from ops.command import Command, CommandResult, Tools
from ops.command_parser import terminal_text
from ops.depth.texts import held_text
from ops.jobs import texts
from ops.jobs.dead import list_dead
from ops.jobs.edit import CannotEdit, edit_job
from ops.jobs.explain import explain_job, explain_staged
from ops.jobs.list_command import JOBS
from ops.jobs.operations import cancel_job, cancel_unknown, discard_job, revive_all, revive_sendable
from ops.jobs.parked import list_parked, unpark_job
from ops.jobs.words import EDITED, REVIVED, STATES, TAKEN_OUT, UNPARKED, WORDS
from ops.lanes.hold import hold_lane, release_lane
from ops.lanes.known import known_lanes, lane_argument
from ops.mail.key_ring import ring_of
from ops.table import printable
from ops.undo.texts import UNDO

if TYPE_CHECKING:
    from ledger.records import LedgerRecord
    from reports.connection_postgres import Connection


@asynccontextmanager
async def _ledger(tools: Tools) -> AsyncIterator["Connection | None"]:
    """Lend a connection to the ledger; None if no database is set, or it has none. Raises CommandRefused."""
    if not tools.postgres_dsn:
        yield None
        return
    from ops.jobs.ledger_jobs import open_ledger  # noqa: PLC0415  loads the driver of Postgres

    async with open_ledger(tools) as ledger:
        yield ledger


async def _staged_record(tools: Tools, job_id: str) -> "LedgerRecord | None":
    """Return the record of a job that Redis has not taken. Raises CommandRefused."""
    if not tools.postgres_dsn:
        return None
    from ops.jobs.ledger_jobs import staged_record  # noqa: PLC0415  loads the driver of Postgres

    return await staged_record(tools, job_id)


# Reading


async def _why(tools: Tools, args: argparse.Namespace) -> CommandResult:
    found = await explain_job(tools.redis, args.id)
    if found.job.state == "unknown" and (record := await _staged_record(tools, args.id)):
        found = explain_staged(record, at=found.job.at)
    return CommandResult(
        texts.explained_text(found, tools.language), found.to_json(), done=found.job.state != "unknown"
    )


async def _dead(tools: Tools, args: argparse.Namespace) -> CommandResult:
    lanes = await known_lanes(tools.redis) if args.lane is None else (args.lane,)
    found = await list_dead(tools.redis, lanes, limit=args.limit)
    return CommandResult(texts.dead_table(found, tools.language), {"dead": [asdict(job) for job in found]})


async def _parked(tools: Tools, args: argparse.Namespace) -> CommandResult:
    lanes = await known_lanes(tools.redis) if args.lane is None else (args.lane,)
    found = await list_parked(tools.redis, lanes, limit=args.limit)
    return CommandResult(texts.parked_table(found, tools.language), {"parked": [asdict(job) for job in found]})


# Changing


async def _unpark(tools: Tools, args: argparse.Namespace) -> CommandResult:
    what, lane = await unpark_job(tools.redis, args.id)
    text = UNPARKED[tools.language][what].format(id=args.id, lane=lane)
    return CommandResult(text, _facts(args.id, lane, what), done=what == "unparked")


async def _revive(tools: Tools, args: argparse.Namespace) -> CommandResult:
    ring = ring_of(tools.mail)
    if args.lane is not None:
        async with _ledger(tools) as ledger:
            counts = await revive_all(tools.redis, args.lane, ring=ring, ledger=ledger)
        return CommandResult(
            texts.revived_all_text(args.lane, counts, tools.language),
            {"lane": args.lane, **asdict(counts)},
            done=counts.revived + counts.staged > 0 and not counts.suppressed + counts.needs_ledger,
        )
    async with _ledger(tools) as ledger:
        what, lane = await revive_sendable(tools.redis, args.id, ring=ring, ledger=ledger)
    text = REVIVED[tools.language][what].format(id=args.id, lane=lane)
    return CommandResult(text, _facts(args.id, lane, what), done=what in {"revived", "staged"})


async def _discard(tools: Tools, args: argparse.Namespace) -> CommandResult:
    number = tools.change
    what, lane = await discard_job(tools.redis, args.id, number=number)
    text = TAKEN_OUT[tools.language][what].format(id=args.id, lane=lane, how=WORDS[tools.language]["discarded"])
    if what != "gone":
        return CommandResult(text, _facts(args.id, lane, what), done=False)
    facts = {**_facts(args.id, lane, what), "number": number}
    return CommandResult(f"{text}\n{UNDO[tools.language]['how'].format(number=number)}", facts)


async def _cancel(tools: Tools, args: argparse.Namespace) -> CommandResult:
    what, lane = await cancel_job(tools.redis, args.id)
    if what == "unknown":
        async with _ledger(tools) as ledger:
            if ledger is not None:
                what, lane = await cancel_unknown(ledger, tools.redis, args.id)
    text = TAKEN_OUT[tools.language][what].format(id=args.id, lane=lane, how=WORDS[tools.language]["cancelled"])
    return CommandResult(text, _facts(args.id, lane, what), done=what in {"gone", "stopping"})


async def _edit(tools: Tools, args: argparse.Namespace) -> CommandResult:
    changes = dict(args.set)
    try:
        what, job = await edit_job(tools.redis, args.id, changes)
    except CannotEdit as refusal:
        return CommandResult(
            WORDS[tools.language]["refused"].format(reason=printable(terminal_text(str(refusal)))),
            {**_facts(args.id, "", "refused"), "error": str(refusal)},
            done=False,
        )
    text = EDITED[tools.language][what].format(
        id=args.id, fields=", ".join(changes), state=STATES[tools.language][job.state]
    )
    return CommandResult(text, {**_facts(args.id, job.lane, what), "fields": list(changes)}, done=what == "edited")


def _facts(job_id: str, lane: str, what: str) -> dict[str, Any]:
    return {"id": job_id, "lane": lane, "what": what}


# Holding


async def _hold(tools: Tools, args: argparse.Namespace) -> CommandResult:
    words = WORDS[tools.language]
    held = await hold_lane(tools.redis, args.lane, lasting=args.lasting, reason=args.reason)
    if held is None:
        return CommandResult(
            words["held_already"].format(lane=args.lane),
            {"lane": args.lane, "what": "unchanged"},
            done=False,
        )
    return CommandResult(
        words["held"].format(lane=args.lane, held=held_text(held, tools.language)),
        {"lane": args.lane, "what": "held", "held": asdict(held)},
    )


async def _release(tools: Tools, args: argparse.Namespace) -> CommandResult:
    released = await release_lane(tools.redis, args.lane)
    text = WORDS[tools.language]["released" if released else "not_held"].format(lane=args.lane)
    return CommandResult(text, {"lane": args.lane, "what": "released" if released else "not held"}, done=released)


# Arguments


def _add_id(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "id", type=_job_id, metavar="ID", help="the job's id, braces included; quote it in a shell"
    )


def _add_lane(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lane", type=lane_argument, metavar="LANE", help=", ".join((*LANES, OWN, f"{OWN}.NAME")))


def _add_dead(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lane", nargs="?", type=lane_argument, metavar="LANE", help="one lane (default: all)")
    parser.add_argument("--limit", type=_limit, default=20, metavar="N", help="at most N jobs (default 20)")


def _add_id_or_all(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("id", nargs="?", type=_job_id, metavar="ID", help="the job's id, braces included")
    which.add_argument("--all", dest="lane", type=lane_argument, metavar="LANE", help="all dead jobs of this lane")


def _add_changes(parser: argparse.ArgumentParser) -> None:
    _add_id(parser)
    parser.add_argument(
        "--set",
        type=_change,
        action="append",
        required=True,
        metavar="FIELD=VALUE",
        help="a field of its payload with the new value; may be repeated",
    )


def _add_reason(parser: argparse.ArgumentParser) -> None:
    _add_lane(parser)
    arguments.add_reason(parser)
    parser.set_defaults(lasting=None)


def _add_duration(parser: argparse.ArgumentParser) -> None:
    _add_reason(parser)
    parser.add_argument(
        "--for",
        dest="lasting",
        type=arguments.duration_argument,
        required=True,
        metavar="TIME",
        help="duration: 90s, 10m, 2h, 1d",
    )


def _job_id(text: str) -> str:
    if not text or len(text) > texts.ID_LIMIT or not text.isprintable():
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a job's id; give a printable id of at most {texts.ID_LIMIT} characters"
        )
    return text


def _limit(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= texts.MOST_DEAD:
        raise argparse.ArgumentTypeError(
            f"{text!r} is out of range; give a whole number from 1 to {texts.MOST_DEAD}"
        )
    return int(text)


def _change(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{name!r} is not a change; give FIELD=VALUE")
    return name, value


_ID = "'{mail}01kt0…'"

COMMANDS = (
    JOBS,
    Command("why", "show what one job waits for, and its history", f"why {_ID}", _add_id, _why),
    Command("dead", "list the latest dead jobs, and why each was given up", "dead mail.normal", _add_dead, _dead),
    Command(
        "parked", "list the jobs that no worker may take yet, and why", "parked mail.normal", _add_dead, _parked
    ),
    Command("unpark", "return a parked job to its lane", f"unpark {_ID}", _add_id, _unpark),
    Command(
        "revive",
        "return a dead job, or all of a lane, as if never tried",
        "revive --all mail.normal",
        _add_id_or_all,
        _revive,
    ),
    Command(
        "discard",
        "remove a dead or waiting job; within ten minutes it can be undone",
        f"discard {_ID}",
        _add_id,
        _discard,
    ),
    Command(
        "edit",
        "change a field of a dead job; it stays dead until revived",
        f"edit {_ID} --set to=ana@example.com",
        _add_changes,
        _edit,
    ),
    Command("cancel", "remove a waiting job for good, or stop a running one", f"cancel {_ID}", _add_id, _cancel),
    Command(
        "pause",
        "claim no more jobs of a lane until it is resumed",
        "pause mail.bulk --reason 'wrong figures in the digest'",
        _add_reason,
        _hold,
    ),
    Command("resume", "release a paused or held lane", "resume mail.bulk", _add_lane, _release),
    Command(
        "hold",
        "claim no more jobs of a lane for some time",
        "hold mail.bulk --for 10m --reason 'the provider asks for a pause'",
        _add_duration,
        _hold,
    ),
    Command("release", "release a held or paused lane", "release mail.bulk", _add_lane, _release),
)
