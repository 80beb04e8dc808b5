"""`ops schedules`: list the schedules of the live workers, and run one now. `ops.__main__` runs them.

A run now is a tick of this minute, by the script that workers use: so it is queued once, for any number of
operators and workers, and the schedule continues after it. Where ticks must not overlap and the last one's job has
not ended, nothing is queued.
"""

import argparse
from dataclasses import asdict
from datetime import datetime

from jobs.lanes import GROUPS
from ops.command import Command, CommandRefused, CommandResult, Group, Tools
from ops.language import Language
from ops.schedules.known import KnownSchedule, list_schedules, read_now
from ops.schedules.texts import HEADS, RUNS, schedule_text
from ops.table import table
from worker.crons import Cron, queue_tick

_OUTCOMES = {1: "queued", 0: "known", -1: "unfinished"}
_NAME_LIMIT = 200
_NONE = "-"


async def _list(tools: Tools, _args: argparse.Namespace) -> CommandResult:
    found = await list_schedules(tools.redis)
    facts = {"schedules": [_json(one) for one in found]}
    if not found:
        return CommandResult(RUNS[tools.language]["none"], facts)
    rows = [_row(one, tools.language) for one in found]
    return CommandResult(table(HEADS[tools.language], rows, left={0, 1, 2, 3, 5, 6}), facts)


def _json(one: KnownSchedule) -> dict[str, object]:
    """Return plain values without the payload, which a job's page shows by right."""
    cron = {} if one.cron is None else {"kind": one.cron.kind, "lane": one.cron.lane, "overlap": one.cron.overlap}
    return {name: value for name, value in asdict(one).items() if name != "cron"} | cron


def _row(one: KnownSchedule, language: Language) -> list[str]:
    cron = one.cron
    return [
        one.name,
        cron.kind if cron else _NONE,
        cron.lane if cron else one.group,
        schedule_text(cron.schedule, language) if cron else RUNS[language]["unserved"],
        str(one.workers),
        _instant(one.last),
        _instant(one.following),
    ]


def _instant(at: datetime | None) -> str:
    return _NONE if at is None else f"{at:%Y-%m-%d %H:%M:%S}"


async def _run(tools: Tools, args: argparse.Namespace) -> CommandResult:
    group, cron = await _find_cron(tools, args)
    now = await read_now(tools.redis)
    tick = now.replace(second=0, microsecond=0)
    what = _OUTCOMES[await queue_tick(tools.redis.execute_command, cron, tick)]
    text = RUNS[tools.language][what].format(name=args.name)
    facts = {"name": args.name, "group": group, "what": what, "tick": tick}
    return CommandResult(text, facts, done=what == "queued")


async def _find_cron(tools: Tools, args: argparse.Namespace) -> tuple[str, Cron]:
    """Return the group and the cron of a schedule. Raises CommandRefused: no group has it, or several do."""
    found = [
        (one.group, one.cron)
        for one in await list_schedules(tools.redis)
        if one.name == args.name and one.cron is not None and args.group in {None, one.group}
    ]
    if not found:
        if args.group is None:
            raise CommandRefused(
                f"NAME: no live worker has a schedule {args.name!r}; see ./run ops schedules list"
            )
        raise CommandRefused(
            f"NAME: no live worker has a schedule {args.name!r} in the group {args.group}; see ./run ops "
            "schedules list"
        )
    if len(found) > 1:
        groups = ", ".join(group for group, _ in found)
        raise CommandRefused(f"NAME: several groups have a schedule {args.name!r}; give --group, one of {groups}")
    return found[0]


def _add_nothing(_parser: argparse.ArgumentParser) -> None:
    """Add no argument."""


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", type=_name, metavar="NAME", help="a schedule, as schedules list shows it")
    parser.add_argument("--group", choices=GROUPS, help="its lane group, if several have a schedule of this name")


def _name(text: str) -> str:
    if not text or len(text) > _NAME_LIMIT or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is not a schedule's name; see ./run ops schedules list")
    return text


SCHEDULES = Group(
    "schedules",
    "list the schedules of the live workers, and run one now",
    (
        Command(
            "list",
            "list the schedules of the live workers, with their last and next run",
            "schedules list",
            _add_nothing,
            _list,
        ),
        Command(
            "run",
            "queue the job of a schedule now, once, as its tick would",
            "schedules run mail.erase",
            _add_name,
            _run,
        ),
    ),
)
