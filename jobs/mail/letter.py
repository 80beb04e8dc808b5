"""Encoding of a frozen mail into the bytes to send. The same input always gives the same bytes.

Nothing here reads the clock, a random number or a setting: the boundaries are derived from
the Message-ID, and the dates come with the mail.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .calendar import method_of
from .header import encode_text
from .header_block import header_block
from .mime import Part, attachment_part, multipart, text_part
from .recipients import address_list, envelope_of, has_several, mailbox_text, recipient_fields
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
    several = has_several(mail)
    head = header_block(_fields(mail, sender, auto_submitted, several=several))
    recipients = tuple(envelope_of(mail)) if several else (mail["to"],)
    return Letter(sender.address, recipients, b"".join([head, *_body(mail, attached or {})]))


def _sender(mail: Mapping[str, Any], default: LetterSender) -> LetterSender:
    address, name = mail["sender"], mail["sender_name"]
    if address is None:
        return default if name is None else LetterSender(default.address, name)
    return LetterSender(address, name or "")


def _fields(
    mail: Mapping[str, Any], sender: LetterSender, auto_submitted: AutoSubmitted, *, several: bool
) -> list[tuple[str, str]]:
    reply_to = [("Reply-To", address_list(mail["reply_to"]))] if mail["reply_to"] else []
    return [
        ("From", mailbox_text(sender.address, sender.name) if sender.name else sender.address),
        *(recipient_fields(mail) if several else [("To", mail["to"])]),
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


def _body(mail: Mapping[str, Any], attached: Mapping[str, bytes]) -> Part:
    attachments: Sequence[Mapping[str, Any]] = mail.get("attachments", ())
    if not attachments:
        return _content(mail, (), attached)
    inline = [one for one in attachments if "cid" in one]
    content = _content(mail, inline, attached)
    files = [one for one in attachments if "cid" not in one]
    if not files:
        return content
    outer = f"=_all_{mail['message_id']}"  # no boundary is a prefix of the other: some programs compare prefixes
    parts = [content, *(attachment_part(one, attached, boundary=outer) for one in files)]
    return multipart("mixed", parts, boundary=outer)


def _content(mail: Mapping[str, Any], inline: Sequence[Mapping[str, Any]], attached: Mapping[str, bytes]) -> Part:
    """Return the alternatives of the body, the best one last (RFC 2046, 5.1.4)."""
    text, html = mail["text"], mail["html"]
    parts = [text_part("plain", text)] if _told(text) else []
    if further := mail.get("alternatives"):
        parts += [text_part(one["type"].removeprefix("text/"), one["content"]) for one in further]
    if _told(html):
        parts.append(_html_part(mail, inline, attached) if inline else text_part("html", html))
    if calendar := mail.get("calendar"):
        parts.append(text_part(f"calendar; method={method_of(calendar)}", calendar))
    return parts[0] if len(parts) == 1 else multipart("alternative", parts, boundary=f"=_{mail['message_id']}")


def _html_part(
    mail: Mapping[str, Any], inline: Sequence[Mapping[str, Any]], attached: Mapping[str, bytes]
) -> Part:
    """Return the HTML part, wrapped with its inline images if there are any (RFC 2387)."""
    shown = text_part("html", mail["html"])
    boundary = f"=_rel_{mail['message_id']}"
    images = [attachment_part(one, attached, boundary=boundary) for one in inline]
    return multipart('related; type="text/html"', [shown, *images], boundary=boundary)


def _told(body: str | None) -> bool:
    return bool(body and not body.isspace())
