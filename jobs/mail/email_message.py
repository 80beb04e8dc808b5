"""Reading of a message of the standard library into the fields of a :class:`jobs.Mail`.

Nothing is dropped silently. Every header field and every part is either taken over, or written by this
package (:data:`WRITTEN_ANEW`), or refused by its name: Received, Return-Path, DKIM-Signature and the like
belong to a message that has travelled already, and this package adds its own.

A message is read as it is and never serialised first: Python versions before 3.11.10 write a header field with
a line break unchecked, and the next parser would find another recipient there (CVE-2024-6923).
"""

import re
from collections.abc import Callable, Mapping
from email.errors import HeaderParseError, ObsoleteHeaderDefect
from email.header import Header
from email.headerregistry import Address, HeaderRegistry
from email.message import Message
from typing import Any, TypeAlias

from .email_parts import read_parts
from .errors import InvalidAddress, InvalidPart, UnsafeHeader

WRITTEN_ANEW = frozenset(
    """date message-id mime-version content-type content-transfer-encoding""".split()  # noqa: SIM905  a list to read
)
"""Header fields of the message that every mail gets from this package."""

_FOLD = re.compile(r"\r?\n(?=[ \t])")
_LINK = re.compile(r"<(https://[^<>\s]{1,900})>\Z")
_OURS = {"auto-submitted": "auto-generated", "x-auto-response-suppress": "All"}
"""Fields that every mail has with this value, unless its stream says otherwise."""
_ONE_CLICK = "List-Unsubscribe=One-Click"
_REGISTRY = HeaderRegistry()
_Decoded: TypeAlias = Any
"""A header object of :mod:`email.headerregistry`; its class and attributes depend on the field."""


def mail_fields(message: Message) -> dict[str, Any]:
    """Return the arguments for :class:`jobs.Mail`.

    Raises:
        MailError: a part of the message cannot be sent; names the field.
    """
    if not isinstance(message, Message):
        raise InvalidPart("message", f"must be an email.message.EmailMessage, not {type(message).__name__}")
    fields: dict[str, Any] = {"to": []}
    headers: dict[str, str] = {}
    seen: set[str] = set()
    for name, value in message.raw_items():
        lower = name.lower()
        if lower in seen:
            raise InvalidPart(f"headers.{name}", "is present twice; keep one")
        seen.add(lower)
        if lower not in WRITTEN_ANEW:
            header = _header(name, value)
            if reader := _READERS.get(lower):
                fields |= reader(name, header)
            elif (text := str(header).strip()) != _OURS.get(lower):
                headers[name] = text
    _check_sender(fields)
    fields |= _unsubscribe(headers)
    if headers:
        fields["headers"] = headers
    return {**fields, **read_parts(message)}


def _header(name: str, value: object) -> _Decoded:
    """Return a field as an object that has decoded it; those of the older ``Message`` are texts or Headers."""
    if hasattr(value, "defects"):
        return value
    try:
        encoded = value.encode() if isinstance(value, Header) else str(value)
    except HeaderParseError:
        encoded = "\n"
    text = _FOLD.sub("", encoded)
    if "\r" in text or "\n" in text:
        raise UnsafeHeader(f"headers.{name}", "contains a line break; remove it")
    return _REGISTRY(name, text)


def _addresses(name: str, header: _Decoded) -> list[Address]:
    field = name.lower().replace("-", "_")
    if any(not isinstance(one, ObsoleteHeaderDefect) for one in header.defects):
        raise InvalidAddress(field, "cannot be read as a list of addresses; check commas, quotes and brackets")
    for group in header.groups:
        if group.display_name is not None and group.addresses:
            raise InvalidAddress(field, "contains a named group; give its addresses without the group")
    return list(header.addresses)


def _listed(name: str, header: _Decoded) -> dict[str, Any]:
    addresses = _addresses(name, header)
    return {name.lower().replace("-", "_"): addresses} if addresses else {}


def _from(name: str, header: _Decoded) -> dict[str, Any]:
    addresses = _addresses(name, header)
    if len(addresses) != 1:
        raise InvalidAddress("sender", f"From has {len(addresses)} addresses; give one")
    return {"sender": addresses[0].addr_spec, "sender_name": addresses[0].display_name or None}


def _sender(name: str, header: _Decoded) -> dict[str, Any]:
    return {"from_sender": _addresses(name, header)}


def _check_sender(fields: dict[str, Any]) -> None:
    """Refuse a Sender that differs from From (RFC 5322, 3.6.2)."""
    sender = fields.pop("from_sender", None)
    if sender is not None and [one.addr_spec for one in sender] != [fields.get("sender")]:
        raise InvalidPart("headers.Sender", "differs from From; a mail has one sender, so leave Sender out")


def _subject(_name: str, header: _Decoded) -> dict[str, Any]:
    return {"subject": str(header).strip()}


def _refused(name: str, _header: _Decoded) -> dict[str, Any]:
    raise InvalidPart(
        f"headers.{name}", "belongs to a message that has already been sent; remove it, or attach the message"
    )


def _unsubscribe(headers: dict[str, str]) -> dict[str, str]:
    """Remove the one-click link from the other fields and return it (RFC 8058)."""
    names = {name.lower(): name for name in headers}
    link, click = names.get("list-unsubscribe"), names.get("list-unsubscribe-post")
    found = _LINK.match(headers[link]) if link else None
    if link and click and found and headers[click] == _ONE_CLICK:
        del headers[link], headers[click]
        return {"unsubscribe": found[1]}
    return {}  # the caller's headers refuse it, by name


_TRAVELLED = """received return-path delivered-to dkim-signature domainkey-signature authentication-results
    received-spf arc-seal arc-message-signature arc-authentication-results resent-from resent-sender resent-to
    resent-cc resent-bcc resent-date resent-message-id resent-reply-to errors-to x-original-to""".split()  # noqa: SIM905
_READERS: Mapping[str, Callable[[str, _Decoded], dict[str, Any]]] = {
    **dict.fromkeys(_TRAVELLED, _refused),
    **dict.fromkeys(("to", "cc", "bcc", "reply-to"), _listed),
    "from": _from,
    "sender": _sender,
    "subject": _subject,
}
