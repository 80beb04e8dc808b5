"""SQL of the triggers by which the database marks the boards that have changed.

This module only writes SQL; ``ops reports install`` runs or prints it, and the worker reads what is installed. The
board's key separates the marks of two tenants of one database, so that neither takes up the other's.
"""

from collections.abc import Mapping
from pathlib import Path

from reports.boards import Board

_FOLDER = Path(__file__).parent / "sql"
INSTALLED = (_FOLDER / "installed.sql").read_text(encoding="utf-8")
"""Query for the installed triggers; the file describes its result."""
SOURCES = (_FOLDER / "sources.sql").read_text(encoding="utf-8")
"""Query for the catalogue's state of sources; the file describes its parameters and result."""
CALLS = (_FOLDER / "calls.sql").read_text(encoding="utf-8")
"""Query for what functions of the application read beyond the sources; the file describes its result."""
SERVER = (_FOLDER / "server.sql").read_text(encoding="utf-8")
"""Query for the state that all boards of a server share; the file describes its result."""
_WATCH = (_FOLDER / "watch.sql").read_text(encoding="utf-8")
_HEAD = (
    "-- Reports of tenant {}: {} the triggers that mark what changed.\n"
    "BEGIN READ WRITE;\nSET LOCAL lock_timeout = '5s';\n"
)


def board_key(tenant: str, board: str) -> str:
    """Return the key of a tenant's board in the marks.

    >>> board_key("north", "management")
    'north:management'
    """
    return f"{tenant}:{board}"


def trigger_name(tenant: str) -> str:
    """Return the name of the tenant's trigger, cut to the 63 bytes of an identifier."""
    return f"momentus_{tenant}"[:63]


def boards_by_source(tenant: str, boards: Mapping[str, Board]) -> dict[str, list[str]]:
    """Return every declared source with the keys of the boards that it affects."""
    found: dict[str, list[str]] = {}
    for board in boards.values():
        for source in board.sources:
            found.setdefault(source, []).append(board_key(tenant, board.name))
    return {source: sorted(keys) for source, keys in sorted(found.items())}


def install_script(tenant: str, boards: Mapping[str, Board], *, role: str) -> str:
    """Return the SQL that ``ops reports install`` runs: repeatable, in one transaction.

    It finds partitions, children and existing triggers of the tenant when it runs.

    Args:
        role: role of the worker, which gets the rights to take up marks.
    """
    wanted = boards_by_source(tenant, boards)
    pairs = ", ".join(
        f"({quote_literal(source)}, {quote_literal(key)})" for source, keys in wanted.items() for key in keys
    )
    lines = [_HEAD.format(tenant, "install"), (_FOLDER / "install.sql").read_text(encoding="utf-8")]
    lines += [
        f"GRANT USAGE ON SCHEMA momentus TO {quote_identifier(role)};",
        f"GRANT SELECT, DELETE ON momentus.dirty TO {quote_identifier(role)};",
        f"GRANT SELECT, INSERT, UPDATE ON momentus.boards TO {quote_identifier(role)};",
        _WATCH.replace("%TRIGGER%", quote_literal(trigger_name(tenant))).replace("%SOURCES%", pairs),
        _forget(tenant, "boards"),
    ]
    return "\n".join([*lines, "COMMIT;", ""])


def uninstall_script(tenant: str, former: tuple[str, ...]) -> str:
    """Return the SQL that ``ops reports uninstall`` runs; it removes everything of the tenant from the database.

    Args:
        former: tables that have the tenant's trigger now.
    """
    lines = [_HEAD.format(tenant, "remove"), *(_drop(tenant, source) for source in former)]
    if former:
        lines += [_forget(tenant, table) for table in ("boards", "dirty")]
    return "\n".join([*lines, (_FOLDER / "uninstall.sql").read_text(encoding="utf-8"), "COMMIT;", ""])


def quote_identifier(name: str) -> str:
    """Quote a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """Quote a string as an SQL literal.

    >>> quote_literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def _table(source: str) -> str:
    schema, _, table = source.partition(".")
    return f"{quote_identifier(schema)}.{quote_identifier(table)}"


def _drop(tenant: str, source: str) -> str:
    return f"DROP TRIGGER IF EXISTS {quote_identifier(trigger_name(tenant))} ON {_table(source)};"


def _forget(tenant: str, table: str) -> str:
    """Return SQL that has each board computed once more, since earlier writes left no mark."""
    return f"DELETE FROM momentus.{table} WHERE starts_with(board, '{tenant}:');"  # noqa: S608  both are ours
