"""Values allowed in a template: texts, numbers, dates, flat lists of them, and lists of rows of them.

Other values are refused, because their printed form is arbitrary: a reader would see ``None`` as the word "None",
and an object may claim to be safe HTML (``__html__``) and bypass the escaping.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from .errors import InvalidPart
from .header import refuse_unsafe

PLAIN = (int, float, Decimal, date)


def plain_values(values: Mapping[str, object]) -> dict[str, object]:
    """Return the values with every string as a plain ``str``.

    Raises:
        InvalidPart: the values are not a mapping by name, or one has a type that is not allowed.
        UnsafeHeader: a value contains a control character or an encoded-word; the subject may use any value.
    """
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise InvalidPart("values", "must be a mapping of names to values")
    return {name: _plain(value, field=f"values.{name}") for name, value in values.items()}


def json_values(values: Mapping[str, object]) -> dict[str, object]:
    """Return the values as JSON; one of another type becomes the text that a template prints.

    Raises:
        InvalidPart: a number cannot be written as JSON (infinite, or over 64 bits).
    """
    return {name: _travelling(value, name) for name, value in values.items()}


def _travelling(value: object, name: str) -> object:
    match value:
        case list():
            return [_travelling(one, name) for one in value]
        case dict():
            return json_values(value)
        case date() | Decimal():
            return str(value)
        case float() if value - value != 0:
            raise InvalidPart(f"values.{name}", "must be a finite number to be part of a digest")
        case bool() | int() if not -(2**63) <= value < 2**63:
            raise InvalidPart(f"values.{name}", "must be a number of at most 64 bits to be part of a digest")
    return value


def _plain(value: object, *, field: str) -> object:
    if isinstance(value, list | tuple):
        return [_row(one, field=f"{field}[{place}]") for place, one in enumerate(value)]
    return _plain_one(value, field=field)


def _row(value: object, *, field: str) -> object:
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {name: _plain_one(one, field=f"{field}.{name}") for name, one in value.items()}
    return _plain_one(value, field=field)


def _plain_one(value: object, *, field: str) -> object:
    if isinstance(value, str):
        _refuse_unsafe(value, field=field)
        return str.__str__(value)
    if not isinstance(value, PLAIN):
        raise InvalidPart(
            field, f"must be a string, a number, a date or a list of them, not {type(value).__name__}"
        )
    return value


def _refuse_unsafe(text: str, *, field: str) -> None:
    """Raise if there are unsafe characters. A body may have line breaks and tabs; the subject is checked apart."""
    refuse_unsafe(text.replace("\r\n", " ").replace("\n", " ").replace("\t", " "), field=field)
