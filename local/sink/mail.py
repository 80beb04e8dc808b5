"""Accepted mail: the bytes as they arrived, and the few fields read from them.

The bytes are the record. Subject and Message-ID are read when the mail comes, everything else when a user opens it
(`local.sink.contents`). A sink that refused a malformed mail would hide the very mail that a user wants to see.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesHeaderParser


@dataclass(frozen=True, slots=True, kw_only=True)
class CaughtMail:
    """An accepted mail.

    `number` counts from 1 in order of arrival. `sender` and `recipients` are the envelope's, which the
    header need not agree with. `message_id` is "" when the header has none.
    """

    number: int
    received_at: datetime
    sender: str
    recipients: tuple[str, ...]
    message_id: str
    subject: str
    raw: bytes


def catch_mail(number: int, sender: str, recipients: list[str], raw: bytes) -> CaughtMail:
    """Return the mail accepted just now."""
    header = BytesHeaderParser().parsebytes(raw)
    return CaughtMail(
        number=number,
        received_at=datetime.now(UTC),
        sender=sender,
        recipients=tuple(recipients),
        message_id=_field(header, "Message-ID"),
        subject=_field(header, "Subject"),
        raw=raw,
    )


def _field(header: Message, name: str) -> str:
    """Return the field, unfolded and decoded; as it arrived if its encoding is broken."""
    value = " ".join(str(header.get(name, "")).split())
    try:
        return str(make_header(decode_header(value)))
    except (LookupError, ValueError):
        return value
