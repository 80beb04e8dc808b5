"""The SQL that lets the database itself say which boards have changed: triggers that leave marks.

Only text is made here; ``ops reports install`` runs or prints it, and the worker reads what is installed. Marks of
two tenants of one database are told apart by the board's key, so neither takes up the other's.
"""

from collections.abc import Mapping
from pathlib import Path

from reports.boards import Board

_FOLDER = Path(__file__).parent / "sql"
INSTALLED = (_FOLDER / "installed.sql").read_text(encoding="utf-8")
"""The query for the triggers that there are; the file says what it returns."""
SOURCES = (_FOLDER / "sources.sql").read_text(encoding="utf-8")
"""The query for what the catalogue says of sources; the file says what it takes and returns."""
SERVER = (_FOLDER / "server.sql").read_text(encoding="utf-8")
"""The query for what holds for all boards of a server; the file says what it returns."""
_WATCH = (_FOLDER / "watch.sql").read_text(encoding="utf-8")
_HEAD = (
    "-- Reports of tenant {}: {} the triggers that mark what changed.\n"
    "BEGIN READ WRITE;\nSET LOCAL lock_timeout = '5s';\n"
)


def board_key(tenant: str, board: str) -> str:
    """How a tenant's board is named in the marks.

    >>> board_key("north", "management")
    'north:management'
    """
    return f"{tenant}:{board}"


def trigger_name(tenant: str) -> str:
    """The name of the tenant's trigger on each of its tables; identifiers end after 63 octets."""
    return f"momentus_{tenant}"[:63]


def boards_by_source(tenant: str, boards: Mapping[str, Board]) -> dict[str, list[str]]:
    """Every table that is declared as a source, to the keys of the boards that it concerns."""
    found: dict[str, list[str]] = {}
    for board in boards.values():
        for source in board.sources:
            found.setdefault(source, []).append(board_key(tenant, board.name))
    return {source: sorted(keys) for source, keys in sorted(found.items())}


def install_script(tenant: str, boards: Mapping[str, Board], *, role: str) -> str:
    """Write the SQL that ``ops reports install`` runs: repeatable, in one transaction.

    Which partitions and children a source has, and which triggers the tenant has already, is found when it runs.

    Args:
        role: of the worker, which is given the rights to take up the marks.
    """
    wanted = boards_by_source(tenant, boards)
    pairs = ", ".join(f"({literal(source)}, {literal(key)})" for source, keys in wanted.items() for key in keys)
    lines = [_HEAD.format(tenant, "install"), (_FOLDER / "install.sql").read_text(encoding="utf-8")]
    lines += [
        f"GRANT USAGE ON SCHEMA momentus TO {quoted(role)};",
        f"GRANT SELECT, DELETE ON momentus.dirty TO {quoted(role)};",
        f"GRANT SELECT, INSERT, UPDATE ON momentus.boards TO {quoted(role)};",
        _WATCH.replace("%TRIGGER%", literal(trigger_name(tenant))).replace("%SOURCES%", pairs),
        _forget(tenant, "boards"),
    ]
    return "\n".join([*lines, "COMMIT;", ""])


def uninstall_script(tenant: str, former: tuple[str, ...]) -> str:
    """What ``ops reports uninstall`` runs; afterwards nothing of the tenant is left in the database.

    Args:
        former: tables that have the tenant's trigger now.
    """
    lines = [_HEAD.format(tenant, "remove"), *(_drop(tenant, source) for source in former)]
    if former:
        lines += [_forget(tenant, table) for table in ("boards", "dirty")]
    return "\n".join([*lines, (_FOLDER / "uninstall.sql").read_text(encoding="utf-8"), "COMMIT;", ""])


def quoted(name: str) -> str:
    """A name as SQL has it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL has it, whatever is in it.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def _table(source: str) -> str:
    schema, _, table = source.partition(".")
    return f"{quoted(schema)}.{quoted(table)}"


def _drop(tenant: str, source: str) -> str:
    return f"DROP TRIGGER IF EXISTS {quoted(trigger_name(tenant))} ON {_table(source)};"


def _forget(tenant: str, table: str) -> str:
    """What was written before the triggers were there left no mark: each board is to be computed once more."""
    return f"DELETE FROM momentus.{table} WHERE starts_with(board, '{tenant}:');"  # noqa: S608  both are ours
