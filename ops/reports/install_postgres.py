"""`ops reports install` and `uninstall`: the triggers by which the database says which reports have changed.

Either runs as one transaction and may be repeated. They need the rights of the tables' owner; the worker does not,
so `--dry-run` prints the script for whoever has them, and `--role` names the worker's own user. The text is made
in `reports/triggers.py`.
"""

import argparse
from collections.abc import Mapping, Sequence
from urllib.parse import unquote, urlsplit

import asyncpg

from ops.command import Command, CommandRefused, CommandResult, Tools
from ops.reports.proofs_postgres import fetch_catalogue, proof_facts, proof_lines
from reports import ReportError, load_reports
from reports.boards import Board, boards_of
from reports.connection_postgres import Connection, connect
from reports.source_postgres import DATABASE_FAULTS
from reports.triggers import INSTALLED, boards_by_source, install_script, trigger_name, uninstall_script

_NO_DATABASE = "MOMENTUS_POSTGRES_DSN: is not set; name the database, or print the script with --dry-run"
_ROLE = "worker"
"""Who is named in a script that is printed where no Postgres is configured."""


async def install(tools: Tools, asked: argparse.Namespace) -> CommandResult:
    """Install, or print what would be run. Raises Refused."""
    boards = _boards(tools)
    sources = sorted(boards_by_source(tools.tenant, boards))
    if not sources:
        raise CommandRefused('no report names its sources: add sources = ["schema.table", ...] to its head')
    if not tools.postgres_dsn and not asked.dry_run:
        raise CommandRefused(_NO_DATABASE)
    role = asked.role or await _own_role(tools, asked)
    script = install_script(tools.tenant, boards, role=role)
    answer = await _done(tools, asked, script, "", sources)
    if asked.dry_run:
        return answer
    marked = await _marked(tools, asked)  # partitions as well; of sources that are views, none
    text = _listed(f"triggers on {len(marked)} tables mark what changes", marked)
    return await _with_proofs(tools, CommandResult(text, {**answer.facts, "tables": list(marked)}), boards, role)


async def _own_role(tools: Tools, asked: argparse.Namespace) -> str:
    """Whom the database takes the configured user for, which a pooler may change; unasked, the address's."""
    if asked.dry_run:
        return unquote(urlsplit(tools.postgres_dsn).username or "") or _ROLE
    connection = await _connected(tools.postgres_dsn)
    try:
        return str(await connection.fetchval("SELECT current_user"))
    finally:
        await connection.close()


async def _with_proofs(
    tools: Tools, answer: CommandResult, boards: Mapping[str, Board], role: str
) -> CommandResult:
    """Add which boards are watched now for that role, and why others are not."""
    catalogue = await fetch_catalogue(tools.postgres_dsn, tools.tenant, boards, role=role)
    if catalogue is None:
        return answer
    text = "\n".join([answer.text, *proof_lines(catalogue)])
    return CommandResult(text, {**answer.facts, "boards": proof_facts(catalogue)}, answer.done)


async def uninstall(tools: Tools, asked: argparse.Namespace) -> CommandResult:
    """Remove all that was installed for the tenant, or print what would be run. Raises Refused."""
    marked = await _marked(tools, asked)
    script = uninstall_script(tools.tenant, marked)
    return await _done(tools, asked, script, f"the triggers of {len(marked)} tables are removed", list(marked))


async def _marked(tools: Tools, asked: argparse.Namespace) -> tuple[str, ...]:
    """The tables that have the tenant's trigger now; none where a script is wanted and nobody can be asked."""
    if not tools.postgres_dsn:
        if asked.dry_run:
            return ()
        raise CommandRefused(_NO_DATABASE)
    connection = await _connected(tools.postgres_dsn)
    try:
        rows = await connection.fetch(INSTALLED)
    finally:
        await connection.close()
    return tuple(sorted(row["source"] for row in rows if row["name"] == trigger_name(tools.tenant)))


async def _done(
    tools: Tools, asked: argparse.Namespace, script: str, what: str, sources: list[str]
) -> CommandResult:
    facts = {"sources": sources, "dry_run": asked.dry_run}
    if asked.dry_run:
        return CommandResult(script.rstrip(), facts | {"script": script})
    connection = await _connected(tools.postgres_dsn)
    try:
        await connection.execute(script)
    except asyncpg.InsufficientPrivilegeError as error:
        raise CommandRefused(f"{error}: have the tables' owner run what --dry-run prints") from None
    except asyncpg.LockNotAvailableError:
        raise CommandRefused(
            "a table stayed locked for 5 s, nothing was changed; try again when writers are done"
        ) from None
    except asyncpg.PostgresError as error:
        raise CommandRefused(f"the database refused it, nothing was changed: {error}") from None
    finally:
        await connection.close()
    return CommandResult(_listed(what, sources), facts)


def _listed(what: str, tables: Sequence[str]) -> str:
    return "\n".join([what, *(f"  {table}" for table in tables)])


async def _connected(dsn: str) -> Connection:
    try:
        return await connect(dsn, application="momentus-ops")
    except (*DATABASE_FAULTS, ValueError) as error:
        raise CommandRefused(f"MOMENTUS_POSTGRES_DSN: no connection: {type(error).__name__}") from None


def _boards(tools: Tools) -> dict[str, Board]:
    try:
        return dict(boards_of(load_reports(tools.reports_path, shipped=tools.reports_shipped)))
    except ReportError as error:
        raise CommandRefused(str(error)) from None


def _dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="print the SQL and run nothing")


def _role(parser: argparse.ArgumentParser) -> None:
    _dry_run(parser)
    parser.add_argument(
        "--role", default="", metavar="NAME", help="the worker's database user (default: the configured one)"
    )


COMMANDS = (
    Command(
        "install",
        "make the database mark what changes reports",
        "reports install --dry-run | psql",
        _role,
        install,
        needs_redis=False,
    ),
    Command(
        "uninstall",
        "remove what install made",
        "reports uninstall --dry-run",
        _dry_run,
        uninstall,
        needs_redis=False,
    ),
)
