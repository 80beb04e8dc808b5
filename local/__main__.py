"""Command line of an installation on this machine: ``python -m local demo|up``, or ``./run demo``, ``./run up``.

Exit codes: 0 success, 1 the demo found a fault, 2 a wrong argument or setting, or a port in use.
Only this file reads the settings.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from pydantic import SecretStr

from local.demo.run import DemoOptions, run_demo
from local.installation import InstallationPlan
from local.up import run_up
from ops.arguments import number_between
from ops.command_parser import CommandParser, terminal_text
from settings import Settings, load_or_exit

_SLOW_PROVIDER = (2.0, 3.0)
"""Shortest and longest time that the demo's mail server takes for a mail, in seconds."""


def main(arguments: Sequence[str]) -> int:
    """Run one command and return the exit code."""
    asked = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = asked.command
    return command(asked)


def _parser() -> CommandParser:
    it = CommandParser(prog="./run", description="Run a whole installation on this machine.")
    words = it.add_subparsers(title="commands", metavar="COMMAND", required=True)
    about = "everything on this machine, with sample data, until Ctrl-C"
    demo = words.add_parser("demo", help=about, description=about, epilog="example: ./run demo --once")
    demo.set_defaults(command=_demo)
    demo.add_argument("--once", action="store_true", help="end after the scenario")
    demo.add_argument("--json", action="store_true", help="one JSON object on stdout; progress goes to stderr")
    demo.add_argument(
        "--scale",
        type=partial(number_between, lowest=0.01, highest=10),
        default=1,
        metavar="N",
        help="size of the company; 1 is 5,000 people (default)",
    )
    demo.add_argument(
        "--provider-seconds",
        type=partial(number_between, lowest=0, highest=60),
        nargs=2,
        default=_SLOW_PROVIDER,
        metavar=("MIN", "MAX"),
        help="seconds that the mail server takes for a mail (default 2 3, like the large providers)",
    )
    about = "all processes, with embedded servers where none is configured, until Ctrl-C"
    words.add_parser("up", help=about, description=about, epilog="example: ./run up").set_defaults(command=_up)
    return it


def _demo(asked: argparse.Namespace) -> int:
    settings = load_or_exit(terminal_text)
    open_reader = {"MOMENTUS_READER__ACCESS": "open"}  # invented employees, on loopback
    plan = InstallationPlan(
        data_dir=settings.data_dir,
        redis_url=_revealed(settings.redis_url),
        postgres_dsn=_revealed(settings.postgres_dsn),
        sink_delay=(min(asked.provider_seconds), max(asked.provider_seconds)),
        environment=open_reader,
    )
    return run_demo(plan, DemoOptions(asked.once, asked.json, asked.scale), tenant=settings.tenant)


def _up(_asked: argparse.Namespace) -> int:
    settings = load_or_exit(terminal_text)
    return run_up(
        InstallationPlan(
            data_dir=settings.data_dir,
            redis_url=_revealed(settings.redis_url),
            postgres_dsn=_revealed(settings.postgres_dsn),
            mail_host=settings.mail.host,
            reader_host=settings.reader.host,
            reader_port=settings.reader.port,
            console_host=settings.console.host,
            console_port=settings.console.port,
            sink_smtp_port=settings.sink.smtp_port,
            sink_http_port=settings.sink.http_port,
            grace=settings.worker.grace,
            environment=_log_format(settings),
        )
    )


def _log_format(settings: Settings) -> Mapping[str, str]:
    """Return the format for processes whose log passes through this one: they cannot see its terminal."""
    readable = settings.log_format == "auto" and sys.stderr.isatty()
    return {"MOMENTUS_LOG_FORMAT": "console"} if readable else {}


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
