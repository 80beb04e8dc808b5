"""What a caller may add to a mail's header: an allow-list, because a header field is an instruction to strangers.

Fields that say who wrote to whom, when, and in which format are ours alone; so are those that keep machines from
answering. The link to unsubscribe is https and alone in its field, on one line: that is what one click needs
(RFC 8058), and a field that was folded has broken signatures on the way.
"""

import hashlib
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from .errors import InvalidPart
from .header import refuse_unsafe

VALUE_LIMIT = 900
"""Characters of one field: it must fit a line of 998 octets with its name (RFC 5322, 2.1.1)."""
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
    """The caller's own header fields.

    Args:
        threaded: the mail has a thread, which writes References and In-Reply-To.

    Raises:
        InvalidPart: a field that is not on the list, twice the same one, or a value that does not fit.
        UnsafeHeader: a control character or an encoded-word.
    """
    if not isinstance(headers, Mapping) or len(headers) > _MOST:
        raise InvalidPart("headers", f"must be a mapping of at most {_MOST} names to texts")
    for name, value in headers.items():
        _check_name(name)
        _check_value(name, value)
    if len({name.lower() for name in headers}) < len(headers):
        raise InvalidPart("headers", "names one field twice; upper and lower case do not differ")
    if threaded and (both := {name for name in headers if name.lower() in _THREAD}):
        raise InvalidPart(f"headers.{min(both)}", "cannot be given together with thread=, which writes it")
    return dict(headers)


def checked_link(address: object, *, field: str) -> str:
    """An https address that may stand between angle brackets in a header.

    Raises:
        InvalidPart: another scheme, no host, or a character that is to be percent-encoded.
    """
    if not isinstance(address, str) or len(address) > VALUE_LIMIT:
        raise InvalidPart(field, f"must be an https address of at most {VALUE_LIMIT} characters")
    refuse_unsafe(address, field=field)
    parts = _split(address)
    if parts is None or parts[0] != "https" or not parts[1]:
        raise InvalidPart(field, "must begin with https:// and a host; one click needs it (RFC 8058)")
    if not _PLAIN.match(address) or set(' <>"\\,') & set(address):
        raise InvalidPart(field, "holds a character that an address cannot have; percent-encode it")
    return address


def thread_id(thread: object) -> str:
    """What stands for a thread in the ids of its mails: the same for the same name, and telling nothing of it.

    Raises:
        InvalidPart: not a text, or an empty one.
    """
    if not isinstance(thread, str) or not 0 < len(thread) <= VALUE_LIMIT:
        raise InvalidPart(
            "thread", f"must be a text of 1 to {VALUE_LIMIT} characters that names what the mails are about"
        )
    return hashlib.sha256(thread.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not _NAME.match(name):
        raise InvalidPart("headers", "a field's name is letters, digits and hyphens, at most 64")
    lower = name.lower()
    if hint := _OURS.get(lower):
        raise InvalidPart(f"headers.{name}", f"cannot be given here: {hint}")
    if lower not in _ALLOWED and not lower.startswith(_ALLOWED_BEGINNINGS):
        raise InvalidPart(
            f"headers.{name}", "is not among the fields that may be given: X-..., List-..., Importance, "
            "References, In-Reply-To, Feedback-ID"
        )  # fmt: skip


def _check_value(name: str, value: object) -> None:
    field = f"headers.{name}"
    if not isinstance(value, str) or not 0 < len(value) <= VALUE_LIMIT or value != value.strip():
        raise InvalidPart(field, f"must be a text of 1 to {VALUE_LIMIT} characters without spaces around it")
    refuse_unsafe(value, field=field)
    if not name.lower().startswith(_ENCODED) and not _PLAIN.match(value):
        raise InvalidPart(field, "must be ASCII, with single spaces: machines read this field")


def _split(address: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(address)
    except ValueError:  # half an IPv6 address
        return None
    return parts.scheme, parts.hostname or ""
