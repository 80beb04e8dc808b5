"""Parser of addresses in Django's form, ``Ana <ana@example.com>``. Pure.

Only this form and a plain address are read. All else is refused rather than guessed: a name that a user chose must
not become a second recipient.
"""

import re
from dataclasses import dataclass, field

from momentus_client.jobs import InvalidAddress

_NAMED = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^"<>@,;:\\]*))\s*<([^<>\s]+)>\s*\Z', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class MailAddress:
    """Address with a name, as `Mail` accepts it."""

    addr_spec: str = field(repr=False)
    display_name: str = field(repr=False)

    def __str__(self) -> str:
        return f"{self.display_name!r} <{self.addr_spec}>"


def read_address(value: object, field: str) -> str | MailAddress:
    """Return a plain address, or a name and an address.

    Args:
        value: a text, or one of Django's lazy texts.
        field: name of the field in the error.

    Raises:
        InvalidAddress: the text is malformed. The address itself is checked when the mail is composed.

    Example:
        >>> read_address('"Ruiz, Ana" <ana@example.com>', "to[0]").display_name
        'Ruiz, Ana'
    """
    text = str(value)
    if "<" not in text and '"' not in text:
        return text.strip(" ")
    found = _NAMED.match(text)
    if not found:
        raise InvalidAddress(field, "cannot be read; write it as name@domain or Name <name@domain>")
    quoted, plain, address = found.groups()
    name = _ESCAPED.sub(r"\1", quoted) if quoted is not None else plain.strip(" ")
    return MailAddress(address, name) if name else address


def read_addresses(values: object, field: str) -> list[str | MailAddress]:
    """Return a list of addresses without the empty ones, which Django also skips. Raises InvalidAddress."""
    if isinstance(values, str) or not isinstance(values, list | tuple | set):
        raise InvalidAddress(field, f"must be a list, not {type(values).__name__}")
    return [read_address(one, f"{field}[{place}]") for place, one in enumerate(values) if one]
