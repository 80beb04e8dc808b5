"""The values of a report's measures: checked as the database gives them, and made ready for JSON.

Inside, each roll-up has a form that merges well: ``distinct`` a set, ``top`` a sorted list of ranked rows. What a
roll-up cannot use is refused here, by measure, so that a wrong number never reaches a document.
"""

import math
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson

from jobs.reports.rollups import Top, ratio_of, top_of

_JSON_INTEGER = 2**63
"""Whole numbers from here on are shown as floating-point ones."""


class InvalidRows(ValueError):
    """The report's rows do not fit its declaration; the refresh stops and the last good set stays.

    Attributes:
        measure: the column at fault; empty when it is the rows as a whole.
    """

    def __init__(self, words: str, measure: str = "") -> None:
        super().__init__(f"{measure}: {words}" if measure else words)
        self.words = words
        self.measure = measure


def neutral(how: str) -> Any:  # noqa: ANN401  one form per roll-up
    """What changes nothing when it is merged: the value of a node that has no row."""
    match how:
        case "sum":
            return 0
        case "any":
            return False
        case "distinct":
            return frozenset()
        case "sums":
            return {}
        case _:
            return [] if top_of(how) else None


def checked(value: Any, measure: str, how: str) -> Any:  # noqa: ANN401, PLR0911  the database's; one per roll-up
    """A value in the form that its roll-up merges.

    NULL is nothing where there may be nothing: no ids, no rows, no extreme. A number or a flag must be one: SQL
    also gives NULL for what it could not reckon, and counting that as 0 would hide it.

    Raises:
        InvalidRows: the roll-up cannot use it.
    """
    match how:
        case "sum":
            return _number(value, measure)
        case "any":
            return _flag(value, measure)
        case "distinct":
            return frozenset() if value is None else _ids(value, measure)
        case "sums":
            return {} if value is None else _numbers(value, measure)
        case "sql" if isinstance(value, list):
            return [None if one is None else _shown_as_is(one, measure) for one in value]
        case _ if top := top_of(how):
            return [] if value is None else _rows(value, measure, top)
        case _:
            return None if value is None else _shown_as_is(value, measure)


def _number(value: Any, measure: str) -> int | float | Decimal:  # noqa: ANN401  values are the database's
    if value is None:
        raise InvalidRows("NULL is no number; write coalesce(..., 0) where there may be none", measure)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not _is_finite(value):
        raise InvalidRows(f"{value!r} is no number that can be reckoned with", measure)
    return value


def _is_finite(value: float | Decimal) -> bool:
    return (not isinstance(value, Decimal) or value.is_finite()) and math.isfinite(value)


def _flag(value: Any, measure: str) -> bool:  # noqa: ANN401  values are the database's
    if value is None:
        raise InvalidRows("NULL is no boolean; write coalesce(..., false) where it may be unknown", measure)
    if not isinstance(value, int):
        raise InvalidRows(f"any needs a boolean, not {type(value).__name__}", measure)
    return bool(value)


def _ids(value: Any, measure: str) -> frozenset[Any]:  # noqa: ANN401  values are the database's
    """The different ids of an array; a NULL in it is none."""
    if not isinstance(value, list) or any(isinstance(one, list) for one in value):
        raise InvalidRows(f"distinct needs a flat array of ids, not {type(value).__name__}", measure)
    return frozenset(value) - {None}


def _numbers(value: Any, measure: str) -> dict[str, int | float]:  # noqa: ANN401  values are the database's
    """The numbers of a JSON object, by key."""
    found = _json_value(value, measure)
    if not isinstance(found, dict):
        raise InvalidRows("sums needs a JSON object of numbers, as jsonb_object_agg makes it", measure)
    for number in found.values():
        if type(number) is not int:
            _number(number, measure)
    return found


def _rows(value: Any, measure: str, top: Top) -> list[Any]:  # noqa: ANN401  values are the database's
    """The first rows of a JSON array of objects, each with what it is ranked by before it."""
    found = _json_value(value, measure)
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise InvalidRows("top needs a JSON array of objects, as jsonb_agg makes it", measure)
    return first(top, [(_rank(row, measure, top), row) for row in found])


def _rank(row: Mapping[str, Any], measure: str, top: Top) -> tuple[Any, ...]:
    """What a row is ordered by: its keys, and all that is in it, so that no two rows are equal and differ."""
    keys = []
    for key in top.keys:
        value = row.get(key)
        if not isinstance(value, int | float | str):
            raise InvalidRows(f"top needs a number or text in {key!r} of every row, not {value!r}", measure)
        keys.append((isinstance(value, str), value))
    return (*keys, orjson.dumps(row, option=orjson.OPT_SORT_KEYS))


def first(top: Top, ranked: list[Any]) -> list[Any]:
    """The first of these ranked rows. Merging two such lists in any grouping keeps the first of all their rows."""
    return sorted(ranked, key=_by_rank, reverse=top.descending)[: top.count]


def _by_rank(ranked: tuple[Any, ...]) -> Any:  # noqa: ANN401  whatever the rows are ordered by
    return ranked[0]


def _json_value(value: Any, measure: str) -> Any:  # noqa: ANN401  JSON is anything
    """What the driver leaves as text."""
    try:
        return orjson.loads(value)
    except (TypeError, ValueError):
        raise InvalidRows(f"needs jsonb, not {type(value).__name__}", measure) from None


def _shown_as_is(value: Any, measure: str) -> Any:  # noqa: ANN401  values are the database's
    """A value that is compared and shown, never reckoned with."""
    if isinstance(value, float | Decimal):
        return _number(value, measure)
    if not isinstance(value, int | str | date | UUID):
        raise InvalidRows(f"{type(value).__name__} cannot be shown; cast it to text or a number", measure)
    return value


def shown(values: Mapping[str, Any], rollup: Mapping[str, str]) -> dict[str, object]:
    """A node's measures as its document shows them; one without a value is left out, ratios are reckoned now."""
    ready = {measure: _json(values[measure], how) for measure, how in rollup.items() if measure in values}
    ready |= {measure: _ratio(ready, *pair) for measure, how in rollup.items() if (pair := ratio_of(how))}
    return {measure: ready[measure] for measure in rollup if measure in ready}


def _ratio(ready: Mapping[str, Any], part: str, whole: str) -> float | None:
    """A part of a whole; of nothing there is none."""
    return ready[part] / ready[whole] if ready[whole] else None


def _json(value: Any, how: str) -> object:  # noqa: ANN401  values are the database's
    if how == "distinct":
        return len(value)
    if how == "sums":
        return {key: _of_json(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [row for _, row in value] if top_of(how) else [_plain(one) for one in value]
    return _plain(value)


def _of_json(value: float) -> float:
    """A number that JSON readers can hold."""
    return value if -_JSON_INTEGER < value < _JSON_INTEGER else float(value)


def _plain(value: Any) -> object:  # noqa: ANN401  values are the database's
    if isinstance(value, int):
        return _of_json(value)
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() and abs(value) < _JSON_INTEGER else float(value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value
