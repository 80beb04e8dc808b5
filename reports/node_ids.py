"""Ids of a tree's nodes: read from the database as one column, and written as documents show them.

All ids of a tree are of one kind. Integers stay integers, in documents as well; UUIDs become their text in lower
case, and texts stay as they are. Columns are read as a whole, because a tree has thousands of ids.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, TypeAlias
from uuid import UUID

from producers.node_ids import ALLOWED, fault_of
from reports.sql_words import type_in_sql, value_in_sql

NodeId: TypeAlias = int | str
"""Id of a node: an integer, or the text of a UUID or of a short text."""
_SHOWN = 5


class IdKind(StrEnum):
    """Type of a tree's ids."""

    INTEGER = "integer"
    UUID = "uuid"
    TEXT = "text"

    @property
    def column(self) -> str:
        """Type of a column of such ids in Postgres."""
        return "bigint" if self is IdKind.INTEGER else self.value


class InvalidIds(ValueError):
    """A column whose values cannot be ids; the message names the column and the values at fault."""


class IdsChanged(ValueError):
    """A tree whose ids are of a different type from those of the stored set, which stays."""


def require_same_kind(former: IdKind, now: IdKind) -> None:
    """Raise if the type of a report's ids changed, since sessions and links still name the old ids.

    Raises:
        IdsChanged: says what to do if the change is intended.
    """
    if former is not now:
        raise IdsChanged(
            f"id: the tree's ids were {former} and are now {now}, so rights and links with the old ids would lose "
            "their nodes. Cast id back in the tree's query, or, if the change is intended, stop the workers and "
            "run ./run ops reports forget NAME"
        )


def read_ids(values: Sequence[Any], column: str) -> tuple[IdKind | None, list[Any]]:
    """Return the kind of a column of ids, and the ids; null stays None.

    Args:
        column: name of the column, for errors.

    Returns:
        No kind if all values are null.

    Raises:
        InvalidIds: values of another type, of two types, or texts with an unsafe character.
    """
    types = set(map(type, values)) - {type(None)}
    if not types:
        return None, list(values)
    kinds = {_kind_of(one) for one in types}
    if len(kinds) > 1 or None in kinds:
        odd = next(one for one in values if one is not None and _kind_of(type(one)) in {None, max(kinds, key=str)})
        raise InvalidIds(f"{column}: {value_in_sql(odd)} is {_name_of(odd)}; {ALLOWED}")
    (kind,) = kinds
    match kind:
        case IdKind.UUID:
            return kind, [None if one is None else str(one) for one in values]
        case IdKind.TEXT:
            _check_texts(values, column)
    return kind, list(values)


def _kind_of(one: type) -> IdKind | None:
    if one is int:
        return IdKind.INTEGER
    if issubclass(one, UUID):
        return IdKind.UUID
    return IdKind.TEXT if issubclass(one, str) else None


def _check_texts(values: Sequence[Any], column: str) -> None:
    faults = [f"{value_in_sql(one)} {fault}" for one in values if one is not None and (fault := fault_of(one))]
    if faults:
        more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise InvalidIds(f"{column}: {', '.join(faults[:_SHOWN])}{more}; {ALLOWED}")


def _name_of(value: object) -> str:
    kind = _kind_of(type(value))
    return f"of a different type from other ids ({kind})" if kind else f"of the type {type_in_sql(value)}"


def is_shown_form(node_id: NodeId, kind: IdKind) -> bool:
    """Return True if an id of this kind is written as documents show it.

    >>> is_shown_form("b3", IdKind.TEXT), is_shown_form("b3 ", IdKind.TEXT)
    (True, False)
    >>> is_shown_form("D5A0C1F2-0000-4000-8000-00000000000A", IdKind.UUID)
    False
    """
    if isinstance(node_id, int):
        return True
    if kind is IdKind.TEXT:
        return not fault_of(node_id)
    try:
        return str(UUID(node_id)) == node_id
    except ValueError:
        return False


def id_json(node_id: NodeId) -> bytes:
    """Return an id as JSON.

    >>> id_json(17), id_json("ventas")
    (b'17', b'"ventas"')
    """
    return b"%d" % node_id if isinstance(node_id, int) else b'"%b"' % node_id.encode()


def stored_id(name: bytes, kind: IdKind) -> NodeId:
    """Return an id from the name of a stored field.

    >>> stored_id(b"17", IdKind.INTEGER), stored_id(b"17", IdKind.TEXT)
    (17, '17')
    """
    return int(name) if kind is IdKind.INTEGER and name.removeprefix(b"-").isdigit() else name.decode()


def kind_in_meta(kind: IdKind) -> dict[str, object]:
    """Return the field of ``_meta`` for a type of ids; none for integers, as before other types existed."""
    return {} if kind is IdKind.INTEGER else {"ids": kind.value}
