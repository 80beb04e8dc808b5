"""Values of a report's measures: validated as the database returns them, merged, and prepared for JSON.

Each roll-up has an internal form that merges well: ``distinct`` a set, ``top`` a sorted list of ranked rows,
``sums`` an object with sorted keys. A value that its roll-up cannot use is an error that names the measure, so
that a wrong number never reaches a document.

A report has thousands of values and almost all are plain, so a column is checked as a whole first, and value by
value only if that is not enough.
"""

import math
import operator
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import partial, reduce
from itertools import chain
from typing import Any, TypeAlias
from uuid import UUID

import orjson

from reports.numbers import fitting_integer, is_finite, nearest_ratio, read_exactly, write_json
from reports.rollups import Top, top_of, weight_of
from reports.sql_words import type_in_sql, value_in_sql

_JSON_INTEGER = 2**63
"""Whole numbers of at least this size are written as Decimals."""
_IN_ROWS = frozenset({int, str, bool, type(None)})
"""Types that the fast JSON parser reads exactly."""
INFINITE = datetime.max  # noqa: DTZ901  without zone, as the driver gives it
"""Value that the driver returns for an infinite timestamptz."""
BEYOND = "is beyond 1.8e308, the largest number that JSON parsers can hold; use another unit"
_NO_KEY = "__proto__"
"""Key that JavaScript takes for the object's prototype, so that the member is lost."""
_PLAIN: Mapping[str, frozenset[type]] = {"sum": frozenset({int}), "any": frozenset({bool})}
_PLAIN_BESIDE = frozenset({int, bool, str, date, datetime, type(None)})
_PLAIN_AVERAGES = frozenset({int, type(None)})
"""Types that need no check, by roll-up; and for ``min``, ``max``, ``of`` and ``sql``."""


class InvalidRows(ValueError):
    """The report's rows do not fit its declaration; the refresh stops and the last good set stays.

    Attributes:
        measure: column at fault; empty if the rows as a whole are.
    """

    def __init__(self, words: str, measure: str = "") -> None:
        super().__init__(f"{measure}: {words}" if measure else words)
        self.words = words
        self.measure = measure


def neutral_value(how: str) -> Any:  # noqa: ANN401  one form per roll-up
    """Return the neutral value of a roll-up: the value of a node that has no row."""
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


def is_plain(values: Sequence[Any], how: str) -> bool:
    """Return True if a whole column may stay as it is, because ``checked_value`` would change none of its values.

    >>> is_plain([1, 2], "sum"), is_plain([1, None], "sum")
    (True, False)
    """
    if how in {"distinct", "sums"} or top_of(how):
        return False
    types = set(map(type, values))
    if weight_of(how):
        return types <= _PLAIN_AVERAGES
    return _PLAIN.get(how, _PLAIN_BESIDE) >= types and (
        datetime not in types or None not in set(map(_zone_of, filter(None, values)))
    )


_zone_of = operator.attrgetter("tzinfo")


def checked_value(value: Any, measure: str, how: str) -> Any:  # noqa: ANN401, PLR0911  the database's; one per roll-up
    """Convert a value into the form that its roll-up merges.

    NULL is allowed for ids, rows and extremes, and means none. A number or a boolean must not be NULL: SQL also
    returns NULL for what it could not compute, and counting that as 0 would hide it.

    Raises:
        InvalidRows: the roll-up cannot use the value.
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
        case _ if weight_of(how):
            return None if value is None else _number(value, measure)
        case _:
            return None if value is None else _shown_as_is(value, measure)


def _number(value: Any, measure: str) -> int | float | Decimal:  # noqa: ANN401  values are the database's
    if value is None:
        raise InvalidRows("NULL is not a number; write coalesce(..., 0) where there may be none", measure)
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise InvalidRows(f"{value_in_sql(value)} is not a number; return one", measure)
    if not is_finite(value):
        is_beyond = isinstance(value, Decimal) and value.is_finite()
        told = BEYOND if is_beyond else "is not a finite number; return one"
        raise InvalidRows(f"{value_in_sql(value)} {told}", measure)
    return value


def _flag(value: Any, measure: str) -> bool:  # noqa: ANN401  values are the database's
    if value is None:
        raise InvalidRows("NULL is not a boolean; write coalesce(..., false) where it may be unknown", measure)
    if not isinstance(value, int):
        raise InvalidRows(f"any needs a boolean, not {type_in_sql(value)}", measure)
    return bool(value)


def _ids(value: Any, measure: str) -> frozenset[Any]:  # noqa: ANN401  values are the database's
    """Return the different ids of an array; NULL counts as none."""
    types = set(map(type, value)) if isinstance(value, list) else {list}
    if list in types:
        raise InvalidRows(f"distinct needs a flat array of ids, not {type_in_sql(value)}", measure)
    if not types <= _IDS:
        for one in value:
            if one is not None:
                _shown_as_is(one, measure)
    return frozenset(value) - {None}


_IDS = frozenset({int, str, UUID, type(None)})


def _numbers(value: Any, measure: str) -> dict[str, int | Decimal]:  # noqa: ANN401  values are the database's
    """Return the numbers of a JSON object by key, sorted by key.

    Each member has one colon, so an object with as many colons as members has no duplicate key.
    """
    found = _json_value(value, measure)
    if not isinstance(found, dict):
        raise InvalidRows("sums needs a JSON object of numbers, as json_object_agg makes it", measure)
    if not _PLAIN["sum"].issuperset(map(type, found.values())) or value.count(":") != len(found):
        found = _exactly(value, measure)
        for key, number in found.items():
            try:
                _number(number, measure)
            except InvalidRows as error:
                raise InvalidRows(f"{error.words} (key {key[:40]!r})", measure) from None
    if _NO_KEY in found:
        raise InvalidRows(f"sums: JavaScript loses the key {_NO_KEY!r}; rename it in the query", measure)
    return _in_order(found)


def keys_alike(keys: Iterable[str]) -> tuple[str, str] | None:
    """Return two different keys that are equal after Unicode normalisation; None if there are none."""
    seen: dict[str, str] = {}
    for key in keys:
        if not key.isascii() and (other := seen.setdefault(unicodedata.normalize("NFC", key), key)) != key:
            return other, key
    return None


def _in_order(numbers: dict[str, Any]) -> dict[str, Any]:
    keys = list(numbers)
    in_order = sorted(keys)
    return numbers if keys == in_order else {key: numbers[key] for key in in_order}


def _rows(value: Any, measure: str, top: Top) -> list[Any]:  # noqa: ANN401  values are the database's
    """Return the first rows of a JSON array of objects, each preceded by its rank."""
    found = _json_value(value, measure)
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise InvalidRows("top needs a JSON array of objects, as jsonb_agg makes it", measure)
    if not _is_read_exactly(value, found):
        found = _exactly(value, measure)
    return first_rows(top, [(_rank(row, measure, top), row) for row in found])


def _is_read_exactly(text: str, rows: list[dict[str, Any]]) -> bool:
    """Return True if the fast JSON parser lost nothing: no fraction, nothing nested, no duplicate key.

    In JSON that Postgres writes, a key ends with a quote and a colon, with at most one space between them.
    """
    members = text.count('":') + text.count('" :')
    return (
        members == sum(map(len, rows))
        and _IN_ROWS.issuperset(map(type, chain.from_iterable(map(dict.values, rows))))
        and not any(odd in text for odd in ('"  ', '"\n', '"\t', '"\r'))
    )


def _rank(row: Mapping[str, Any], measure: str, top: Top) -> tuple[Any, ...]:
    """Return the sort key of a row: its order keys, then its whole content, so that unequal rows never tie."""
    keys = []
    for key in top.keys:
        value = row.get(key)
        if not isinstance(value, int | float | Decimal | str):
            raise InvalidRows(
                f"top needs a number or text in {key!r} of every row, not {value_in_sql(value)}", measure
            )
        keys.append((isinstance(value, str), value))
    return (*keys, write_json(row, in_order=True))


def first_rows(top: Top, ranked: list[Any]) -> list[Any]:
    """Return the first of these ranked rows.

    Merging such lists in any grouping keeps the first of all their rows.
    """
    return sorted(ranked, key=_by_rank, reverse=top.descending)[: top.count]


def _by_rank(ranked: tuple[Any, ...]) -> Any:  # noqa: ANN401  the sort key of the rows
    return ranked[0]


def _json_value(value: Any, measure: str) -> Any:  # noqa: ANN401  JSON is anything
    """Parse JSON that the driver leaves as text."""
    try:
        if isinstance(value, str):
            return orjson.loads(value)
    except ValueError as error:
        raise InvalidRows(f"the JSON cannot be parsed: {error}; check the query", measure) from None
    raise InvalidRows(f"needs json or jsonb, not {type_in_sql(value)}", measure)


def _exactly(value: str, measure: str) -> Any:  # noqa: ANN401  JSON is anything
    """Parse JSON with all digits; duplicate keys are an error."""
    try:
        return read_exactly(value)
    except ValueError as error:
        raise InvalidRows(str(error), measure) from None


def _shown_as_is(value: Any, measure: str) -> Any:  # noqa: ANN401  values are the database's
    """Validate a value that is compared and shown, never computed with. The driver's UUIDs become their text."""
    if isinstance(value, float | Decimal):
        return _number(value, measure)
    if isinstance(value, UUID):
        return str(value)
    if not isinstance(value, int | str | date):
        raise InvalidRows(f"{type_in_sql(value)} cannot be shown; cast it to text or a number", measure)
    if isinstance(value, datetime) and value.tzinfo is None:
        raise InvalidRows(_without_zone(value), measure)
    return value


def _without_zone(value: datetime) -> str:
    """Return why a naive datetime is refused; the driver returns one for an infinite timestamptz."""
    if value in {INFINITE, datetime.min}:  # noqa: DTZ901  as the driver gives it
        return "an infinite instant cannot be shown; write nullif(column, 'infinity'), or '-infinity'"
    return f"{value} has no time zone; write column AT TIME ZONE 'UTC', or the zone in which it is stored"


Gather: TypeAlias = Callable[[Any, list[Any]], Any]
"""Function of a node's own value and its children's totals, in order; returns the node's total."""


def merge_function(how: str) -> Gather:
    """Return the function that merges totals. For ``min`` and ``max``, values are pairs that begin with a rank."""
    if top := top_of(how):
        return partial(_first, top)
    return _GATHERING.get(how, _own)


def _added(mine: Any, others: list[Any]) -> Any:  # noqa: ANN401  numbers
    """Add values one after the other: ``sum`` rounds fractions differently from Python 3.12 on."""
    return reduce(operator.add, others, mine)


def _any(mine: bool, others: list[bool]) -> bool:  # noqa: FBT001  a value, not a switch
    return mine or any(others)


def _joined(mine: frozenset[Any], others: list[frozenset[Any]]) -> frozenset[Any]:
    return mine.union(*others)


def _added_by_key(mine: dict[str, Any], others: list[dict[str, Any]]) -> dict[str, Any]:
    """Add objects key by key into a new one, because the arguments may belong to other nodes."""
    filled = [one for one in (mine, *others) if one]
    if len(filled) <= 1:
        return filled[0] if filled else mine
    both = dict(filled[0])
    for one in filled[1:]:
        for key, number in one.items():
            both[key] = both.get(key, 0) + number
    return both if len(both) == len(filled[0]) else _in_order(both)


def _best(
    mine: tuple[Any, ...], others: list[tuple[Any, ...]], *, better: Callable[[Any, Any], bool]
) -> tuple[Any, ...]:
    for one in others:
        if one[0] is not None and (mine[0] is None or better(one[0], mine[0])):
            mine = one
    return mine


def _first(top: Top, mine: list[Any], others: list[list[Any]]) -> list[Any]:
    return first_rows(top, [*mine, *chain.from_iterable(others)]) if any(others) else mine


def _own(mine: Any, others: list[Any]) -> Any:  # noqa: ANN401  the database's
    """Return the node's own value: the query computed the subtree itself."""
    del others
    return mine


_GATHERING: Mapping[str, Gather] = {
    "sum": _added,
    "any": _any,
    "distinct": _joined,
    "sums": _added_by_key,
    "min": partial(_best, better=operator.lt),
    "max": partial(_best, better=operator.gt),
}


def rank_column(columns: Sequence[Sequence[Any]], how: str) -> list[tuple[Any, ...] | None]:
    """Return the rank of each row for ``min`` or ``max``; None if its first column is null.

    >>> rank_column([[7, None], [None, 1]], "min")
    [((False, 7), (True, 0)), None]
    """
    return [
        None if row[0] is None else tuple([_place(value, how) for value in row])
        for row in zip(*columns, strict=True)
    ]


def _place(value: Any, how: str) -> tuple[bool, Any]:  # noqa: ANN401  values are the database's
    """Return a value's rank; null sorts last."""
    return ((value is None) == (how == "min"), 0 if value is None else value)


def shown_column(values: Sequence[Any], how: str) -> Sequence[Any]:
    """Return a column as documents show it.

    >>> shown_column([{1, 2}, set()], "distinct")
    [2, 0]
    """
    if how == "distinct":
        return list(map(len, values))
    if how == "sums":
        return (
            values if _all_fit(chain.from_iterable(one.values() for one in values)) else list(map(_sums, values))
        )
    if top_of(how):
        return [[row for _, row in value] for value in values]
    if how in _PLAIN and _PLAIN[how].issuperset(map(type, values)) and _all_fit(values):
        return values
    return [[_plain(one) for one in value] if isinstance(value, list) else _plain(value) for value in values]


def _all_fit(numbers: Iterable[Any]) -> bool:
    """Return True if JSON parsers can hold all of these numbers."""
    different = set(numbers)
    return not different or (min(different) > -_JSON_INTEGER and max(different) < _JSON_INTEGER)


def _sums(value: Mapping[str, Any]) -> dict[str, object]:
    return {key: _plain(number) for key, number in value.items()}


def ratio_column(parts: Sequence[Any], wholes: Sequence[Any], measure: str) -> list[float | None]:
    """Divide parts by wholes, numbers as they are shown; None where the whole is zero.

    Raises:
        InvalidRows: JSON parsers cannot hold a ratio; orjson would write null.
    """
    found = [nearest_ratio(part, whole) if whole else None for part, whole in zip(parts, wholes, strict=True)]
    if not all(map(math.isfinite, filter(None, found))):
        raise InvalidRows(f"a ratio {BEYOND}", measure)
    return found


def _plain(value: Any) -> object:  # noqa: ANN401  values are the database's
    """Return a value as documents show it. Raises InvalidRows if it is a sum that JSON parsers cannot hold."""
    if isinstance(value, int):
        return fitting_integer(value)
    if isinstance(value, float | Decimal):
        if not is_finite(value):
            raise InvalidRows(f"the sum {BEYOND}")
        return value
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value
