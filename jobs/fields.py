"""Fields of a backend's own jobs: from Python values to JSON and back, by the annotations of a dataclass.

| annotation                             | JSON                                            |
|----------------------------------------|-------------------------------------------------|
| ``None``, ``bool``, ``str``            | itself; text must be valid Unicode              |
| ``int``                                | a number within 64 bits                         |
| ``float``                              | a finite number; a whole one may stand for it   |
| ``datetime``                           | RFC 3339 text; it must be aware                 |
| ``date``, ``UUID``, ``Decimal``        | text                                            |
| ``timedelta``                          | microseconds, a whole number                    |
| ``Literal[...]``, an ``Enum``          | the value                                       |
| ``list[X]``, ``tuple[X, ...]``         | an array                                        |
| ``dict[str, X]``                       | an object                                       |
| a dataclass                            | an object with its fields                       |
| ``X | None``                           | that, or null                                   |
| ``Any``                                | whatever JSON has; unchanged                    |

Reading is strict: a value of another type, an unknown field or a missing one is refused with its place,
``lines[2].price``. Every value that can be written is read back equal.
"""

import math
import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import cache
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from .errors import JobError

_LARGEST = 2**63 - 1

Json: TypeAlias = Any
"""A JSON value."""


class InvalidJob(JobError):
    """A job has a field whose value or annotation a payload cannot hold. Nothing was queued."""


def write_fields(value: Any, *, within: str = "") -> dict[str, Json]:  # noqa: ANN401  any dataclass
    """Return the payload of a dataclass.

    Raises:
        InvalidJob: names the field.
    """
    hints = _hints(value.__class__)
    return {name: write_value(getattr(value, name), hint, _inside(within, name)) for name, hint in hints.items()}


def read_fields(cls: type, payload: Mapping[str, Json], *, within: str = "") -> Any:  # noqa: ANN401  an instance of it
    """Return the dataclass that a payload describes; absent fields take their defaults.

    Raises:
        InvalidJob: names the field.
    """
    if _is_as_it_is(cls, payload):
        return cls(**payload)
    hints = _hints(cls)
    if unknown := sorted(set(payload) - set(hints)):
        known = ", ".join(hints) or "none"
        raise InvalidJob(_inside(within, unknown[0]), f"is not a field of {cls.__name__}; its fields: {known}")
    given = {
        name: read_value(payload[name], hints[name], _inside(within, name)) for name in hints if name in payload
    }
    for one in fields(cls):
        if one.init and one.name not in given and _has_no_default(one):
            raise InvalidJob(_inside(within, one.name), f"is missing; {cls.__name__} has no default for it")
    return cls(**given)


def _is_as_it_is(cls: type, payload: Mapping[str, Json]) -> bool:
    """Return True if a payload has every field of a class, all with values that can be used unchanged."""
    kinds = _plain_kinds(cls)
    if len(payload) != len(kinds):
        return False
    for name, value in payload.items():  # noqa: SIM110  a generator costs as much again
        if kinds.get(name) is not type(value):
            return False
    return True


@cache
def _plain_kinds(cls: Any) -> dict[str, Any]:  # noqa: ANN401  as in `_hints`
    """Return the type of each field whose JSON is its value; None for the others."""
    return {name: hint if hint in _AS_THEY_ARE else None for name, hint in _hints(cls).items()}


def check_fields(cls: type) -> None:
    """Check that a class is a dataclass whose annotations payloads can hold.

    Raises:
        InvalidJob: names the field, or the class.
    """
    for name, hint in _hints(cls).items():
        _check_hint(hint, f"{cls.__name__}.{name}")


def write_value(value: Any, hint: Any, where: str) -> Json:  # noqa: ANN401, PLR0911  any annotation; a return per row
    """Return a value as JSON. Raises InvalidJob."""
    kind, inner = _kind(hint)
    match kind:
        case "any":
            return _plain(value, where)
        case "optional":
            return None if value is None else write_value(value, inner[0], where)
        case "literal":
            if not any(value == one and type(value) is type(one) for one in inner):
                raise _misfit(value, hint, where)
            return value
        case "list" if isinstance(value, list | tuple):
            return [write_value(one, inner[0], f"{where}[{place}]") for place, one in enumerate(value)]
        case "dict" if isinstance(value, Mapping):
            return {_key(key, where): write_value(one, inner[1], f"{where}.{key}") for key, one in value.items()}
        case "dataclass" if type(value) is hint:
            return write_fields(value, within=where)
        case "enum" if isinstance(value, hint):
            return _plain(value.value, where)
        case "scalar" if _fits(value, hint):
            return _WRITERS.get(hint, _plain_scalar)(value, where)
    raise _misfit(value, hint, where)


def read_value(value: Json, hint: Any, where: str) -> Any:  # noqa: ANN401, PLR0911  as in `write_value`
    """Return the value that JSON represents. Raises InvalidJob."""
    kind, inner = _kind(hint)
    match kind:
        case "any":
            return value
        case "optional":
            return None if value is None else read_value(value, inner[0], where)
        case "literal" if any(value == one and type(value) is type(one) for one in inner):
            return value
        case "list" if isinstance(value, list):
            found = [read_value(one, inner[0], f"{where}[{place}]") for place, one in enumerate(value)]
            return tuple(found) if get_origin(hint) is tuple else found
        case "dict" if isinstance(value, dict):
            return {key: read_value(one, inner[1], f"{where}.{key}") for key, one in value.items()}
        case "dataclass" if isinstance(value, dict):
            return read_fields(hint, value, within=where)
        case "enum":
            return _parsed(hint, value, hint, where)
        case "scalar":
            return _read_scalar(value, hint, where)
    raise _misfit(value, hint, where)


def _read_scalar(value: Json, hint: Any, where: str) -> Any:  # noqa: ANN401  as in `write_value`
    if hint is float and type(value) is int:
        return float(value)
    if hint is timedelta and type(value) is int:
        return timedelta(microseconds=value)
    if hint in _READERS and isinstance(value, str):
        found = _parsed(_READERS[hint], value, hint, where)
        if hint is datetime and found.tzinfo is None:
            raise _misfit(value, hint, where)
        return found
    if hint in _READERS or hint is timedelta or type(value) is not hint:
        raise _misfit(value, hint, where)
    return value


def _parsed(reader: Callable[[Any], Any], value: Json, hint: Any, where: str) -> Any:  # noqa: ANN401  as in `write_value`
    try:
        return reader(value)
    except (ValueError, TypeError, InvalidOperation):
        raise _misfit(value, hint, where) from None


@cache
def _kind(hint: Any) -> tuple[str, tuple[Any, ...]]:  # noqa: ANN401, PLR0911  an annotation; a return per row
    """Return the row of the table above, and the annotations inside."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any or hint is object:
        return "any", ()
    if origin in {Union, types.UnionType}:
        others = tuple(one for one in inner if one is not types.NoneType)
        return ("optional", others) if len(others) == 1 else ("unknown", ())
    if origin is Literal:
        return "literal", inner
    if origin is list or (origin is tuple and inner[1:] == (...,)):
        return "list", inner
    if origin is dict and inner[0] is str:
        return "dict", inner
    if isinstance(hint, type) and is_dataclass(hint):
        return "dataclass", ()
    if isinstance(hint, type) and issubclass(hint, Enum):
        return "enum", ()
    return ("scalar", ()) if hint in _SCALARS else ("unknown", ())


def _check_hint(hint: Any, where: str) -> None:  # noqa: ANN401  an annotation
    kind, inner = _kind(hint)
    if kind == "unknown":
        raise InvalidJob(where, f"{hint} is not a type for a payload field; docs/jobs.md lists the types")
    if kind == "dataclass":
        check_fields(hint)
    if kind in {"optional", "list", "dict"}:
        for one in (one for one in inner if one is not ...):
            _check_hint(one, where)


@cache
def _hints(cls: Any) -> dict[str, Any]:  # noqa: ANN401  a class, which mypy does not call hashable
    """Return the annotations of a dataclass's fields. Raises InvalidJob for any other class."""
    name: str = cls.__name__
    if not is_dataclass(cls):
        raise InvalidJob(name, "is not a dataclass; decorate it with @dataclass(frozen=True)")
    try:
        found = get_type_hints(cls)
    except NameError as error:
        raise InvalidJob(name, f"has an annotation with an unknown name: {error}") from None
    return {one.name: found[one.name] for one in fields(cls)}


def _has_no_default(one: "Field[Any]") -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _fits(value: Any, hint: Any) -> bool:  # noqa: ANN401  as in `write_value`
    if hint is float:
        return type(value) in {int, float}
    return type(value) is hint or (hint in {str, int} and isinstance(value, hint) and not isinstance(value, bool))


def _plain(value: Any, where: str) -> Json:  # noqa: ANN401  as in `write_value`
    """Return a value of type `Any`, which JSON must represent unchanged."""
    if isinstance(value, Mapping):
        return {_key(key, where): _plain(one, f"{where}.{key}") for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, f"{where}[{place}]") for place, one in enumerate(value)]
    if value is None or type(value) in {bool, int, float, str}:
        return _plain_scalar(value, where)
    raise InvalidJob(where, f"is of type {type(value).__name__}, which JSON cannot represent")


def _plain_scalar(value: Any, where: str) -> Json:  # noqa: ANN401  as in `write_value`
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidJob(where, f"is {value}, which JSON cannot represent")
    if isinstance(value, int) and not -_LARGEST <= value <= _LARGEST:
        raise InvalidJob(where, "is a number over 64 bits; send it as text")
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidJob(where, "is not valid Unicode: it contains a lone surrogate") from None
    return value


def _instant(value: datetime, where: str) -> str:
    if value.tzinfo is None:
        raise InvalidJob(where, "has no time zone; give an aware datetime, like datetime.now(UTC)")
    return value.isoformat()


def _exact(value: Decimal, where: str) -> str:
    if not value.is_finite():
        raise InvalidJob(where, f"is {value}, which is not a number")
    return str(value)


def _key(key: Any, where: str) -> str:  # noqa: ANN401  as in `write_value`
    if not isinstance(key, str):
        raise InvalidJob(where, f"has a key of type {type(key).__name__}; keys must be strings")
    return str(_plain_scalar(key, where))


def _misfit(value: Any, hint: Any, where: str) -> InvalidJob:  # noqa: ANN401  as in `write_value`
    """Return the error for a value. It does not quote the value, which may be private."""
    wanted = (
        str(hint.__name__) if isinstance(hint, type) and not get_args(hint) else str(hint).replace("typing.", "")
    )
    return InvalidJob(where, f"must be {wanted}, not a value of type {type(value).__name__}")


def _inside(within: str, name: str) -> str:
    return f"{within}.{name}" if within else name


_READERS: Mapping[Any, Callable[[str], Any]] = {
    datetime: datetime.fromisoformat,
    date: date.fromisoformat,
    UUID: UUID,
    Decimal: Decimal,
}
_WRITERS: Mapping[Any, Callable[[Any, str], Json]] = {
    datetime: _instant,
    date: lambda value, _: value.isoformat(),
    UUID: lambda value, _: str(value),
    Decimal: _exact,
    timedelta: lambda value, where: _plain_scalar(value // timedelta(microseconds=1), where),
    float: lambda value, where: float(_plain_scalar(value, where)),
}
_AS_THEY_ARE = {bool, int, float, str}
_SCALARS = {types.NoneType, None, bool, int, float, str, timedelta, *_READERS}
