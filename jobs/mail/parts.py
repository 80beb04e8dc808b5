"""The limits of a mail's parts, once they are there: subject, text and HTML, and how large all of it becomes."""

from collections.abc import Sequence
from typing import Any

from .attachment import MESSAGE_LIMIT
from .errors import BodyTooLarge, EmptyBody, InvalidPart, UnsafeHeader
from .header import refuse_unsafe
from .templates import RenderedParts

BODY_LIMIT = 256 * 1024
"""Octets of subject, text and HTML together, in UTF-8, and of attachments that travel in the job."""
SUBJECT_LIMIT = 255
"""Characters. Longer subjects are cut by every reader of mail."""

_GROWTH = 1.37
"""Base64 with its line ends, to the octets that went in."""


def check_parts(parts: RenderedParts) -> None:
    """Pass, or refuse a mail without subject or body, or with a subject that is none.

    Raises:
        EmptyBody, InvalidPart, UnsafeHeader: naming the part.
    """
    if not parts.subject:
        raise EmptyBody("subject", "is empty; a mail needs one")
    if len(parts.subject) > SUBJECT_LIMIT:
        raise InvalidPart("subject", f"has {len(parts.subject)} characters, at most {SUBJECT_LIMIT} are allowed")
    try:
        refuse_unsafe(parts.subject, field="subject")
    except UnsafeHeader as refusal:
        raise UnsafeHeader("subject", f"{refusal.reason} (it may have come in by a value)") from None
    if not (parts.text.strip() or parts.html.strip()):
        raise EmptyBody("text", "neither text nor html has anything in it")


def check_size(parts: RenderedParts, attachments: Sequence[dict[str, Any]]) -> None:
    """Pass, or refuse what would be too large for the queue or for mail servers.

    Args:
        attachments: frozen ones.

    Raises:
        BodyTooLarge: naming what weighs most.
        InvalidPart: a part that is not text.
    """
    written = (
        _octets(parts.subject, "subject") + _octets(parts.text, field="text") + _octets(parts.html, field="html")
    )
    if written > BODY_LIMIT:
        largest = "html" if len(parts.html) > len(parts.text) else "text"
        raise BodyTooLarge(
            largest, f"the mail has {written} octets, at most {BODY_LIMIT} are allowed; link to it instead"
        )
    inline = sum(len(one.get("content", "")) for one in attachments)
    if written + inline > BODY_LIMIT:
        raise BodyTooLarge(
            "attachments",
            f"the job would have {written + inline} octets, at most {BODY_LIMIT} are allowed; give references",
        )
    total = round(_GROWTH * (written + sum(one["size"] for one in attachments)))
    if total > MESSAGE_LIMIT:
        raise BodyTooLarge(
            "attachments",
            f"the mail would have about {total} octets, at most {MESSAGE_LIMIT} are allowed; link to files",
        )


def _octets(part: str, field: str) -> int:
    try:
        return len(part.encode())
    except UnicodeEncodeError:
        raise InvalidPart(field, "holds a lone surrogate, which is no character; decode it properly") from None
