"""Rights of the reports' database user beyond reading.

A refresh only reads, for a bounded time, and rolls back the effects of report SQL. No session setting can stop SQL
from calling functions that act at once, outside of transactions: those that end sessions, or read and write files
of the server. Only a role without these rights can, so this module reports the rights that the role has.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from ops.doctor.finding import DoctorFinding, fine, warning
from reports.connection_postgres import connect
from reports.source_postgres import DATABASE_FAULTS

_SECONDS = 5
_WHERE = "postgres"
_ASK = """
SELECT
    current_user AS role,
    rolsuper AS superuser,
    rolcreaterole AS makes_roles,
    rolreplication AS replicates,
    ARRAY(
        SELECT other.rolname::text FROM pg_roles AS other
        WHERE other.rolname = ANY ($1::text[]) AND pg_has_role(other.oid, 'usage')
        ORDER BY 1
    ) AS member_of,
    (
        SELECT min(format('%s.%s', namespace.nspname, class.relname))
        FROM pg_class AS class JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
        WHERE class.relkind IN ('r', 'p') AND class.oid >= 16384
            AND namespace.nspname NOT IN ('momentus', 'momentus_ledger')
            AND class.relpersistence <> 't' AND has_schema_privilege(namespace.oid, 'usage')
            AND has_table_privilege(class.oid, 'insert, update, delete, truncate')
    ) AS writes,
    (
        SELECT count(*) FROM pg_stat_activity
        WHERE usename = current_user AND pid <> pg_backend_pid() AND datname IS NOT NULL
            AND application_name NOT LIKE 'momentus-%'
    ) AS others
FROM pg_roles WHERE rolname = current_user
"""
_MEMBERS = {
    "pg_signal_backend": "end sessions of other users",
    "pg_read_server_files": "read files of the server",
    "pg_write_server_files": "write files of the server",
    "pg_execute_server_program": "run programs on the server",
    "pg_write_all_data": "write to all tables",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleFacts:
    """Rights of the connection's user.

    Attributes:
        member_of: predefined roles with rights that it inherits.
        writes: a table that it may write to, besides those of the marks.
        others: number of other applications' sessions of the same user, which report SQL could end.
    """

    role: str
    superuser: bool = False
    makes_roles: bool = False
    replicates: bool = False
    member_of: tuple[str, ...] = ()
    writes: str | None = None
    others: int = 0


async def gather_role(dsn: str) -> RoleFacts | None:
    """Read the rights of the user; None if the database does not answer, which another check reports."""
    try:
        async with asyncio.timeout(_SECONDS):
            connection = await connect(dsn, application="momentus-ops")
            try:
                row = await connection.fetchrow(_ASK, list(_MEMBERS))
            finally:
                await connection.close()
    except (*DATABASE_FAULTS, ValueError):
        return None
    return None if row is None else RoleFacts(**{**row, "member_of": tuple(row["member_of"])})


def judge_role(facts: RoleFacts | None) -> Iterator[DoctorFinding]:
    """Return the rights that a role for reading does not need."""
    if facts is None:
        return
    if facts.superuser:
        yield warning("postgres.superuser", _WHERE, role=facts.role)
        return
    if rights := list(_rights(facts)):
        yield warning("postgres.role_may", _WHERE, role=facts.role, rights=", ".join(rights))
    else:
        yield fine("postgres.role", _WHERE, role=facts.role)


def _rights(facts: RoleFacts) -> Iterator[str]:
    yield from (_MEMBERS[name] for name in facts.member_of)
    if facts.makes_roles:
        yield "create roles"
    if facts.replicates:
        yield "replicate"
    if facts.writes is not None:
        yield f"write to {facts.writes}"
    if facts.others:
        yield f"end the {facts.others} other sessions of the same user"
