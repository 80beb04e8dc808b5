"""Header fields that a caller may add to a mail: an allow-list, because a header field instructs other machines.

This package alone writes the fields that say who wrote to whom, when, and in which format, and those that keep
machines from answering. The link to unsubscribe is https and alone in its field, on one line: one click needs
that (RFC 8058), and relays have broken signatures by folding the field.
"""

import hashlib
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from .errors import InvalidPart
from .header import refuse_unsafe

VALUE_LIMIT = 900
"""Characters of one field: it must fit a line of 998 bytes with its name (RFC 5322, 2.1.1)."""
_MOST = 20
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}\Z")
_PLAIN = re.compile(r"[\x21-\x7e]+( [\x21-\x7e]+)*\Z")

_ALLOWED = frozenset({"importance", "references", "in-reply-to", "feedback-id"})
_ALLOWED_BEGINNINGS = ("x-", "list-")
_OURS = {
    "reply-to": "use reply_to=",
    "list-unsubscribe": "use unsubscribe=",
    "list-unsubscribe-post": "use unsubscribe=",
    "x-auto-response-suppress": "it is always there",
    "auto-submitted": "it is always there",
}
_THREAD = frozenset({"references", "in-reply-to"})
_ENCODED = ("x-",)
"""Fields of free text; all others are read by machines and stay as they are."""


def checked_headers(headers: object, *, threaded: bool) -> dict[str, str]:
    """Return the caller's own header fields, checked.

    Args:
        headers: a mapping of names to strings.
        threaded: the mail has a thread, which writes References and In-Reply-To.

    Raises:
        InvalidPart: a field that is not on the list, the same field twice, or an invalid value.
        UnsafeHeader: a control character or an encoded-word.
    """
    if not isinstance(headers, Mapping) or len(headers) > _MOST:
        raise InvalidPart("headers", f"must be a mapping of at most {_MOST} names to strings")
    for name, value in headers.items():
        _check_name(name)
        _check_value(name, value)
    if len({name.lower() for name in headers}) < len(headers):
        raise InvalidPart("headers", "name the same field twice; case does not matter")
    if threaded and (both := {name for name in headers if name.lower() in _THREAD}):
        raise InvalidPart(
            f"headers.{min(both)}", "cannot be given together with thread=, which writes it; leave out one"
        )
    return dict(headers)


def checked_link(address: object, *, field: str) -> str:
    """Return an https address that is safe between angle brackets in a header.

    Raises:
        InvalidPart: another scheme, no host, or a character that must be percent-encoded.
    """
    if not isinstance(address, str) or len(address) > VALUE_LIMIT:
        raise InvalidPart(field, f"must be an https address of at most {VALUE_LIMIT} characters")
    refuse_unsafe(address, field=field)
    parts = _split(address)
    if parts is None or parts[0] != "https" or not parts[1]:
        raise InvalidPart(field, "must begin with https:// and a host, as RFC 8058 requires")
    if not _PLAIN.match(address) or set(' <>"\\,') & set(address):
        raise InvalidPart(field, "has a character that is not allowed in an address; percent-encode it")
    return address


def thread_id(thread: object) -> str:
    """Return a thread's identifier for the ids of its mails: equal for equal names, without revealing the name.

    Raises:
        InvalidPart: not a text, or an empty one.
    """
    if not isinstance(thread, str) or not 0 < len(thread) <= VALUE_LIMIT:
        raise InvalidPart(
            "thread", f"must be a string of 1 to {VALUE_LIMIT} characters that names the subject of the mails"
        )
    return hashlib.sha256(thread.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not _NAME.match(name):
        raise InvalidPart(
            "headers", "contain an invalid field name; allowed: at most 64 letters, digits and hyphens"
        )
    lower = name.lower()
    if hint := _OURS.get(lower):
        raise InvalidPart(f"headers.{name}", f"cannot be given here: {hint}")
    if lower not in _ALLOWED and not lower.startswith(_ALLOWED_BEGINNINGS):
        raise InvalidPart(
            f"headers.{name}", "is not allowed; allowed: X-..., List-..., Importance, "
            "References, In-Reply-To, Feedback-ID"
        )  # fmt: skip


def _check_value(name: str, value: object) -> None:
    field = f"headers.{name}"
    if not isinstance(value, str) or not 0 < len(value) <= VALUE_LIMIT or value != value.strip():
        raise InvalidPart(field, f"must be a string of 1 to {VALUE_LIMIT} characters without spaces around it")
    refuse_unsafe(value, field=field)
    if not name.lower().startswith(_ENCODED) and not _PLAIN.match(value):
        raise InvalidPart(field, "must be ASCII with single spaces, because machines read this field")


def _split(address: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(address)
    except ValueError:  # an incomplete IPv6 address
        return None
    return parts.scheme, parts.hostname or ""
