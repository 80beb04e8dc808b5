"""Recipients of a mail: To, Cc, Bcc and Reply-To, checked, frozen, and written as header fields.

A text is one plain address, as :mod:`.address` checks it. Several addresses are a list, and a name comes with an
object that keeps it apart from its address, such as :class:`email.headerregistry.Address`.

A mail to one plain address is frozen as the text that it always was; every other form is a list of objects
``{"address", "name"}``. An address that is in two fields, or twice in one, gets the mail once. Bcc
recipients are in no header field.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from .address import normal_address
from .errors import InvalidAddress, InvalidPart
from .header import encode_text, refuse_unsafe

RECIPIENT_LIMIT = 100
"""Recipients of one mail, in all fields: what every server must take in one transaction (RFC 5321, 4.5.3.1.8)."""
NAME_LIMIT = 255
"""Characters of a name, so that name and address always fit one header line."""

FIELDS = ("to", "cc", "bcc")
_NOBODY_NAMED = "undisclosed-recipients:;"
"""To of a mail that has only Bcc recipients: an empty group (RFC 5322, 3.4)."""


class NamedAddress(Protocol):
    """Address with a name: :class:`email.headerregistry.Address` is one."""

    @property
    def addr_spec(self) -> str:
        """The plain address, ``name@domain``."""

    @property
    def display_name(self) -> str:
        """The name that mail programs show; may be empty."""


OneAddress: TypeAlias = str | NamedAddress
Addresses: TypeAlias = OneAddress | Sequence[OneAddress]
"""One address or several."""
FrozenAddresses: TypeAlias = str | list[dict[str, str]]


def freeze_recipients(
    to: object, cc: object, bcc: object, *, private_domains: Iterable[str]
) -> dict[str, FrozenAddresses]:
    """Return the recipients for the payload: ``to``, and ``cc`` and ``bcc`` if there are any.

    Raises:
        InvalidAddress, UnsafeHeader: naming the field and the position.
        InvalidPart: no recipient, or too many.
    """
    if isinstance(to, str) and not cc and not bcc:  # nearly every mail
        return {"to": normal_address(to, field="to", private_domains=private_domains)}
    given = {"to": _listed(to, "to"), "cc": _listed(cc, "cc"), "bcc": _listed(bcc, "bcc")}
    _check_count(given)
    frozen: dict[str, FrozenAddresses] = {}
    for field, addresses in given.items():
        if addresses or field == "to":
            frozen[field] = _freeze(addresses, field, private_domains)
    if set(frozen) == {"to"}:
        frozen["to"] = _plain_if_one(frozen["to"])
    return frozen


def freeze_reply_to(reply_to: object, *, private_domains: Iterable[str]) -> FrozenAddresses | None:
    """Return the Reply-To addresses for the payload: a string for one plain address, None for none.

    Raises:
        InvalidAddress, UnsafeHeader, InvalidPart: naming the field and the position.
    """
    if reply_to is None:
        return None
    if isinstance(reply_to, str):
        return normal_address(reply_to, field="reply_to", private_domains=private_domains)
    addresses = _listed(reply_to, "reply_to")
    _check_count({"reply_to": addresses}) if addresses else None
    return _plain_if_one(_freeze(addresses, "reply_to", private_domains)) or None


def is_one_plain(addresses: object) -> bool:
    """Return True if the addresses are frozen as a string: a single one without a name."""
    if isinstance(addresses, str):
        return True
    listed = addresses if isinstance(addresses, Sequence) else (addresses,)
    return len(listed) == 1 and (isinstance(listed[0], str) or not getattr(listed[0], "display_name", ""))


def envelope_of(mail: Mapping[str, Any]) -> dict[str, str]:
    """Return the addresses of a frozen mail for RCPT, each once, with its place: ``to``, ``to[1]``, ``cc[0]``.

    >>> envelope_of({"to": [{"address": "ana@example.com"}], "bcc": [{"address": "Ana@example.com"}]})
    {'ana@example.com': 'to[0]'}
    """
    to = mail["to"]
    if isinstance(to, str) and "cc" not in mail and "bcc" not in mail:
        return {to: "to"}
    places: dict[str, str] = {}
    seen: set[str] = set()
    for place, one in _placed(mail):
        if one.lower() not in seen:
            seen.add(one.lower())
            places[one] = place
    return places


def has_several(mail: Mapping[str, Any]) -> bool:
    """Return True if the outcome of a frozen mail is recorded for each recipient."""
    return not isinstance(mail["to"], str) or "cc" in mail or "bcc" in mail


def recipient_fields(mail: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the header fields To and Cc; Bcc has none."""
    to = mail["to"]
    fields = [("To", to if isinstance(to, str) else address_list(to) or _NOBODY_NAMED)]
    if cc := mail.get("cc"):
        fields.append(("Cc", address_list(cc)))
    return fields


def address_list(addresses: FrozenAddresses) -> str:
    """Return the value of an address field; one address per line."""
    if isinstance(addresses, str):
        return addresses
    return ",\r\n ".join(mailbox_text(one["address"], one.get("name", "")) for one in addresses)


def mailbox_text(address: str, name: str) -> str:
    """Return a name and an address; the name quoted, or as encoded-words on the line above (RFC 5322)."""
    if not name:
        return address
    encoded = encode_text(name)
    if encoded != name:
        return f"{encoded}\r\n <{address}>"
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}" <{address}>'


def _listed(value: object, field: str) -> Sequence[object]:
    if value is None:
        if field == "to":
            raise InvalidAddress(field, "must be a string of the form name@domain or a list of them, not NoneType")
        return ()
    if isinstance(value, str) or hasattr(value, "addr_spec"):
        return (value,)
    if isinstance(value, bytes) or not isinstance(value, Sequence):
        raise InvalidAddress(
            field, f"must be a string of the form name@domain or a list of them, not {type(value).__name__}"
        )
    return value


def _check_count(given: Mapping[str, Sequence[object]]) -> None:
    count = sum(map(len, given.values()))
    field = max(given, key=lambda name: len(given[name]))
    if not count:
        raise InvalidPart("to", "is empty, and so are cc and bcc; give at least one recipient")
    if count > RECIPIENT_LIMIT:
        raise InvalidPart(
            field,
            f"brings the mail to {count} recipients; at most {RECIPIENT_LIMIT} are allowed in to, cc and bcc "
            "together, so send several mails (send_many)",
        )


def _freeze(addresses: Sequence[object], field: str, private_domains: Iterable[str]) -> list[dict[str, str]]:
    return [_one(address, f"{field}[{place}]", private_domains) for place, address in enumerate(addresses)]


def _one(address: object, field: str, private_domains: Iterable[str]) -> dict[str, str]:
    if isinstance(address, str):
        return {"address": normal_address(address, field=field, private_domains=private_domains)}
    spec, name = getattr(address, "addr_spec", None), getattr(address, "display_name", None)
    if not isinstance(spec, str) or not isinstance(name, str):
        raise InvalidAddress(
            field,
            f"must be a string of the form name@domain or an Address, not {type(address).__name__}",
        )
    frozen = {"address": normal_address(spec, field=field, private_domains=private_domains)}
    return {**frozen, "name": _name(name, field)} if name.strip() else frozen


def _name(name: str, field: str) -> str:
    refuse_unsafe(name, field=field)
    if len(name) > NAME_LIMIT:
        raise InvalidPart(field, f"has a name of {len(name)} characters; at most {NAME_LIMIT} are allowed")
    return name


def _plain_if_one(addresses: FrozenAddresses) -> FrozenAddresses:
    if len(addresses) == 1 and isinstance(addresses, list) and "name" not in addresses[0]:
        return addresses[0]["address"]
    return addresses


def _placed(mail: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for field in FIELDS:
        listed = mail.get(field) or ()
        if isinstance(listed, str):
            yield field, listed
            continue
        for place, one in enumerate(listed):
            yield f"{field}[{place}]", one["address"]
