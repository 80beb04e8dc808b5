"""SQL of the triggers by which the database marks the boards that have changed.

This module only writes SQL; ``ops reports install`` runs or prints it, and the worker reads what is installed. The
board's key separates the marks of two tenants of one database, so that neither takes up the other's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from reports.boards import Board

_FOLDER = Path(__file__).parent / "sql"
_WORD = re.compile(r"%([A-Z]+)%")
_NOTABLE = (_FOLDER / "notable.sql").read_text(encoding="utf-8")
INSTALLED = (_FOLDER / "installed.sql").read_text(encoding="utf-8")
"""Query for the installed triggers; the file describes its parameter and result."""
_SOURCES = (_FOLDER / "sources.sql").read_text(encoding="utf-8").replace("%NOTABLE%", _NOTABLE)
_SERVER = (_FOLDER / "server.sql").read_text(encoding="utf-8")
CATALOGUE = f"""
WITH server AS MATERIALIZED (
{_SERVER}
)
SELECT * FROM server LEFT JOIN (
{_SOURCES}
) AS source ON true
"""  # noqa: S608  files of this folder
"""Query for the state of the server and of the sources at once; ``server.sql`` and ``sources.sql`` describe it."""
CALLS = (_FOLDER / "calls.sql").read_text(encoding="utf-8")
"""Query for what functions of the application read beyond the sources; the file describes its result."""
_INSTALL = (_FOLDER / "install.sql").read_text(encoding="utf-8")
_MARK_NODES = (_FOLDER / "mark_nodes.sql").read_text(encoding="utf-8")
_NODES_COLUMN = (_FOLDER / "nodes_column.sql").read_text(encoding="utf-8")
_DROP_TRIGGERS = (_FOLDER / "drop_triggers.sql").read_text(encoding="utf-8")
_WATCH = (_FOLDER / "watch.sql").read_text(encoding="utf-8")
_UNINSTALL = (_FOLDER / "uninstall.sql").read_text(encoding="utf-8")
_HEAD = (
    "-- Reports of tenant {}: {} the triggers that mark what changed.\n"
    "BEGIN READ WRITE;\nSET LOCAL lock_timeout = '5s';\n"
)
MARK_DIRTY = "mark_dirty"
"""Function that marks boards without nodes."""
_MOST_ROWS = 1000
"""Rows of a statement, old and new ones, whose nodes are noted; with more, every node may have changed."""
_LONGEST_NAME = 63 - len(".truncate.99")
"""Bytes of a trigger's name without its event."""
_LONGEST_COLUMN = 50


@dataclass(frozen=True, slots=True, order=True)
class WatchedSource:
    """A source of a board, and the column by which its changes are noted.

    Attributes:
        source: the table, with its schema.
        board: the board's key.
        column: column with the node for which a row counts; empty: no report of the board names one.
    """

    source: str
    board: str
    column: str = ""


def board_key(tenant: str, board: str) -> str:
    """Return the key of a tenant's board in the marks.

    >>> board_key("north", "management")
    'north:management'
    """
    return f"{tenant}:{board}"


def trigger_name(tenant: str) -> str:
    """Return the prefix of the tenant's trigger names; the names of two tenants never collide.

    The prefix alone is a trigger's name, or a dot and the event follow; a tenant's name has no dot and no tilde.

    >>> trigger_name("north"), trigger_name("a-name-of-more-than-forty-two-bytes-in-the-north")
    ('momentus_north', 'momentus_a-name-of-more-than-forty-two-byt~a39613f8')
    """
    name = f"momentus_{tenant}"
    if len(name) <= _LONGEST_NAME:
        return name
    end = "~" + blake2b(tenant.encode(), digest_size=4).hexdigest()
    return name[: _LONGEST_NAME - len(end)] + end


def mark_nodes(column: str) -> str:
    """Return the name of the function that marks boards with the nodes in this column."""
    return f"mark_nodes:{column}"


def watched_sources(tenant: str, boards: Mapping[str, Board]) -> list[WatchedSource]:
    """Return what the triggers of a tenant must mark, in order: each source of each board with its columns."""
    return sorted(
        WatchedSource(source, board_key(tenant, board.name), column)
        for board in boards.values()
        for source in board.sources
        for column in board.node_columns.get(source, ("",))
    )


def install_script(tenant: str, boards: Mapping[str, Board], *, role: str) -> str:
    """Return the SQL that ``ops reports install`` runs: repeatable, in one transaction.

    It finds partitions, children and existing triggers of the tenant when it runs.

    Args:
        role: role of the worker, which gets the rights to take up marks.
    """
    wanted = watched_sources(tenant, boards)
    lines = [_HEAD.format(tenant, "install"), _INSTALL]
    lines += [_define_mark_nodes(column) for column in sorted({one.column for one in wanted}) if column]
    lines += [
        f"GRANT USAGE ON SCHEMA momentus TO {quote_identifier(role)};",
        f"GRANT SELECT, DELETE ON momentus.dirty TO {quote_identifier(role)};",
        f"GRANT SELECT, INSERT, UPDATE ON momentus.boards TO {quote_identifier(role)};",
        _filled(_DROP_TRIGGERS, TENANT=quote_literal(tenant)),
        _filled(
            _WATCH,
            TRIGGER=quote_literal(trigger_name(tenant)),
            SOURCES=", ".join(map(_row, wanted)),
            NOTABLE=_NOTABLE,
        ),
        _NODES_COLUMN,
        f"DELETE FROM momentus.boards WHERE starts_with(board, {quote_literal(tenant + ':')});",  # noqa: S608  ours; earlier writes left no mark
    ]
    return "\n".join([*lines, "COMMIT;", ""])


def uninstall_script(tenant: str) -> str:
    """Return the SQL that ``ops reports uninstall`` runs; it removes everything of the tenant."""
    remove = [_filled(script, TENANT=quote_literal(tenant)) for script in (_DROP_TRIGGERS, _UNINSTALL)]
    return "\n".join([_HEAD.format(tenant, "remove"), *remove, "COMMIT;", ""])


def quote_identifier(name: str) -> str:
    """Quote a name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """Quote a string as an SQL literal.

    >>> quote_literal("it's")
    "'it''s'"
    """
    return "'" + text.replace("'", "''") + "'"


def _define_mark_nodes(column: str) -> str:
    """Return SQL of the function that notes this column; none if its name leaves no room for the function's."""
    if len(column.encode()) > _LONGEST_COLUMN:
        return ""
    name = quote_identifier(mark_nodes(column))
    return _filled(_MARK_NODES, FUNCTION=name, COLUMN=quote_identifier(column), MOST=str(_MOST_ROWS))


def _row(one: WatchedSource) -> str:
    return f"({quote_literal(one.source)}, {quote_literal(one.board)}, {quote_literal(one.column)})"


def _filled(script: str, **words: str) -> str:
    return _WORD.sub(lambda found: words[found[1]], script)
