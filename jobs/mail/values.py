"""What may fill a template's holes: texts, numbers, dates, and flat lists of them.

Anything else is refused, because what it would look like is chance: ``None`` would reach a reader as the word
"None", and an object may claim to be safe HTML (``__html__``) and walk past the escaping.
"""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from .errors import InvalidPart
from .header import refuse_unsafe

_PLAIN = (int, float, Decimal, date)


def plain_values(values: Mapping[str, object]) -> dict[str, object]:
    """The same values, each text a plain ``str``.

    Raises:
        InvalidPart: values that are no mapping from names, or one of a kind that is not allowed.
        UnsafeHeader: a control character or an encoded-word in one; any value may meet the subject.
    """
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise InvalidPart("values", "must be a mapping of names to values")
    return {name: _plain(value, field=f"values.{name}") for name, value in values.items()}


def _plain(value: object, *, field: str) -> object:
    if isinstance(value, list | tuple):
        return [_plain_one(one, field=field) for one in value]
    return _plain_one(value, field=field)


def _plain_one(value: object, *, field: str) -> object:
    if isinstance(value, str):
        _refuse_unsafe(value, field=field)
        return str.__str__(value)
    if not isinstance(value, _PLAIN):
        raise InvalidPart(field, f"must be a text, a number, a date or a list of them, not {type(value).__name__}")
    return value


def _refuse_unsafe(text: str, *, field: str) -> None:
    """Line breaks and tabs may stand in a body; whether they reach the subject is checked on the subject."""
    refuse_unsafe(text.replace("\r\n", " ").replace("\n", " ").replace("\t", " "), field=field)
