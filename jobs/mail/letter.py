"""Encoding of a frozen mail into the bytes to send. The same input always gives the same bytes.

Nothing here reads the clock, a random number or a setting: the boundaries are derived from
the Message-ID, and the dates come with the mail.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .header import encode_text, header_block
from .mime import Part, attachment_part, multipart, text_part
from .stream import AutoSubmitted


@dataclass(frozen=True, slots=True)
class LetterSender:
    """The sender of a letter: an address accepted by :func:`jobs.mail.address.normal_address`, and a name."""

    address: str = field(repr=False)
    name: str = field(default="", repr=False)

    @property
    def domain(self) -> str:
        """Right half of the address."""
        return self.address.rpartition("@")[2]


_EXCHANGE = ("X-Auto-Response-Suppress", "All")
_ANSWERS: Mapping[AutoSubmitted, list[tuple[str, str]]] = {
    "auto-generated": [("Auto-Submitted", "auto-generated"), _EXCHANGE],
    "auto-replied": [("Auto-Submitted", "auto-replied"), _EXCHANGE],
    "no": [],
}
"""Header fields by which machines know that they must not answer (RFC 3834, and Exchange's own)."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail ready to send: SMTP envelope and content (bytes, CR LF line ends, not dot-stuffed)."""

    sender: str = field(repr=False)
    recipients: tuple[str, ...] = field(repr=False)
    content: bytes = field(repr=False)


def write_letter(
    frozen: Mapping[str, object],
    *,
    default_sender: LetterSender,
    attached: Mapping[str, bytes] | None = None,
    auto_submitted: AutoSubmitted = "auto-generated",
) -> Letter:
    """Return the envelope and the content of a frozen mail.

    Args:
        frozen: result of :meth:`jobs.Mail.compose`, after its trip through the queue.
        default_sender: for mails without a sender; a mail's own name goes before its address.
        attached: content of each attachment that travelled as a reference, by its ``ref``.
        auto_submitted: of the mail's stream.

    Raises:
        KeyError: a key of the frozen mail, or the content of a reference, is missing.
        ValueError: an attachment's content is not base64.
        UnsafeHeader: a field of the finished header would have been malformed.
    """
    mail: Mapping[str, Any] = frozen
    sender = _sender(mail, default_sender)
    head = header_block(_fields(mail, sender, auto_submitted))
    return Letter(sender.address, (mail["to"],), b"".join([head, *_body(mail, attached or {})]))


def _sender(mail: Mapping[str, Any], default: LetterSender) -> LetterSender:
    address, name = mail["sender"], mail["sender_name"]
    if address is None:
        return default if name is None else LetterSender(default.address, name)
    return LetterSender(address, name or "")


def _fields(mail: Mapping[str, Any], sender: LetterSender, auto_submitted: AutoSubmitted) -> list[tuple[str, str]]:
    reply_to = [("Reply-To", mail["reply_to"])] if mail["reply_to"] else []
    return [
        ("From", f"{_phrase(sender.name)} <{sender.address}>" if sender.name else sender.address),
        ("To", mail["to"]),
        *reply_to,
        ("Subject", encode_text(mail["subject"])),
        ("Date", mail["date"]),
        ("Message-ID", f"<{mail['message_id']}@{sender.domain}>"),
        *_ANSWERS[auto_submitted],
        *_optional_fields(mail, sender),
        ("MIME-Version", "1.0"),
    ]


def _optional_fields(mail: Mapping[str, Any], sender: LetterSender) -> list[tuple[str, str]]:
    fields: list[tuple[str, str]] = []
    if thread := mail.get("thread"):
        # The id of a mail that was never sent; all mails of the thread answer it.
        root = f"<thread.{thread}@{sender.domain}>"
        fields += [("References", root), ("In-Reply-To", root)]
    if address := mail.get("unsubscribe"):
        fields += [
            ("List-Unsubscribe", f"<{address}>"),
            ("List-Unsubscribe-Post", "List-Unsubscribe=One-Click"),  # RFC 8058
        ]
    fields += [(name, encode_text(value)) for name, value in mail.get("headers", {}).items()]
    return fields


def _phrase(name: str) -> str:
    """Return a display name: a quoted string, or encoded-words with the address on the next line (RFC 5322)."""
    encoded = encode_text(name)
    if encoded != name:
        return f"{encoded}\r\n"
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _body(mail: Mapping[str, Any], attached: Mapping[str, bytes]) -> Part:
    content = _content(mail)
    files: Sequence[Mapping[str, Any]] = mail.get("attachments", ())
    if not files:
        return content
    outer = f"=_all_{mail['message_id']}"  # no boundary is a prefix of the other: some programs compare prefixes
    parts = [content, *(attachment_part(one, attached, boundary=outer) for one in files)]
    return multipart("mixed", parts, boundary=outer)


def _content(mail: Mapping[str, Any]) -> Part:
    text, html = mail["text"], mail["html"]
    parts = [text_part("plain", text)] if _told(text) else []
    if _told(html):
        parts.append(text_part("html", html))
    return parts[0] if len(parts) == 1 else multipart("alternative", parts, boundary=f"=_{mail['message_id']}")


def _told(body: str | None) -> bool:
    return bool(body and not body.isspace())
