"""Check of a frozen mail's fields and their types, before the mail is used.

Mails from :meth:`jobs.Mail.compose` always pass. A producer in another language may write a number as `to`, a list
of recipients or a null header value. No later attempt can fix such a mail, so it is dead at once; the reason names
the field and leaves out its content. docs/wire.md lists the fields.
"""

from collections.abc import Iterator, Mapping
from types import NoneType

from worker.engine import GiveUp

_ABSENT = object()
_TEXT_OR_NULL = (str, NoneType)
_REQUIRED: tuple[tuple[str, tuple[type, ...]], ...] = (
    ("message_id", (str,)),
    ("date", (str,)),
    ("to", (str, list)),
    ("subject", (str,)),
    ("sender", _TEXT_OR_NULL),
    ("sender_name", _TEXT_OR_NULL),
    ("reply_to", (*_TEXT_OR_NULL, list)),
    ("text", _TEXT_OR_NULL),
    ("html", _TEXT_OR_NULL),
)
_OPTIONAL = (
    *("stream", "account", "unsubscribe", "thread", "headers", "attachments"),
    *("cc", "bcc", "alternatives", "calendar", "template"),
)
_NEVER_NULL = ("message_id", "date", "to", "subject")
_REQUIRED_NAMES = frozenset(name for name, _ in _REQUIRED)
_USUAL_NAMES = _REQUIRED_NAMES | {"stream", "account", "unsubscribe", "thread", "calendar", "template"}
_USUAL_TYPES = frozenset(_TEXT_OR_NULL)
_KINDS: Mapping[type, str] = {
    str: "text",
    NoneType: "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
}


def check_shape(fields: Mapping[str, object]) -> None:
    """Check that every field of a frozen mail has its type.

    Raises:
        GiveUp: a field is missing or has another type; the reason names it.
    """
    if _is_usual(fields):
        return
    for name, kinds in _REQUIRED:
        if not isinstance(fields.get(name, _ABSENT), kinds):
            raise _type_error(name, fields.get(name, _ABSENT), "text or null" if NoneType in kinds else "text")
    for name in ("to", "reply_to"):
        if isinstance(value := fields[name], list):
            _check_addresses(name, value)
    for name in _OPTIONAL:
        if (value := fields.get(name)) is not None:
            _check_optional(name, value)


def _is_usual(fields: Mapping[str, object]) -> bool:
    """Return True for a mail that has nothing but texts, whose types are checked together."""
    return (
        _USUAL_NAMES >= fields.keys() >= _REQUIRED_NAMES
        and _USUAL_TYPES.issuperset(map(type, fields.values()))
        and None not in map(fields.__getitem__, _NEVER_NULL)
    )


def _check_optional(name: str, value: object) -> None:
    match name:
        case "headers":
            for field, text in _check_object("headers", value).items():
                _check_text(f"headers[{field!r}]", text)
        case "attachments":
            for field, one in _objects(name, value):
                _check_attachment(field, one)
        case "alternatives":
            for field, one in _objects(name, value):
                for part in ("type", "content"):
                    _check_text(f"{field}.{part}", one.get(part, _ABSENT))
        case "cc" | "bcc":
            _check_addresses(name, value)
        case _:
            _check_text(name, value)


def _objects(name: str, value: object) -> Iterator[tuple[str, Mapping[str, object]]]:
    if not isinstance(value, list):
        raise _type_error(name, value, "a list")
    for place, one in enumerate(value):
        yield f"{name}[{place}]", _check_object(f"{name}[{place}]", one)


def _check_addresses(name: str, value: object) -> None:
    for field, one in _objects(name, value):
        _check_text(f"{field}.address", one.get("address", _ABSENT))
        _check_text(f"{field}.name", one.get("name", ""))


def _check_attachment(field: str, one: Mapping[str, object]) -> None:
    content = "ref" if "ref" in one else "content"
    named = ("cid",) if "cid" in one else ()
    for name in ("name", "type", content, *(("sha256",) if content == "ref" else ()), *named):
        _check_text(f"{field}.{name}", one.get(name, _ABSENT))
    size = one.get("size", _ABSENT)
    if content == "ref" and (not isinstance(size, int) or isinstance(size, bool)):
        raise _type_error(f"{field}.size", size, "a whole number")


def _check_object(field: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise _type_error(field, value, "an object")
    return value


def _check_text(field: str, value: object) -> None:
    if not isinstance(value, str):
        raise _type_error(field, value, "text")


def _type_error(field: str, value: object, wanted: str) -> GiveUp:
    found = "is missing" if value is _ABSENT else f"is {_KINDS.get(type(value), type(value).__name__)}"
    return GiveUp(f"{field}: {found}; must be {wanted}. Compose the mail again; see docs/wire.md")
