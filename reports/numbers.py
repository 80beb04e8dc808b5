"""Numbers as the database has them: exact decimals from JSON, in sums, and in documents.

A ``numeric`` of Postgres is a Decimal here and stays one, with all its digits, through every roll-up. Sums are
made in a context that has room for any of them and raises where it would have to round. In documents it is a JSON
number with these digits, or a string of them if the report says so. ``float4`` and ``float8`` are binary in the
database already, and stay so.

JSON with more than whole numbers is parsed twice: the fast parser returns binary floats and keeps the last of
duplicate keys.
"""

import json
import math
from collections.abc import Mapping
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from typing import Any

import orjson

EXACT = Context(
    prec=200_000, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[InvalidOperation, DivisionByZero, Overflow, Inexact]
)
"""Context for any sum of numerics: they have at most 131,072 digits before the point and 16,383 after it."""
_DIVIDING = Context(prec=40, Emax=MAX_EMAX, Emin=MIN_EMIN, traps=[InvalidOperation, DivisionByZero, Overflow])
_LONGEST_FRACTION = 20_000
_JSON_INTEGER = 2**63
_LAST_EXACT = 2**53
"""Largest whole number below which JavaScript reads all exactly."""


def read_exactly(text: str) -> Any:  # noqa: ANN401  JSON is anything
    """Parse JSON with fractions as Decimals.

    Raises:
        ValueError: it is not JSON, has a duplicate key, or a number that no JSON parser can hold.

    >>> read_exactly('{"a": 0.10}')
    {'a': Decimal('0.10')}
    """
    return json.loads(
        text, parse_float=_fraction, parse_int=_whole, parse_constant=_fraction, object_pairs_hook=_members
    )


def _fraction(digits: str) -> Decimal:
    number = Decimal(digits)
    if not is_finite(number):
        raise ValueError(f"{digits[:40]} is not a number that JSON parsers can hold; the limit is 1.8e308")
    return number


def _whole(digits: str) -> int | Decimal:
    return fitting_integer(int(digits)) if len(digits) <= 20 else _fraction(digits)  # noqa: PLR2004  surely more than 64 bits


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(key for place, (key, _) in enumerate(pairs) if key in dict(pairs[:place]))
        raise ValueError(f"the key {twice[:40]!r} occurs twice in one object; sum its values in the query")
    return found


def is_finite(number: float | Decimal) -> bool:
    """Return True if JSON parsers can hold a number: no NaN, no infinity, nothing beyond 1.8e308."""
    return (not isinstance(number, Decimal) or number.is_finite()) and math.isfinite(number)


def fitting_integer(number: int) -> int | Decimal:
    """Return a whole number in a type that :func:`write_json` accepts."""
    return number if -_JSON_INTEGER < number < _JSON_INTEGER else Decimal(number)


def nearest_ratio(part: Any, whole: Any) -> float:  # noqa: ANN401  numbers as they are shown
    """Return the binary float nearest to a ratio.

    >>> nearest_ratio(Decimal("0.3"), 3), nearest_ratio(1, 4)
    (0.1, 0.25)
    """
    if isinstance(part, Decimal) or isinstance(whole, Decimal):
        return float(_DIVIDING.divide(Decimal(part), Decimal(whole)))
    return float(part / whole)


def all_digits(number: Decimal) -> str:
    """Return all digits of a number, as Postgres writes them.

    >>> all_digits(Decimal("1E+3")), all_digits(Decimal("0.10"))
    ('1000', '0.10')
    """
    exponent = number.as_tuple().exponent
    return format(number, "f") if isinstance(exponent, int) and exponent > -_LONGEST_FRACTION else str(number)


def write_json(value: object, *, in_order: bool = False, indented: bool = False) -> bytes:
    """Write JSON with Decimals as numbers.

    Args:
        in_order: sort keys.
        indented: indent by two spaces.

    >>> write_json([Decimal("123456789012345678.123456789")])
    b'[123456789012345678.123456789]'
    """
    options = (orjson.OPT_SORT_KEYS if in_order else 0) | (orjson.OPT_INDENT_2 if indented else 0)
    return orjson.dumps(value, write_decimal, options)


def write_decimal(value: object) -> orjson.Fragment:
    """Convert a Decimal for orjson, as its ``default``. Raises TypeError for any other value."""
    if isinstance(value, Decimal):
        return orjson.Fragment(all_digits(value))
    raise TypeError(f"{type(value).__name__} cannot be represented in JSON")


def as_text(value: Any) -> Any:  # noqa: ANN401  JSON is anything
    """Return a value with its numbers as strings, at any depth.

    >>> as_text({"id": 9007199254740993, "late": True, "at": None})
    {'id': '9007199254740993', 'late': True, 'at': None}
    """
    if isinstance(value, Mapping):
        return {key: as_text(one) for key, one in value.items()}
    if isinstance(value, list):
        return [as_text(one) for one in value]
    if isinstance(value, Decimal):
        return all_digits(value)
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def is_read_otherwise(number: float | Decimal) -> bool:
    """Return True if parsers with binary floats, such as JavaScript's, may read a different number.

    >>> is_read_otherwise(2**53 + 1), is_read_otherwise(Decimal("153229.16")), is_read_otherwise(Decimal("1e300"))
    (True, False, True)
    """
    if isinstance(number, float):
        return False
    if isinstance(number, Decimal) and number != number.to_integral_value():  # % fails beyond 28 digits
        return Decimal(repr(float(number))) != number
    return not -_LAST_EXACT <= number <= _LAST_EXACT
