"""Validation of one address, as strict as common mail servers. An address is refused, never repaired.

A display name, a list, a comment or a line break is refused: these are the ways in which user text becomes an
SMTP command or a second recipient. So are, although a standard allows them, a quoted local part
(``"ana b"@example.com``), a domain without a dot (``ana@io``), a domain literal and a local part outside ASCII:
many servers refuse them too, and in a form they are mostly typing mistakes.

Domains that only a private network knows (``.local``, ``.test``, ``.home.arpa`` ...) are refused unless the caller
names them in ``private_domains``.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

from .errors import InvalidAddress
from .header import refuse_unsafe

PRIVATE_DOMAINS = frozenset({"home.arpa", "invalid", "local", "localhost", "onion", "test"})
"""The names that RFC 6761, 6762, 7686 and 8375 keep out of the public DNS; any other name needs no permission."""


_USUAL = re.compile(r"[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@[A-Za-z0-9.-]+\Z")
_LONGEST, _LONGEST_LOCAL = 254, 64


class _NotAnAddress(ValueError):
    """The text is not a mail address; the message may quote it."""


def normal_address(value: str, *, field: str, private_domains: Iterable[str] = ()) -> str:
    """Return the address in the form to send: domain in lower case, as an A-label (RFC 5891).

    Args:
        value: ``local@domain``, nothing else.
        field: name of the field in the error.
        private_domains: of :data:`PRIVATE_DOMAINS`, those that have mailboxes in the caller's network.

    Raises:
        UnsafeHeader: control characters or an encoded-word in the address.
        InvalidAddress: not an address, or a local part outside ASCII (not every server on the way supports
            SMTPUTF8, so it is refused here rather than bounced there).

    Example:
        >>> normal_address("ana@EXAMPLE.com", field="to")
        'ana@example.com'
    """
    if not isinstance(value, str):
        raise InvalidAddress(field, f"must be a string of the form name@domain, not {type(value).__name__}")
    refuse_unsafe(value, field=field)
    text = str.__str__(value)
    try:
        return _private(text, private_domains) if private_domains else _normal(text)
    except _NotAnAddress as error:
        raise InvalidAddress(field, f"is not a mail address: {_without_address(str(error))}") from None


def checked_private_domains(names: Iterable[str], *, field: str) -> frozenset[str]:
    """Return these names as a set, if each may be declared private.

    Raises:
        InvalidAddress: a name is not in :data:`PRIVATE_DOMAINS`.
    """
    given = frozenset([names] if isinstance(names, str) else names)
    if unknown := sorted(given - PRIVATE_DOMAINS):
        raise InvalidAddress(
            field,
            f"{unknown[0]!r} is not a private domain; allowed: {', '.join(sorted(PRIVATE_DOMAINS))}",
        )
    return given


def _private(value: str, domains: Iterable[str]) -> str:
    """Normalise an address that may be in one of these domains, under a name that the validator accepts."""
    allowed = checked_private_domains(domains, field="private_domains")
    lower = value.lower()
    if not any(lower.endswith(f".{one}") for one in allowed):
        return _normal(value)
    return _normal(f"{value[:-1]}x")[:-1] + lower[-1]


def _normal(value: str) -> str:
    """Normalise an address; a local part of the usual form is checked apart from the domain."""
    local, _, domain = value.partition("@")
    if _USUAL.match(value) and len(local) <= _LONGEST_LOCAL and len(value) <= _LONGEST:
        return local + _validated(f"x@{domain}")[1:]
    return _validated(value)


@lru_cache(maxsize=4096)
def _validated(value: str) -> str:
    """Normalise an address. Cached: a backend writes to the same domains all day and a check costs 60 us."""
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415  a third of the import of mails

    try:
        checked = validate_email(
            value, strict=True, allow_smtputf8=False, check_deliverability=False, allow_display_name=False
        )
    except EmailNotValidError as error:
        raise _NotAnAddress(str(error)) from None
    if not value.isascii() and _is_rewritten(value.rpartition("@")[2], checked.domain):
        raise _NotAnAddress(
            "The part after the @-sign uses letters that a domain cannot have, such as full-width or circled "
            "ones; write it in ordinary letters"
        )
    return checked.ascii_email or checked.normalized


def _is_rewritten(given: str, checked: str) -> bool:
    """Return True if the validator changed letters of a domain, other than their case or the form of accents."""
    before, after = given.split("."), checked.split(".")
    pairs = zip(before, after, strict=False)
    return len(before) != len(after) or any(not a.isascii() and _spelling(a) != _spelling(b) for a, b in pairs)


def _spelling(label: str) -> str:
    """Return the label in the form in which two spellings are compared; a final sigma is a sigma."""
    return unicodedata.normalize("NFC", label).lower().replace("\u03c2", "\u03c3")


def _without_address(reason: str) -> str:
    """Return the validator's message without the quoted address, which must not reach a log."""
    words = re.split(r" \(|: ", reason, maxsplit=1)[0].rstrip(".")
    hint = "; if it has mailboxes in your network, name it in private_domains"
    return f"{words}{hint}" if "special-use" in words else words
