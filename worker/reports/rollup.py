"""From direct rows to totals over every subtree: a pure walk from the leaves to the root.

Each node's total begins as its own row and is added to its parent's once all its children are in.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from worker.reports.tree import Tree

Row = Mapping[str, Any]
"""Measure to value, as the driver gives them."""
_JSON_INTEGER = 2**63
"""Whole numbers from here on are shown as floating-point ones."""


class InvalidRows(ValueError):
    """The report's rows do not fit its declaration; the refresh stops and the last good set stays."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Measures of one node: its own rows, and its whole subtree's. Values are ready for JSON."""

    own: dict[str, object]
    total: dict[str, object]


def roll_up(rows: Iterable[Row], *, scope: str, rollup: Mapping[str, str], tree: Tree) -> dict[int, Totals]:
    """Own and total measures of every node of the tree.

    Args:
        rows: at most one per node; a node without one has nothing.
        scope: the column with the node's id.
        rollup: measure to roll-up, as :class:`jobs.reports.Report` has it.

    Raises:
        InvalidRows: a node twice or unknown, a column missing, or a value that its roll-up cannot use.
    """
    own = _own(rows, scope, rollup, tree)
    sums: dict[int, dict[str, Any]] = {}
    for node_id in tree.upwards:
        total = _begin(own.get(node_id), rollup)
        for child in tree.children[node_id]:
            _add(total, sums[child], rollup)
        sums[node_id] = total
    empty = _shown(_begin(None, rollup), rollup)
    return {
        node_id: Totals(_shown(own[node_id], rollup) if node_id in own else empty, _shown(total, rollup))
        for node_id, total in sums.items()
    }


def _own(rows: Iterable[Row], scope: str, rollup: Mapping[str, str], tree: Tree) -> dict[int, dict[str, Any]]:
    own: dict[int, dict[str, Any]] = {}
    for row in rows:
        try:
            node_id, values = row[scope], {measure: row[measure] for measure in rollup}
        except KeyError as error:
            raise InvalidRows(f"the query has no column {error}; check scope and rollup") from None
        if node_id in own:
            raise InvalidRows(f"node {node_id} comes twice; group the query by {scope}")
        if node_id not in tree.nodes:
            raise InvalidRows(f"node {node_id} is not in the tree; join the query with it")
        own[node_id] = {measure: _checked(values[measure], measure, how) for measure, how in rollup.items()}
    return own


def _checked(value: Any, measure: str, how: str) -> Any:  # noqa: ANN401  values are the database's
    """A value that its roll-up can use; NULL becomes the neutral one."""
    match how:
        case "sum":
            return 0 if value is None else _number(value, measure)
        case "distinct":
            return frozenset() if value is None else _ids(value, measure)
        case "any":
            return False if value is None else _flag(value, measure)
        case _:
            return None if value is None else _shown_as_is(value, measure)


def _number(value: Any, measure: str) -> int | float | Decimal:  # noqa: ANN401  values are the database's
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not _is_finite(value):
        raise InvalidRows(f"{measure}: {value!r} is no number that can be reckoned with")
    return value


def _is_finite(value: float | Decimal) -> bool:
    return (not isinstance(value, Decimal) or value.is_finite()) and math.isfinite(value)


def _ids(value: Any, measure: str) -> frozenset[Any]:  # noqa: ANN401  values are the database's
    """The different ids of an array; a NULL in it is none."""
    if not isinstance(value, list) or any(isinstance(one, list) for one in value):
        raise InvalidRows(f"{measure}: distinct needs a flat array of ids, not {type(value).__name__}")
    return frozenset(value) - {None}


def _flag(value: Any, measure: str) -> bool:  # noqa: ANN401  values are the database's
    if not isinstance(value, int):
        raise InvalidRows(f"{measure}: any needs a boolean, not {type(value).__name__}")
    return bool(value)


def _shown_as_is(value: Any, measure: str) -> Any:  # noqa: ANN401  values are the database's
    """A value of ``min``, ``max`` or ``of``: it is compared and shown, never reckoned with."""
    if isinstance(value, float | Decimal):
        return _number(value, measure)
    if not isinstance(value, int | str | date | UUID):
        raise InvalidRows(f"{measure}: {type(value).__name__} cannot be shown; cast it to text or a number")
    return value


def _begin(own: dict[str, Any] | None, rollup: Mapping[str, str]) -> dict[str, Any]:
    if own is None:
        return {measure: _checked(None, measure, how) for measure, how in rollup.items()}
    return dict(own)


def _add(total: dict[str, Any], child: dict[str, Any], rollup: Mapping[str, str]) -> None:
    for measure, how in rollup.items():
        match how:
            case "sum":
                total[measure] += child[measure]
            case "distinct":
                if child[measure]:
                    total[measure] = total[measure] | child[measure]
            case "any":
                total[measure] = total[measure] or child[measure]
            case "min" | "max":
                _choose(total, child, measure, how, rollup)


def _choose(
    total: dict[str, Any], child: dict[str, Any], measure: str, how: str, rollup: Mapping[str, str]
) -> None:
    """Take the child's extreme and all that stands beside it; equal ones are decided by what stands beside."""
    if child[measure] is None:
        return
    beside = [other for other, word in rollup.items() if word == f"of {measure}"]
    mine, theirs = ([_rank(side[name], how) for name in (measure, *beside)] for side in (total, child))
    if total[measure] is None or (theirs < mine if how == "min" else theirs > mine):
        for name in (measure, *beside):
            total[name] = child[name]


def _rank(value: Any, how: str) -> tuple[bool, Any]:  # noqa: ANN401  values are the database's
    """What values are compared by; the absent ones lose."""
    return ((value is None) == (how == "min"), 0 if value is None else value)


def _shown(values: Mapping[str, Any], rollup: Mapping[str, str]) -> dict[str, object]:
    return {measure: _json(values[measure], how) for measure, how in rollup.items()}


def _json(value: Any, how: str) -> object:  # noqa: ANN401  values are the database's
    if how == "distinct":
        return len(value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and abs(value) < _JSON_INTEGER else float(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value
