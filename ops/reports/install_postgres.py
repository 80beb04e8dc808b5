"""`ops reports install` and `uninstall`: the triggers that mark changes of reports in the database.

Each runs as one transaction and may be repeated. They need the rights of the tables' owner; the worker does not,
so `--dry-run` prints the script for the owner, and `--role` names the worker's own user. `reports/triggers.py`
writes the script.
"""

import argparse
from collections.abc import Mapping, Sequence
from urllib.parse import unquote, urlsplit

import asyncpg

from ops.command import Command, CommandRefused, CommandResult, Tools
from ops.database_postgres import connect_database
from ops.reports.proofs_postgres import fetch_catalogue, proof_facts, proof_lines
from reports import ReportError, load_reports
from reports.boards import Board, boards_of
from reports.triggers import INSTALLED, install_script, uninstall_script, watched_sources

_NO_DATABASE = "MOMENTUS_POSTGRES_DSN: is not set; name the database, or print the script with --dry-run"
_ROLE = "worker"
"""The role in a script that is printed without a configured Postgres."""


async def install_triggers(tools: Tools, args: argparse.Namespace) -> CommandResult:
    """Install the triggers, or print the script. Raises CommandRefused."""
    boards = _boards(tools)
    sources = sorted({one.source for one in watched_sources(tools.tenant, boards)})
    if not sources:
        raise CommandRefused('sources: no report names any; add sources = ["schema.table", ...] to its head')
    if not tools.postgres_dsn and not args.dry_run:
        raise CommandRefused(_NO_DATABASE)
    role = args.role or await _own_role(tools, args)
    script = install_script(tools.tenant, boards, role=role)
    result = await _done(tools, args, script, "", sources)
    if args.dry_run:
        return result
    marked = await _marked(tools, args)  # includes partitions; views have no triggers
    text = _listed(f"triggers on {len(marked)} tables mark what changes", marked)
    return await _with_proofs(tools, CommandResult(text, {**result.facts, "tables": list(marked)}), boards, role)


async def _own_role(tools: Tools, args: argparse.Namespace) -> str:
    """Return the database's name for the user, which a pooler may change; for a script, that in the address."""
    if args.dry_run:
        return unquote(urlsplit(tools.postgres_dsn).username or "") or _ROLE
    connection = await connect_database(tools.postgres_dsn)
    try:
        return str(await connection.fetchval("SELECT current_user"))
    finally:
        await connection.close()


async def _with_proofs(
    tools: Tools, result: CommandResult, boards: Mapping[str, Board], role: str
) -> CommandResult:
    """Add which boards are now watched for that role, and why the others are not."""
    catalogue = await fetch_catalogue(tools.postgres_dsn, tools.tenant, boards, role=role)
    if catalogue is None:
        return result
    text = "\n".join([result.text, *proof_lines(catalogue)])
    return CommandResult(text, {**result.facts, "boards": proof_facts(catalogue)}, result.done)


async def uninstall_triggers(tools: Tools, args: argparse.Namespace) -> CommandResult:
    """Remove all triggers of the tenant, or print the script. Raises CommandRefused."""
    marked = await _marked(tools, args)
    script = uninstall_script(tools.tenant)
    return await _done(tools, args, script, f"the triggers of {len(marked)} tables are removed", list(marked))


async def _marked(tools: Tools, args: argparse.Namespace) -> tuple[str, ...]:
    """Return the tables with the tenant's trigger; empty for a script without a database."""
    if not tools.postgres_dsn:
        if args.dry_run:
            return ()
        raise CommandRefused(_NO_DATABASE)
    connection = await connect_database(tools.postgres_dsn)
    try:
        rows = await connection.fetch(INSTALLED, tools.tenant)
    finally:
        await connection.close()
    return tuple(sorted({row["source"] for row in rows}))


async def _done(
    tools: Tools, args: argparse.Namespace, script: str, what: str, sources: list[str]
) -> CommandResult:
    facts = {"sources": sources, "dry_run": args.dry_run}
    if args.dry_run:
        return CommandResult(script.rstrip(), facts | {"script": script})
    connection = await connect_database(tools.postgres_dsn)
    try:
        await connection.execute(script)
    except asyncpg.InsufficientPrivilegeError as error:
        raise CommandRefused(
            f"MOMENTUS_POSTGRES_DSN: {error}; let the tables' owner run the script of --dry-run"
        ) from None
    except asyncpg.LockNotAvailableError:
        raise CommandRefused(
            "install: a table stayed locked for 5 s, and nothing was changed; try again when its writers are done"
        ) from None
    except asyncpg.PostgresError as error:
        raise CommandRefused(
            f"install: the database refused the script, and nothing was changed: {error}"
        ) from None
    finally:
        await connection.close()
    return CommandResult(_listed(what, sources), facts)


def _listed(what: str, tables: Sequence[str]) -> str:
    return "\n".join([what, *(f"  {table}" for table in tables)])


def _boards(tools: Tools) -> dict[str, Board]:
    try:
        return dict(boards_of(load_reports(tools.reports_path, shipped=tools.reports_shipped)))
    except ReportError as error:
        raise CommandRefused(str(error)) from None


def _dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="print the SQL without running it")


def _role(parser: argparse.ArgumentParser) -> None:
    _dry_run(parser)
    parser.add_argument(
        "--role", default="", metavar="NAME", help="the worker's database user (default: the configured one)"
    )


COMMANDS = (
    Command(
        "install",
        "install triggers that mark changes of reports",
        "reports install --dry-run | psql",
        _role,
        install_triggers,
        needs_redis=False,
    ),
    Command(
        "uninstall",
        "remove the installed triggers",
        "reports uninstall --dry-run",
        _dry_run,
        uninstall_triggers,
        needs_redis=False,
    ),
)
