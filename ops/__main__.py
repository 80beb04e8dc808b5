"""Look after the queue from the command line: ``python -m ops COMMAND``, or ``./run ops COMMAND``.

Exit codes, for scripts:

    0  fine
    1  a finding (something is wrong, and a line says what), or the command had nothing to do or was refused
    2  a wrong argument or setting, or a port in use; one line names it
    3  Redis does not answer; one line names its setting

Results go to stdout, everything else to stderr. Without MOMENTUS_REDIS_URL, commands use the servers of the
``./run up`` or ``./run demo`` that runs on the same data directory. Only this file reads the settings.
"""

import gc

if __name__ == "__main__":
    gc.disable()  # until the command is loaded: scanning what is being loaded takes a tenth of the start

import argparse
import asyncio
import contextlib
import importlib
import os
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial
from ipaddress import ip_network
from typing import TYPE_CHECKING, NoReturn

import orjson
from pydantic import SecretStr
from redis.asyncio import Redis
from redis.exceptions import RedisError

from background import start_task, stop_tasks
from ops.acl import ACL
from ops.arguments import number_between
from ops.command import Act, Command, CommandRefused, Group, Tools
from ops.command_parser import CommandParser, terminal_text
from ops.depth.read import Depth, read_depth
from ops.depth.table import depth_table
from ops.depth.verdict import verdict_facts, verdict_lines
from ops.depth.wrong_keys import wrong_keys
from ops.doctor.checks_queue import wrong_in_queue
from ops.language import terminal_language
from ops.losses import ACKNOWLEDGE_LOSS
from ops.running import NAME, RunningUnreadable, running_servers
from ops.stop_signal import until_stopped
from ops.table import table
from producers.link.client import connect
from producers.rights import missing_right
from reports.bounds import ReportBounds
from reports.numbers import write_decimal
from settings import ConsoleSettings, Settings, allowed_values, each_field, is_secret, load_or_exit, show_value

if TYPE_CHECKING:
    from ops.console.access import AccessRules
    from ops.console.page import ConsolePage

EXIT_FINDING, EXIT_CONFIGURATION, EXIT_REDIS = 1, 2, 3

_LATER = {
    "audit": ("ops.audit.commands", "AUDIT"),
    "db": ("ops.ledger.schema", "DB"),
    "doctor": ("ops.doctor.commands", "DOCTOR"),
    "ledger": ("ops.ledger.commands", "LEDGER"),
    "limit": ("ops.limits.commands", "LIMIT"),
    "mail": ("ops.mail.commands", "MAIL"),
    "metrics": ("ops.metrics.commands", "METRICS"),
    "reports": ("ops.reports.commands", "REPORTS"),
    "schedules": ("ops.schedules.commands", "SCHEDULES"),
    "sessions": ("ops.sessions.commands", "SESSIONS"),
    "undo": ("ops.undo.commands", "UNDO_COMMAND"),
    "workers": ("ops.workers.commands", "WORKERS"),
}
"""Module and name of the commands that are imported only when they are used: their libraries load slowly."""

_ALONE = {"depth", *_LATER}
"""The words for which the commands for jobs are not imported."""

_ANSWER_SECONDS = 2
_NO_REDIS = "redis://127.0.0.1:0"
"""The address for a command that needs no Redis; nothing listens there."""
_CLEAR = "\x1b[H\x1b[2J"
_EXIT_CODES = """exit codes:
  0 fine, 1 a finding or nothing done, 2 a wrong argument or setting, 3 Redis does not answer"""
_EXAMPLE = "example:\n  ./run ops {}"


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    parser = _parser(*arguments[:1])
    args = parser.parse_args(arguments)
    if "command" not in args:
        parser.print_help(sys.stderr)
        return EXIT_CONFIGURATION
    command: Callable[[argparse.Namespace], int] = args.command
    gc.enable()
    return command(args)


def _parser(word: str = "") -> CommandParser:
    """Return the parser for a command line that begins with this word; by default one that knows all commands."""
    parser = CommandParser(
        prog="./run ops",
        description="Look after the queue, the reports and the workers.",
        epilog=_EXIT_CODES,
    )
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    depth = _add(
        subparsers, "depth", _depth, "show how many jobs wait, why, and until when", "depth --watch --every 5"
    )
    depth.add_argument("--json", action="store_true", help="print one JSON object on one line instead of a table")
    depth.add_argument("--watch", action="store_true", help="repeat until Ctrl-C")
    depth.add_argument(
        "--every", type=_seconds, default=2, metavar="SECONDS", help="interval of --watch (default 2)"
    )
    if word not in _ALONE:
        _add_later(subparsers, "ops.jobs.commands", "COMMANDS")
    for one in (ACL, ACKNOWLEDGE_LOSS):
        _add_command(subparsers, one)
    _add(subparsers, "console", _console, "serve the operators' page, on this machine only", "console")
    listed = _add(subparsers, "settings", _settings, "list every setting with its default and limits", "settings")
    listed.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    if word in _LATER:
        _add_later(subparsers, *_LATER[word])
    elif word not in subparsers.choices:
        for place in _LATER.values():
            _add_later(subparsers, *place)
    return parser


def _add_later(subparsers: "argparse._SubParsersAction[CommandParser]", module: str, name: str) -> None:
    found: Command | Group | tuple[Command, ...] = getattr(importlib.import_module(module), name)
    if not isinstance(found, Group):
        for one in found if isinstance(found, tuple) else (found,):
            _add_command(subparsers, one)
        return
    parser = subparsers.add_parser(found.word, help=found.about, description=found.about, epilog=_EXIT_CODES)
    second = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for one in found.commands:
        _add_command(second, one)


def _add_command(subparsers: "argparse._SubParsersAction[CommandParser]", one: Command) -> None:
    parser = _add(subparsers, one.word, partial(_run_command, one), one.about, one.example)
    parser.add_argument("--json", action="store_true", help="print one JSON object on one line instead of text")
    one.arguments(parser)


def _add(
    subparsers: "argparse._SubParsersAction[CommandParser]",
    word: str,
    command: Callable[[argparse.Namespace], int],
    about: str,
    example: str,
) -> CommandParser:
    parser = subparsers.add_parser(
        word,
        help=about,
        description=f"{about[0].upper()}{about[1:]}.",
        epilog=_EXAMPLE.format(example),
    )
    parser.set_defaults(command=command)
    return parser


def _seconds(text: str) -> float:
    """Read the interval of --watch, in seconds."""
    return number_between(text, 0.1, 3600)


# depth


def _depth(args: argparse.Namespace) -> int:
    settings = load_or_exit(terminal_text)
    url, named = _redis_url(settings)
    if args.watch:
        return asyncio.run(until_stopped(_watch_depth(args, settings, url, named))) or 0
    return asyncio.run(_print_depth(args, settings, url, named))


async def _print_depth(args: argparse.Namespace, settings: Settings, url: str, named: str) -> int:
    async with _redis(url) as redis:
        try:
            depth = await _read_depth(redis, settings)
        except (RedisError, OSError) as error:
            _print_error(await _redis_error(redis, named, error))
            return EXIT_REDIS
    print(_depth_output(depth, as_json=args.json))
    return EXIT_FINDING if wrong_in_queue(depth) else 0


async def _watch_depth(args: argparse.Namespace, settings: Settings, url: str, named: str) -> NoReturn:
    """Print the depth until interrupted; report a Redis that does not answer, and try again."""
    before = _CLEAR if sys.stdout.isatty() and not args.json else ""
    async with _redis(url) as redis:
        while True:
            try:
                depth = await _read_depth(redis, settings)
                print(before + _depth_output(depth, as_json=args.json), flush=True)
            except (RedisError, OSError) as error:
                _print_error(await _redis_error(redis, named, error))
            await asyncio.sleep(args.every)


async def _read_depth(redis: Redis, settings: Settings) -> Depth:
    return await read_depth(redis, tenant=settings.tenant, clock_bound=settings.reports.clock_bound)


def _depth_output(depth: Depth, *, as_json: bool) -> str:
    found, language = wrong_in_queue(depth), terminal_language(os.environ)
    if as_json:
        facts = depth.to_json() | {"wrong": verdict_facts(found)}
        return orjson.dumps(facts, option=orjson.OPT_UTC_Z).decode()
    lines = verdict_lines(found, language)
    return "\n\n".join([depth_table(depth, language), *(["\n".join(lines)] if lines else [])])


# commands that run once


def _run_command(command: Command, args: argparse.Namespace) -> int:
    settings = load_or_exit(terminal_text)
    url, named = _redis_url(settings) if command.needs_redis else (_NO_REDIS, "no setting")
    return asyncio.run(_run_act(command.act, args, settings, url, named))


async def _run_act(act: Act, args: argparse.Namespace, settings: Settings, url: str, named: str) -> int:
    async with _redis(url) as redis:
        try:
            answer = await act(_tools(settings, redis, url), args)
        except (RedisError, OSError) as error:
            _print_error(await _redis_error(redis, named, error))
            return EXIT_REDIS
        except CommandRefused as refusal:
            _print_error(str(refusal))
            return EXIT_CONFIGURATION
    print(orjson.dumps(answer.facts, write_decimal, orjson.OPT_UTC_Z).decode() if args.json else answer.text)
    return 0 if answer.done else EXIT_FINDING


def _tools(settings: Settings, redis: Redis, url: str) -> Tools:
    return Tools(
        redis=redis,
        redis_url=url,
        tenant=settings.tenant,
        timezone=settings.timezone,
        postgres_dsn=_postgres_dsn(settings),
        reports_path=settings.reports.path,
        reports_shipped=settings.reports.shipped,
        statement_timeout=settings.reports.statement_timeout,
        bounds=ReportBounds(nodes=settings.reports.most_nodes, mib=settings.reports.most_mib),
        clock_bound=settings.reports.clock_bound,
        mail={name: _plain(value) for name, value in settings.mail},
        language=terminal_language(os.environ),
    )


def _plain(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


# console; it imports the HTTP server and the pages itself, so that other commands start quickly


def _console(_args: argparse.Namespace) -> int:
    import uvloop  # noqa: PLC0415  see above

    import log  # noqa: PLC0415  see above
    from ops.console.page import ConsolePage  # noqa: PLC0415  see above
    from ops.console.server import listen  # noqa: PLC0415  see above

    settings = load_or_exit(terminal_text)
    log.set_up(settings.log_format, settings.log_level)
    host, port = settings.console.host, settings.console.port
    try:
        listener = listen(host, port)
    except OSError as error:
        _print_error(
            f"MOMENTUS_CONSOLE__PORT: the console cannot listen on {host} port {port}: {error.strerror}; "
            "set another port (0 = any free port) or MOMENTUS_CONSOLE__HOST"
        )
        return EXIT_CONFIGURATION
    url, named = _redis_url(settings)
    redis = _redis(url)
    console = ConsolePage(
        redis,
        tenant=settings.tenant,
        named=named,
        tools=_tools(settings, redis, url),
        rules=_access_rules(settings.console),
        allowed_hosts=settings.console.allowed_hosts.split(),
    )
    uvloop.run(log.run_watched(until_stopped(_serve_console(console, listener))))
    return 0


def _access_rules(console: ConsoleSettings) -> "AccessRules":
    from ops.console.access import AccessRules, read_tokens, roles_of  # noqa: PLC0415  see above

    return AccessRules(
        local=None if console.local == "off" else console.local,
        tokens=read_tokens(_revealed(console.tokens) or ""),
        proxies=tuple(map(ip_network, console.proxies.split())),
        proxy_header=console.proxy_header.lower(),
        users=roles_of(console.viewers.split(), console.operators.split(), console.admins.split()),
        shown_fields=frozenset(console.fields.split()),
    )


async def _serve_console(console: "ConsolePage", listener: socket.socket) -> None:
    """Serve the page until a signal arrives. The page reports a Redis that does not answer."""
    import structlog  # noqa: PLC0415  see above

    from metrics.health import Health  # noqa: PLC0415  see above
    from metrics.service_manager import keep_notified  # noqa: PLC0415  see above
    from ops.console.render import load_pages  # noqa: PLC0415  see above
    from ops.console.server import serve  # noqa: PLC0415  see above

    load_pages()
    logger = structlog.get_logger("ops.console")
    host, port, *_ = listener.getsockname()
    logger.info("the console listens", host=host, port=port)
    sampling = start_task("console samples", console.keep_sampling)
    async with keep_notified(Health()):
        await serve(console.respond, listener)
    await stop_tasks(sampling)
    logger.info("the console stops")
    await console.close()


def _revealed(secret: SecretStr | None) -> str | None:
    return None if secret is None else secret.get_secret_value()


# settings


def _settings(args: argparse.Namespace) -> int:
    rows = [
        {
            "variable": f"{name} (or {name}_FILE)" if is_secret(field) else name,
            "default": show_value(field.default),
            "allowed": allowed_values(field).replace("`", ""),
            "meaning": str(field.description).replace("`", ""),
        }
        for name, field in each_field()
    ]
    if args.json:
        print(orjson.dumps({"settings": rows}).decode())
    else:
        heads = [head.upper() for head in rows[0]]
        print(table(heads, [list(row.values()) for row in rows], left={0, 1, 2, 3}))
    return 0


# Redis


def _redis_url(settings: Settings) -> tuple[str, str]:
    """Return the address of Redis and the name of its source; end the process if there is none."""
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value(), "MOMENTUS_REDIS_URL"
    file = settings.data_dir / NAME
    try:
        running = running_servers(settings.data_dir)
    except RunningUnreadable as error:
        _exit_with(str(error))
    if running is None:
        _exit_with(
            f"MOMENTUS_REDIS_URL: not set, and nothing runs here ({file} is absent); set it, or start ./run up"
        )
    return running.redis_url, f"{file} (written by ./run up; MOMENTUS_REDIS_URL takes precedence)"


def _postgres_dsn(settings: Settings) -> str:
    """Return the address of Postgres; if unset, that of a running installation with the same Redis, else empty."""
    if settings.postgres_dsn is not None:
        return settings.postgres_dsn.get_secret_value()
    try:
        running = running_servers(settings.data_dir)
    except RunningUnreadable:
        return ""
    if running is None or _revealed(settings.redis_url) not in (None, running.redis_url):
        return ""
    return running.postgres_dsn


def _redis(url: str) -> Redis:
    """Return a client that connects on first use; end the process if the address cannot be parsed."""
    try:
        return connect(url, seconds=_ANSWER_SECONDS)
    except ValueError as error:
        _exit_with(f"MOMENTUS_REDIS_URL: {error}")


async def _redis_error(redis: Redis, named: str, error: Exception) -> str:
    if str(error).startswith("WRONGTYPE"):
        with contextlib.suppress(RedisError, OSError):
            wrong = "; ".join(await wrong_keys(redis))
            return (
                f"Redis: another application writes to this database: {wrong or error}; remove those keys, then "
                "the queue continues"
            )
    if right := missing_right(error):
        return f"Redis refuses the user of the address in {named}: it lacks {right} ({error}); see `./run ops acl`"
    return f"Redis does not answer at the address in {named}: {error or type(error).__name__}"


def _exit_with(reason: str) -> NoReturn:
    _print_error(reason)
    raise SystemExit(EXIT_CONFIGURATION)


def _print_error(line: str) -> None:
    sys.stderr.write(f"ops: {terminal_text(line)}\n")


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # `depth --watch | head`: the reading end is closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
