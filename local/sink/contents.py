"""Contents of a caught mail: its header, its two bodies and its attachments, read for display only.

A mail counts as hostile and may be malformed: what cannot be read is absent, and nothing here raises for it.
"""

import email
import email.policy
import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage, Message
from email.parser import BytesHeaderParser
from urllib.parse import unquote

_BODIES = ("plain", "html")
_IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp")
"""Types of image that an HTML body may show; SVG is not one, since it is a document that can run scripts."""
_CID = re.compile(r"cid:([^\s\"'<>()]{1,200})")
_TAG = re.compile(r"<[^<>]*>")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaughtAttachment:
    """A part that is not a body. `content_id` is "" unless the HTML may show it; `name` is "" if it has none."""

    name: str
    kind: str
    content_id: str
    octets: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MailContents:
    """Readable parts of a mail.

    Attributes:
        header: names and values in their order, unfolded and decoded.
        plain, html: the bodies; None where there is none, or it cannot be read.
        attachments: all other parts in their order; a mail that is attached is one part.
    """

    header: tuple[tuple[str, str], ...]
    plain: str | None
    html: str | None
    attachments: tuple[CaughtAttachment, ...]

    @property
    def shown_html(self) -> str | None:
        """The HTML body with its own pictures in it, and links that open in a new tab."""
        if self.html is None:
            return None
        pictures = {one.content_id: one for one in self.attachments if one.content_id and one.kind in _IMAGES}
        return '<base target="_blank">' + _CID.sub(lambda found: _picture(found, pictures), self.html)

    @property
    def text(self) -> str:
        """The text to show: the plain body, or the HTML one without its tags."""
        return self.plain if self.plain is not None else _TAG.sub(" ", self.html or "")


def read_contents(raw: bytes) -> MailContents:
    r"""Return the contents of a mail. Never raises for what the mail holds.

    Example:
        >>> read_contents(b"Subject: Hi\r\n\r\nHello").plain
        'Hello'
    """
    try:
        return _contents(email.message_from_bytes(raw, policy=email.policy.default))
    except Exception:  # noqa: BLE001  the parser raises any exception on malformed mail, RecursionError on a deep one
        header = BytesHeaderParser().parsebytes(raw)  # of the old policy, which interprets no field
        return MailContents(header=tuple(_fields(header)), plain=None, html=None, attachments=())


def _contents(message: Message) -> MailContents:
    bodies = {kind: _body(message, kind) for kind in _BODIES}
    plain, html = (None if part is None else _text(part) for part in bodies.values())
    others = (part for part in _leaves(message) if all(part is not body for body in bodies.values()))
    return MailContents(
        header=tuple(_fields(message)),
        plain=plain,
        html=html,
        attachments=tuple(_attachment(part) for part in others),
    )


def _body(message: Message, kind: str) -> EmailMessage | None:
    try:
        body = message.get_body((kind,)) if isinstance(message, EmailMessage) else None
        return body if isinstance(body, EmailMessage) else None
    except Exception:  # noqa: BLE001  as above
        return None


def _text(part: EmailMessage) -> str | None:
    try:
        return str(part.get_content()).replace("\r\n", "\n")
    except Exception:  # noqa: BLE001  as above
        return None


def _leaves(part: Message) -> Iterator[Message]:
    """Every part that holds no parts of this mail; what an attached mail holds is its own."""
    held = part.get_payload()
    if part.get_content_maintype() != "multipart" or not isinstance(held, list):
        yield part
        return
    for one in held:
        if isinstance(one, Message):
            yield from _leaves(one)


def _attachment(part: Message) -> CaughtAttachment:
    return CaughtAttachment(
        name=_file_name(part),
        kind=part.get_content_type(),
        content_id=str(part.get("Content-ID", "")).strip().strip("<>"),
        octets=_octets(part),
    )


def _file_name(part: Message) -> str:
    try:
        return part.get_filename("")
    except Exception:  # noqa: BLE001  as above
        return ""


def _octets(part: Message) -> bytes:
    try:
        decoded = part.get_payload(decode=True)
        return decoded if isinstance(decoded, bytes) else part.as_bytes().partition(b"\n\n")[2]
    except Exception:  # noqa: BLE001  as above
        return b""


def _fields(message: Message) -> Iterator[tuple[str, str]]:
    for name, value in message.raw_items():
        try:
            yield name, str(email.policy.default.header_fetch_parse(name, value))
        except Exception:  # noqa: BLE001  as above
            yield name, " ".join(str(value).split())


def _picture(found: re.Match[str], pictures: dict[str, CaughtAttachment]) -> str:
    picture = pictures.get(unquote(found[1]))
    if picture is None:
        return found[0]
    return f"data:{picture.kind};base64,{b64encode(picture.octets).decode('ascii')}"
