"""Limits of a mail's parts: subject, text and HTML, and the size of the whole mail."""

from collections.abc import Sequence
from typing import Any

from .attachment import MESSAGE_LIMIT
from .errors import BodyTooLarge, EmptyBody, InvalidPart, UnsafeHeader
from .header import refuse_unsafe
from .rendered_parts import RenderedParts

BODY_LIMIT = 256 * 1024
"""Limit in bytes on subject, text and HTML together, in UTF-8, with attachments that travel in the job."""
SUBJECT_LIMIT = 255
"""Largest number of characters of a subject; every mail program cuts longer ones."""

_GROWTH = 1.37
"""Size of base64 with its line ends, per byte encoded."""


def check_parts(parts: RenderedParts) -> None:
    """Raise if the mail has no subject or body, or an invalid subject.

    Raises:
        EmptyBody, InvalidPart, UnsafeHeader: naming the part.
    """
    if not parts.subject:
        raise EmptyBody("subject", "is empty; give a subject")
    if len(parts.subject) > SUBJECT_LIMIT:
        raise InvalidPart(
            "subject", f"is too long ({len(parts.subject)} characters); at most {SUBJECT_LIMIT} are allowed"
        )
    try:
        refuse_unsafe(parts.subject, field="subject")
    except UnsafeHeader as refusal:
        raise UnsafeHeader("subject", f"{refusal.reason} (it may come from a value)") from None
    if not (parts.text.strip() or parts.html.strip()):
        raise EmptyBody("text", "is empty, and so is html; give one of them")


def check_size(
    parts: RenderedParts, attachments: Sequence[dict[str, Any]], further: Sequence[tuple[str, str]] = ()
) -> None:
    """Raise if the mail is too large for the queue or for mail servers.

    Args:
        parts: checked ones.
        attachments: frozen ones.
        further: other texts of the mail, each with its field.

    Raises:
        BodyTooLarge: naming the largest part.
        InvalidPart: a part that is not text.
    """
    written = (
        _byte_count(parts.subject, "subject")
        + _byte_count(parts.text, field="text")
        + _byte_count(parts.html, field="html")
    )
    largest = "html" if len(parts.html) > len(parts.text) else "text"
    for field, text in further:
        written += _byte_count(text, field=field)
        largest = field if len(text) > len(parts.html) + len(parts.text) else largest
    if written > BODY_LIMIT:
        raise BodyTooLarge(
            largest,
            f"is too large ({written} bytes); at most {BODY_LIMIT} are allowed; link to it instead",
        )
    inline = sum(len(one.get("content", "")) for one in attachments)
    if written + inline > BODY_LIMIT:
        raise BodyTooLarge(
            "attachments",
            f"are too large ({written + inline} bytes); at most {BODY_LIMIT} travel in the job; give references",
        )
    total = round(_GROWTH * (written + sum(one["size"] for one in attachments)))
    if total > MESSAGE_LIMIT:
        raise BodyTooLarge(
            "attachments",
            f"are too large (about {total} bytes); at most {MESSAGE_LIMIT} are allowed, so link to files",
        )


def _byte_count(part: str, field: str) -> int:
    try:
        return len(part if part.isascii() else part.encode())
    except UnicodeEncodeError:
        raise InvalidPart(
            field, "contains a lone surrogate, which is not a character; decode the text correctly"
        ) from None
