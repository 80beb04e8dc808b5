"""Commands of the command line: arguments, action and result. `ops.__main__` runs them.

A result has a text for operators and facts for scripts, and says whether anything was done: having nothing to do,
or being refused, is not an error, but a script must be able to tell.
"""

import argparse
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from clocks import BOUND
from ops.language import Language
from reports.bounds import DEFAULT, ReportBounds


def new_number() -> str:
    """Return a number for a change; random."""
    return secrets.token_hex(8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Everything that a command may use; plain values, because only an entry reads the settings.

    Attributes:
        redis: connects when it is first used.
        postgres_dsn: empty when no Postgres is configured.
        reports_path: the user's own folder of report files.
        reports_shipped: which of the shipped reports are used: `on`, `off` or names.
        statement_timeout: the time after which the database ends a report's query.
        bounds: the largest size of a report.
        clock_bound: how far clocks may be apart.
        mail: the mail settings by name, secrets revealed.
        language: of the terminal.
        change: the number of this change, under which deletions are kept aside: that of its entry in the audit
            log; on the command line, which has none, a new number.
    """

    redis: Redis
    redis_url: str
    tenant: str = "default"
    timezone: str = "UTC"
    postgres_dsn: str = ""
    reports_path: Path | None = None
    reports_shipped: str = "on"
    statement_timeout: timedelta = timedelta(seconds=30)
    bounds: ReportBounds = DEFAULT
    clock_bound: timedelta = BOUND
    mail: Mapping[str, Any] = field(default_factory=dict)
    language: Language = "en"
    change: str = field(default_factory=new_number)


@dataclass(frozen=True, slots=True)
class CommandResult:
    """Result of a command.

    Attributes:
        text: for operators.
        facts: for ``--json``.
        done: False when there was nothing to do, or it was refused.
    """

    text: str
    facts: Mapping[str, Any]
    done: bool = True


class CommandRefused(Exception):
    """A wrong argument, file or setting; one line names it and says what to do. The exit code is 2."""


Act = Callable[[Tools, argparse.Namespace], Awaitable[CommandResult]]


@dataclass(frozen=True, slots=True)
class Command:
    """One word of the command line.

    Attributes:
        arguments: adds its arguments to a parser.
        act: runs it; raises CommandRefused, or RedisError and OSError if Redis does not answer.
        needs_redis: True if it is refused when no Redis is named.
    """

    word: str
    about: str
    example: str
    arguments: Callable[[argparse.ArgumentParser], None]
    act: Act
    needs_redis: bool = True


@dataclass(frozen=True, slots=True)
class Group:
    """A first word that commands follow: ``ops mail trace``."""

    word: str
    about: str
    commands: tuple[Command, ...]
