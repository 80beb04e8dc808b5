"""The ledger's schema in Postgres: its numbered migrations, and who may use it.

``sql/NNN_*.sql`` are the migrations, run in order of their numbers and never changed once released.
``momentus_ledger.version`` holds the latest that was run. A schema whose number is higher than the code's latest
was made by a newer deployment: this code refuses it, because it does not know what the newer one needs.

The functions take a connection of asyncpg. Each is one transaction, waits at most a second for any lock, and
changes nothing if it raises; the scripts are those that ``./run ops db ... --dry-run`` prints.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from reports.connection_postgres import Connection
from reports.triggers import quote_identifier

SCHEMA = "momentus_ledger"
AHEAD = 7
"""Days after today for which partitions are made."""
_FOLDER = Path(__file__).parent / "sql"
MIGRATIONS = {int(file.name[:3]): file.read_text(encoding="utf-8") for file in sorted(_FOLDER.glob("[0-9]*.sql"))}
"""The migrations by number, from 1 without a gap."""
LATEST = max(MIGRATIONS)
"""Number of the latest migration of this build."""
_INSTALLED, _ROLES, _BACKEND, _WORKER, _COUNT_LIVE = (
    (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")
    for name in ("installed", "roles", "backend_rights", "worker_rights", "count_live")
)
_WAIT = "SET LOCAL lock_timeout = '1s';\n"
_HEAD = f"BEGIN READ WRITE;\n{_WAIT}"
_DROP = f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE;\n"


class SchemaFault(RuntimeError):
    """The ledger's schema cannot be used as it is; the message says what to do."""


class SchemaMissing(SchemaFault):
    """The database has no ledger."""

    def __init__(self) -> None:
        super().__init__("momentus_ledger: the database has no ledger; run ./run ops db install")


class SchemaOlder(SchemaFault):
    """The schema has fewer migrations than the code."""

    def __init__(self, number: int) -> None:
        super().__init__(
            f"momentus_ledger.version: {number}, and this build needs {LATEST}; run ./run ops db upgrade"
        )


class SchemaNewer(SchemaFault):
    """The schema was made by a newer deployment."""

    def __init__(self, number: int) -> None:
        super().__init__(
            f"momentus_ledger.version: {number} is newer than {LATEST}, the latest that this build knows; "
            "use the build that installed it, or a later one"
        )


class JobsAreLive(SchemaFault):
    """The ledger has jobs that have not ended, and must not be removed with them."""

    def __init__(self, live: int) -> None:
        super().__init__(f"db uninstall: {live} jobs have not ended; wait for them, or give --discard-live")


@dataclass(frozen=True, slots=True)
class LedgerRoles:
    """Roles that may use the ledger.

    Attributes:
        backends: may stage jobs, and read nothing.
        workers: may also read, hand over, record ends and remove.
    """

    backends: Sequence[str] = ()
    workers: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class SchemaState:
    """The ledger's schema in a database.

    Attributes:
        number: the latest migration that was run; None: no ledger is installed.
        last_day: the last day that has a partition; None: there is none.
    """

    number: int | None
    last_day: date | None = None

    def demand(self) -> None:
        """Check that this build can use the schema. Raises SchemaMissing, SchemaOlder, SchemaNewer."""
        if self.number is None:
            raise SchemaMissing
        if self.number < LATEST:
            raise SchemaOlder(self.number)
        if self.number > LATEST:
            raise SchemaNewer(self.number)


def install_script(state: SchemaState, roles: LedgerRoles) -> str:
    """Return the SQL that brings a schema to this build's latest migration, and grants rights; repeatable.

    Args:
        state: what :func:`read_state` found.
        roles: those that get the rights; after an upgrade, also those that had them before.

    Raises:
        SchemaNewer: the schema was made by a newer deployment.
    """
    done = state.number or 0
    if done > LATEST:
        raise SchemaNewer(done)
    lines = [_HEAD, *(text for number, text in MIGRATIONS.items() if number > done)]
    if done < LATEST:
        lines.append(f"DELETE FROM {SCHEMA}.version;\nINSERT INTO {SCHEMA}.version (number) VALUES ({LATEST});")  # noqa: S608  ours
    lines.append(f"SELECT {SCHEMA}.make_partitions({AHEAD});")
    lines += [_BACKEND.replace("%ROLE%", quote_identifier(role)) for role in roles.backends]
    lines += [_WORKER.replace("%ROLE%", quote_identifier(role)) for role in roles.workers]
    return "\n".join([*lines, "COMMIT;", ""])


def uninstall_script() -> str:
    """Return the SQL that removes the ledger with all that it has recorded."""
    return f"{_HEAD}{_DROP}COMMIT;\n"


async def read_state(connection: Connection) -> SchemaState:
    """Return the state of the database's ledger. Raises DATABASE_FAULTS."""
    found = await connection.fetchrow(_INSTALLED)
    if not found["exists"]:
        return SchemaState(None)
    number = await connection.fetchval(f"SELECT number FROM {SCHEMA}.version")  # noqa: S608  ours
    return SchemaState(number, found["last_day"])


async def read_roles(connection: Connection) -> LedgerRoles:
    """Return the roles that may use the ledger, besides its owner. Raises DATABASE_FAULTS."""
    rows = await connection.fetch(_ROLES)
    return LedgerRoles(
        [row["role"] for row in rows if not row["works"]], [row["role"] for row in rows if row["works"]]
    )


async def check(connection: Connection) -> SchemaState:
    """Return the schema's state if this build can use it.

    Raises:
        SchemaMissing, SchemaOlder, SchemaNewer: it cannot; the message says what to do.
        DATABASE_FAULTS: the database did not answer, or refused.
    """
    state = await read_state(connection)
    state.demand()
    return state


async def install(connection: Connection, *, backends: Sequence[str] = (), workers: Sequence[str] = ()) -> None:
    """Install the ledger or bring it to the latest migration, and grant rights to roles.

    Args:
        backends, workers: as in :class:`LedgerRoles`.

    Raises:
        SchemaNewer: the schema was made by a newer deployment.
        DATABASE_FAULTS: the database refused, or a lock was not free within a second; nothing was changed.
    """
    script = install_script(await read_state(connection), LedgerRoles(backends, workers))
    await run_script(connection, script)


async def uninstall(connection: Connection, *, discard_live: bool = False) -> int:
    """Remove the ledger and all that it has recorded; return how many of its jobs had not ended.

    Args:
        discard_live: True to remove those too.

    Raises:
        JobsAreLive: some have not ended; jobs staged meanwhile count too, since the count is made under a lock.
        DATABASE_FAULTS: the database refused, or a lock was not free within a second; nothing was changed.
    """
    async with connection.transaction():
        await connection.execute(f"{_WAIT}LOCK TABLE {SCHEMA}.jobs, {SCHEMA}.ends IN ACCESS EXCLUSIVE MODE")
        live = int(await connection.fetchval(_COUNT_LIVE))
        if live and not discard_live:
            raise JobsAreLive(live)
        await connection.execute(_DROP)
    return live


async def make_partitions(connection: Connection) -> int:
    """Make the partitions of the coming days, and return how many tables are new.

    A worker calls it now and then; without one, rows of later days go to the DEFAULT partition.

    Raises:
        DATABASE_FAULTS: also if a lock was not free within 200 ms; the next call tries again.
    """
    return int(await connection.fetchval(f"SELECT {SCHEMA}.make_partitions($1)", AHEAD))


async def run_script(connection: Connection, script: str) -> None:
    """Run a script that is one transaction, and leave none open if it fails. Raises DATABASE_FAULTS."""
    try:
        await connection.execute(script)
    except BaseException:
        if not connection.is_closed():
            await connection.execute("ROLLBACK")
        raise
