"""Commands for limits: list, set, remove, hold, release. `ops.__main__` runs them.

A worker defines its own limits again each time it starts, so a change to one of those lasts until then. A hold
lasts until its end or its release.
"""

import argparse
import re
from dataclasses import asdict
from datetime import timedelta

from redis.asyncio import Redis

from jobs.lanes import GROUPS
from ops import arguments
from ops.command import Command, CommandRefused, CommandResult, Group, Tools
from ops.depth.lane_limits import state_json
from ops.depth.texts import held_text
from ops.language import Language
from ops.limits.known import read_limits
from ops.limits.texts import HEADS, RESULTS, rate_text, state_text
from ops.table import printable, table
from producers.keys import LaneKeys
from producers.limits.hold import Hold
from producers.limits.limit import Limit, LimitError, Rate, Window, check_key
from producers.limits.limits import Limits, LimitState

_COUNT = re.compile(r"\d{1,9}", re.ASCII)
_NONE = "-"


def _limits(redis: Redis, group: str) -> Limits:
    return Limits(redis, LaneKeys(group).tag)


# Looking


async def _list(tools: Tools, args: argparse.Namespace) -> CommandResult:
    states = await read_limits(tools.redis, LaneKeys(args.group))
    bindings = await _limits(tools.redis, args.group).bindings()
    words, rows = RESULTS[tools.language], [_row(one, tools.language) for one in states]
    lines = [table(HEADS[tools.language], rows, left={0, 1, 6}) if states else words["none"]]
    lines += [
        words["needs"].format(
            lane=lane,
            urgent=words["urgent"] if one.urgent else "",
            keys=printable(words["or"].join(one.keys)) or words["no_key"],
        )
        for lane, one in bindings.items()
    ]
    lanes = {lane: {"keys": list(one.keys), "urgent": one.urgent} for lane, one in bindings.items()}
    return CommandResult("\n".join(lines), {"limits": [state_json(one) for one in states], "lanes": lanes})


def _row(state: LimitState, language: Language) -> list[str]:
    limit = state.limit or Limit("none")
    rates = ", ".join(rate_text(one, language) for one in limit.rates)
    return [
        state.key,
        rates or _NONE,
        _NONE if limit.concurrency is None else str(limit.concurrency),
        f"{limit.reserve:.0%}" if limit.reserve else _NONE,
        str(state.running) if limit.concurrency is not None else _NONE,
        str(state.blocked),
        state_text(state, language),
    ]


# Changing


async def _set(tools: Tools, args: argparse.Namespace) -> CommandResult:
    try:
        rates = [Rate.within(count, per, burst_share=args.burst_share) for count, per in args.rate]
        windows = [Window(count, per) for count, per in args.window]
        limit = Limit(args.key, (*rates, *windows), args.concurrency, args.reserve)
    except LimitError as refusal:
        raise CommandRefused(str(refusal)) from None
    if not limit.rates and limit.concurrency is None:
        raise CommandRefused("KEY: has no bounds; give --rate, --window or --concurrency")
    limits = _limits(tools.redis, args.group)
    await limits.define(limit)
    state = await limits.state(limit.key)
    text = RESULTS[tools.language]["set"].format(key=limit.key, state=state_text(state, tools.language))
    return CommandResult(text, {"what": "set", **state_json(state)})


async def _remove(tools: Tools, args: argparse.Namespace) -> CommandResult:
    removed = await _limits(tools.redis, args.group).remove(args.key)
    text = RESULTS[tools.language]["removed" if removed else "not_defined"].format(key=args.key)
    return CommandResult(text, {"key": args.key, "what": "removed" if removed else "not defined"}, done=removed)


async def _hold(tools: Tools, args: argparse.Namespace) -> CommandResult:
    limits, words = _limits(tools.redis, args.group), RESULTS[tools.language]
    if not await limits.hold(args.key, args.lasting, args.reason):
        facts = {"key": args.key, "what": "unchanged"}
        return CommandResult(words["unchanged"].format(key=args.key), facts, done=False)
    held = (await limits.state(args.key)).held or Hold(until=None, reason=args.reason)
    text = words["held"].format(key=args.key, held=held_text(held, tools.language))
    return CommandResult(text, {"key": args.key, "what": "held", "held": asdict(held)})


async def _release(tools: Tools, args: argparse.Namespace) -> CommandResult:
    released = await _limits(tools.redis, args.group).release(args.key)
    text = RESULTS[tools.language]["released" if released else "not_held"].format(key=args.key)
    return CommandResult(text, {"key": args.key, "what": "released" if released else "not held"}, done=released)


# Arguments


def _add_group(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--group",
        choices=GROUPS,
        default=GROUPS[0],
        help=f"the lane group; each has its own limits (default {GROUPS[0]})",
    )


def _add_key(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "key", type=_key, metavar="KEY", help="such as account:main or customer:42; customer:* for each customer"
    )
    _add_group(parser)


def _add_definition(parser: argparse.ArgumentParser) -> None:
    _add_key(parser)
    parser.add_argument(
        "--rate",
        type=_rate,
        action="append",
        default=[],
        metavar="COUNT/TIME",
        help="at most COUNT jobs begin in any TIME: 30/1m, 2000/1d; may be repeated, all apply",
    )
    parser.add_argument(
        "--burst-share",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="the part of COUNT that may begin at once (default 0.1)",
    )
    parser.add_argument(
        "--window",
        type=_rate,
        action="append",
        default=[],
        metavar="COUNT/TIME",
        help="like --rate, but all COUNT may begin at once: 500/1d",
    )
    parser.add_argument("--concurrency", type=int, metavar="N", help="the number of jobs that may run at once")
    parser.add_argument(
        "--reserve",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="the part that only urgent lanes may use (default 0)",
    )


def _add_hold(parser: argparse.ArgumentParser) -> None:
    _add_key(parser)
    arguments.add_reason(parser)
    parser.add_argument(
        "--for",
        dest="lasting",
        type=arguments.duration_argument,
        metavar="TIME",
        help="duration: 90s, 10m, 2h, 1d (default: until it is released)",
    )


def _key(text: str) -> str:
    try:
        return check_key(text)
    except LimitError as refusal:
        raise argparse.ArgumentTypeError(str(refusal)) from None


def _rate(text: str) -> tuple[int, timedelta]:
    count, _, time = text.partition("/")
    try:
        if _COUNT.fullmatch(count):
            return int(count), arguments.duration_argument(time)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}; give COUNT/TIME, such as 30/1m or 2000/1d") from None
    raise argparse.ArgumentTypeError(f"{text!r} is not a rate; give COUNT/TIME, such as 30/1m or 2000/1d")


LIMIT = Group(
    "limit",
    "limit how many jobs begin in a time and how many run at once",
    (
        Command(
            "list",
            "list all limits, their present state, and the lanes that need them",
            "limit list",
            _add_group,
            _list,
        ),
        Command(
            "set",
            "define a limit, replacing the one with the same key",
            "limit set 'customer:*' --rate 100/1h --concurrency 2",
            _add_definition,
            _set,
        ),
        Command(
            "remove",
            "remove a limit, so that its key has no bounds",
            "limit remove customer:42",
            _add_key,
            _remove,
        ),
        Command(
            "hold",
            "begin no job under a limit, for some time or until it is released",
            "limit hold account:main --for 10m --reason 'the provider asks for a pause'",
            _add_hold,
            _hold,
        ),
        Command("release", "release a held limit", "limit release account:main", _add_key, _release),
    ),
)
