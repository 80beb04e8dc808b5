"""Changes that operators make on the console: each is a command of `./run ops`, with the fields of a form.

So a page and the command line share one implementation, one set of checks and one set of texts, and a second
operator who does the same gets the command's answer: there was nothing to do.

A field becomes an argument in the order of the table: positional ones first, options by their name. A field that
is left empty is left out. The operator's reason goes to the audit log, and to the command where that takes one.
"""

import argparse
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NoReturn

from ops.audit.log import REASON_LIMIT
from ops.command import Command, CommandRefused, CommandResult, Group, Tools
from ops.console.access import Operator, Role

_JOBS = ("ops.jobs.commands", "COMMANDS")
_MAIL = ("ops.mail.commands", "MAIL")
_WORKERS = ("ops.workers.commands", "WORKERS")
_LIMIT = ("ops.limits.commands", "LIMIT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One kind of change.

    Attributes:
        place: module and name of the command or the commands.
        word: the command's word.
        role: who may do it.
        target: the field that names what it is about.
        fields: the other fields, by option: `--reason` takes the operator's reason from the field `why`.
        many: the fields among these with several values, separated by blanks; the option is repeated for each.
        by: True if the command takes the operator's name.
    """

    place: tuple[str, str]
    word: str
    role: Role
    target: str = ""
    fields: tuple[tuple[str, str], ...] = ()
    many: tuple[str, ...] = ()
    by: bool = False


_WHY = ("--reason", "why")
ACTIONS: Mapping[str, Action] = {
    "revive": Action(place=_JOBS, word="revive", role="operate", target="id"),
    "discard": Action(place=_JOBS, word="discard", role="operate", target="id"),
    "cancel": Action(place=_JOBS, word="cancel", role="operate", target="id"),
    "unpark": Action(place=_JOBS, word="unpark", role="operate", target="id"),
    "edit": Action(place=_JOBS, word="edit", role="admin", target="id", fields=(("--set", "change"),)),
    "pause-lane": Action(place=_JOBS, word="pause", role="operate", target="lane", fields=(_WHY,)),
    "hold-lane": Action(place=_JOBS, word="hold", role="operate", target="lane", fields=(("--for", "time"), _WHY)),
    "release-lane": Action(place=_JOBS, word="release", role="operate", target="lane"),
    "pause-account": Action(place=_MAIL, word="pause", role="operate", target="account", fields=(_WHY,)),
    "resume-account": Action(place=_MAIL, word="resume", role="operate", target="account"),
    "resolve": Action(
        place=_MAIL, word="resolve", role="operate", target="id", fields=(("", "decision"),), by=True
    ),
    "suppress": Action(
        place=_MAIL, word="suppress", role="operate", target="address", fields=(("--evidence", "why"),), by=True
    ),
    "unsuppress": Action(place=_MAIL, word="unsuppress", role="operate", target="address", by=True),
    "undo": Action(
        place=("ops.undo.commands", "UNDO_COMMAND"), word="undo", role="operate", target="number", by=True
    ),
    "set-limit": Action(
        place=_LIMIT,
        word="set",
        role="operate",
        target="limit",
        fields=(
            ("--group", "group"),
            ("--rate", "rates"),
            ("--window", "windows"),
            ("--concurrency", "concurrency"),
            ("--reserve", "reserve"),
        ),
        many=("rates", "windows"),
    ),
    "remove-limit": Action(
        place=_LIMIT, word="remove", role="operate", target="limit", fields=(("--group", "group"),)
    ),
    "hold-limit": Action(
        place=_LIMIT,
        word="hold",
        role="operate",
        target="limit",
        fields=(("--group", "group"), ("--for", "time"), _WHY),
    ),
    "release-limit": Action(
        place=_LIMIT, word="release", role="operate", target="limit", fields=(("--group", "group"),)
    ),
    "run-schedule": Action(
        place=("ops.schedules.commands", "SCHEDULES"),
        word="run",
        role="operate",
        target="schedule",
        fields=(("--group", "group"),),
    ),
    "quiet-worker": Action(place=_WORKERS, word="quiet", role="operate", target="worker"),
    "resume-worker": Action(place=_WORKERS, word="resume", role="operate", target="worker"),
    "stop-worker": Action(place=_WORKERS, word="stop", role="operate", target="worker"),
    "refresh": Action(place=("ops.reports.refresh", "COMMANDS"), word="refresh", role="operate", target="report"),
    "acknowledge-loss": Action(place=("ops.losses", "ACKNOWLEDGE_LOSS"), word="acknowledge-loss", role="admin"),
    "revoke-session": Action(
        place=("ops.sessions.commands", "SESSIONS"),
        word="revoke",
        role="admin",
        target="user",
        fields=(("--session", "session"),),
    ),
}
PRIVATE_TARGETS = frozenset({"address"})
"""Fields with a value that the audit log must not hold; it has the domain alone."""


def audit_target(action: Action, fields: Mapping[str, str]) -> str:
    """Return the target for the audit log.

    >>> audit_target(ACTIONS["suppress"], {"address": "ana@example.com"})
    '…@example.com'
    """
    target = fields.get(action.target, "")
    return f"…@{target.rpartition('@')[2]}" if action.target in PRIVATE_TARGETS and "@" in target else target


def reason_of(fields: Mapping[str, str]) -> str:
    """Return the operator's reason: one printable line.

    Raises:
        CommandRefused: it is longer, or has control characters.
    """
    why = fields.get("why", "").strip()
    if len(why) > REASON_LIMIT or not why.isprintable():
        raise CommandRefused(f"why: must be one printable line of at most {REASON_LIMIT} characters")
    return why


async def run_action(action: Action, tools: Tools, fields: Mapping[str, str], operator: Operator) -> CommandResult:
    """Carry out a change.

    Raises:
        CommandRefused: a field is wrong; nothing was changed.
        RedisError, OSError: Redis did not answer; the change may be repeated.
    """
    command = _command(action)
    return await command.act(tools, _parsed(command, list(_arguments(action, fields, operator))))


def _arguments(action: Action, fields: Mapping[str, str], operator: Operator) -> Iterator[str]:
    given = [(option, value) for option, name in action.fields for value in _values(action, fields, name)]
    yield from (f"{option}={value}" for option, value in given if option)
    if action.by:
        yield f"--by=console {operator.name}"
    if action.target:
        yield "--"
        yield fields.get(action.target, "")
        yield from (value for option, value in given if not option)


def _values(action: Action, fields: Mapping[str, str], name: str) -> list[str]:
    """Return the values of a field: none if it is left empty."""
    text = fields.get(name, "").strip()
    return text.split() if name in action.many else [text] if text else []


class _FormParser(argparse.ArgumentParser):
    """A parser that raises instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise CommandRefused(message)


def _parsed(command: Command, words: list[str]) -> argparse.Namespace:
    parser = _FormParser(add_help=False, allow_abbrev=False)
    command.arguments(parser)
    return parser.parse_args(words)


@cache
def _command(action: Action) -> Command:
    module, name = action.place
    found: Command | Group | tuple[Command, ...] = getattr(importlib.import_module(module), name)
    commands = found.commands if isinstance(found, Group) else found if isinstance(found, tuple) else (found,)
    return next(one for one in commands if one.word == action.word)
