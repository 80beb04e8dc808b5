"""Attachments of a Django message as those of a `Mail`. Pure.

Django has them as ``(filename, content, mimetype)``, or as parts of the standard library: a ``MIMEImage`` with a
Content-ID is an image of the HTML. A file without a name gets one by its place and type.
"""

import mimetypes
from email.message import Message
from typing import Any

from django.core.mail import EmailMessage
from momentus_client.jobs import Attachment, InvalidAttachment

UNKNOWN = "application/octet-stream"


def read_attachments(attachments: list[Any], charset: str) -> list[Attachment]:
    """Return all attachments of a message.

    Args:
        charset: of files that were given as text.

    Raises:
        InvalidAttachment: naming the place.
    """
    return [_attachment(one, f"attachments[{place}]", charset) for place, one in enumerate(attachments)]


def _attachment(one: Any, field: str, charset: str) -> Attachment:  # noqa: ANN401  a tuple or a part
    if isinstance(one, Message):
        return _of_part(one, field)
    name, content, kind = one
    kind = kind or mimetypes.guess_type(name or "")[0] or UNKNOWN
    return Attachment(
        name=name or _name(field, kind),
        content=_bytes(content, field, charset),
        type=kind,
        charset=charset if isinstance(content, str) and kind.startswith("text/") else None,
    )


def _of_part(part: Message, field: str) -> Attachment:
    if part.is_multipart():
        raise InvalidAttachment(field, f"{part.get_content_type()} cannot be sent as a file; attach its parts")
    content, kind = part.get_payload(decode=True), part.get_content_type()
    cid = str(part.get("Content-ID", "")).strip().removeprefix("<").removesuffix(">")
    return Attachment(
        name=part.get_filename() or _name(field, kind),
        content=content if isinstance(content, bytes) else b"",
        type=kind,
        charset=part.get_content_charset() if kind.startswith("text/") else None,
        cid=cid or None,
    )


def _bytes(content: object, field: str, charset: str) -> bytes:
    match content:
        case bytes():
            return content
        case bytearray() | memoryview():
            return bytes(content)
        case str():
            return content.encode(charset)
        case EmailMessage():
            return content.message().as_bytes()
        case Message():
            return content.as_bytes()
    raise InvalidAttachment(f"{field}.content", f"must be bytes or a string, not {type(content).__name__}")


def _name(field: str, kind: str) -> str:
    place = field.partition("[")[2].rstrip("]")
    return f"attachment-{place}{mimetypes.guess_extension(kind) or ''}"
