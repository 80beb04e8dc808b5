"""`ops db`: install, upgrade, check and uninstall the ledger's schema in the application's database.

Each runs as one transaction, waits at most a second for a lock and may be repeated. They need a role that may
create a schema there; the worker and the backends do not, and get their rights through `--worker` and `--backend`.
`--dry-run` prints the script for the owner.
"""

import argparse
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from ledger.schema import (
    LATEST,
    JobsAreLive,
    LedgerRoles,
    SchemaFault,
    SchemaMissing,
    SchemaNewer,
    SchemaState,
    install,
    install_script,
    read_roles,
    read_state,
    uninstall,
    uninstall_script,
)
from ops.command import Command, CommandRefused, CommandResult, Group, Tools
from ops.command_parser import terminal_text
from ops.database_postgres import open_database
from ops.ledger.words import SCHEMA
from ops.table import printable
from reports.connection_postgres import Connection


async def _install(tools: Tools, args: argparse.Namespace) -> CommandResult:
    roles = LedgerRoles(args.backend, args.worker)
    if args.dry_run and not tools.postgres_dsn:
        return _printed(install_script(SchemaState(None), roles))
    async with open_database(tools) as connection:
        return await _bring_up_to_date(tools, args, connection, await _known(connection), roles)


async def _upgrade(tools: Tools, args: argparse.Namespace) -> CommandResult:
    async with open_database(tools) as connection:
        state = await _known(connection)
        if state.number is None:
            raise CommandRefused(str(SchemaMissing()))
        roles = await read_roles(connection)
        return await _bring_up_to_date(tools, args, connection, state, roles)


async def _bring_up_to_date(
    tools: Tools, args: argparse.Namespace, connection: Connection, state: SchemaState, roles: LedgerRoles
) -> CommandResult:
    if args.dry_run:
        return _printed(install_script(state, roles))
    await install(connection, backends=roles.backends, workers=roles.workers)
    text = SCHEMA[tools.language]["installed"].format(number=LATEST)
    return CommandResult(text, {"number": LATEST, "before": state.number, "dry_run": False, **_listed(roles)})


async def _check(tools: Tools, _args: argparse.Namespace) -> CommandResult:
    words = SCHEMA[tools.language]
    async with open_database(tools) as connection:
        state = await read_state(connection)
        facts: dict[str, Any] = asdict(state) | {"latest": LATEST}
        try:
            state.demand()
        except SchemaFault as fault:
            return CommandResult(terminal_text(str(fault)), facts | {"fault": str(fault)}, done=False)
        roles = await read_roles(connection)
    lines = [
        words["current"].format(number=state.number),
        words["days"].format(day=state.last_day or "-"),
        words["backends"].format(roles=printable(", ".join(roles.backends)) or "-"),
        words["workers"].format(roles=printable(", ".join(roles.workers)) or "-"),
    ]
    is_ahead = state.last_day is not None and state.last_day > datetime.now(UTC).date()
    if not is_ahead:
        lines.append(words["no_days"])
    return CommandResult("\n".join(lines), facts | _listed(roles), done=is_ahead)


async def _uninstall(tools: Tools, args: argparse.Namespace) -> CommandResult:
    words = SCHEMA[tools.language]
    if args.dry_run:
        return _printed(uninstall_script())
    async with open_database(tools) as connection:
        state = await _known(connection)
        if state.number is None:
            return CommandResult(words["none"], {"number": None}, done=False)
        try:
            live = await uninstall(connection, discard_live=args.discard_live)
        except JobsAreLive as refusal:
            raise CommandRefused(str(refusal)) from None
    return CommandResult(words["removed"], {"number": state.number, "live": live})


async def _known(connection: Connection) -> SchemaState:
    """Return the schema's state. Raises CommandRefused if a newer deployment made it."""
    state = await read_state(connection)
    if state.number is not None and state.number > LATEST:
        raise CommandRefused(str(SchemaNewer(state.number)))
    return state


def _printed(script: str) -> CommandResult:
    return CommandResult(script.rstrip(), {"script": script, "dry_run": True})


def _listed(roles: LedgerRoles) -> dict[str, list[str]]:
    return {"backends": list(roles.backends), "workers": list(roles.workers)}


def _add_dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="print the SQL without running it")


def _add_roles(parser: argparse.ArgumentParser) -> None:
    _add_dry_run(parser)
    parser.add_argument(
        "--backend",
        action="append",
        default=[],
        metavar="NAME",
        help="a role that may stage jobs and nothing else; may be repeated",
    )
    parser.add_argument(
        "--worker",
        action="append",
        default=[],
        metavar="NAME",
        help="a role that may also read, hand over, record and remove; may be repeated",
    )


def _add_nothing(_parser: argparse.ArgumentParser) -> None:
    pass


def _add_uninstall(parser: argparse.ArgumentParser) -> None:
    _add_dry_run(parser)
    parser.add_argument("--discard-live", action="store_true", help="remove jobs that have not ended, too")


DB = Group(
    "db",
    "manage the ledger's schema in Postgres",
    (
        Command(
            "install",
            "install the ledger, or upgrade it, and grant rights to roles",
            "db install --backend app --worker momentus",
            _add_roles,
            _install,
            needs_redis=False,
        ),
        Command(
            "upgrade",
            "run the migrations that the ledger lacks",
            "db upgrade --dry-run",
            _add_dry_run,
            _upgrade,
            needs_redis=False,
        ),
        Command(
            "check",
            "show the ledger's version, its last day and its roles",
            "db check",
            _add_nothing,
            _check,
            needs_redis=False,
        ),
        Command(
            "uninstall",
            "remove the ledger with all that it has recorded",
            "db uninstall --dry-run",
            _add_uninstall,
            _uninstall,
            needs_redis=False,
        ),
    ),
)
