"""Reading of a message's body and files, part by part.

    alternative      plain text, HTML, an invitation, and other texts: each once
    related          a body and the images that its HTML shows by their Content-ID
    mixed            a body, then files
    anything else    refused: signed, encrypted and report parts lose their meaning when they are written again

Each part keeps its bytes. A parameter or a header field of a part that would be lost is refused.
"""

from collections.abc import Iterator
from email.message import Message
from typing import Any

from .attachment import Attachment
from .errors import InvalidAttachment, InvalidPart
from .inline_images import referenced_ids

_FIELDS = frozenset(
    {"content-type", "content-transfer-encoding", "content-disposition", "content-id", "mime-version"}
)
_TEXT_PARAMETERS = frozenset({"charset", "method", "name", "component"})
_BODIES = {"text/plain": "text", "text/html": "html", "text/calendar": "calendar"}


def read_parts(message: Message) -> dict[str, Any]:
    """Return ``text``, ``html``, ``calendar``, ``alternatives`` and ``attachments`` of a message.

    Raises:
        MailError: what cannot be carried, by its field.
    """
    found = _MessageParts()
    found.read(message, root=True)
    return found.fields()


class _MessageParts:
    """Parts found so far."""

    def __init__(self) -> None:
        self._bodies: dict[str, str] = {}
        self._alternatives: dict[str, str] = {}
        self._files: list[Message] = []

    def read(self, part: Message, *, root: bool = False) -> None:
        """Read a body, with everything below it."""
        if not root:
            _check_fields(part, "body")
        match part.get_content_type():
            case "multipart/alternative":
                for one in _parts_of(part):
                    self.read(one)
            case "multipart/related" | "multipart/mixed":
                body, *files = _parts_of(part)
                if _is_file(body):
                    files.insert(0, body)
                else:
                    self.read(body)
                self._files += files
            case kind if kind.startswith("text/") and not (root and _is_file(part)):
                self._add_text(kind, part)
            case kind:
                raise InvalidPart(
                    "content_type", f"{kind} cannot be sent as a body; attach it as a file, with a name"
                )

    def fields(self) -> dict[str, Any]:
        """Return the mail's fields."""
        fields: dict[str, Any] = dict(self._bodies)
        if self._alternatives:
            fields["alternatives"] = self._alternatives
        if self._files:
            shown = referenced_ids(self._bodies.get("html", ""))
            fields["attachments"] = [_attachment(one, place, shown) for place, one in enumerate(self._files)]
        return fields

    def _add_text(self, kind: str, part: Message) -> None:
        name = _BODIES.get(kind, f"alternatives.{kind}")
        if name in self._bodies or kind in self._alternatives:
            raise InvalidPart(name, "is present twice; keep one, or attach the other as a file with a name")
        _check_parameters(part, name)
        text = _decoded(part, name)
        if kind in _BODIES:
            self._bodies[name] = text
        else:
            self._alternatives[kind] = text


def _parts_of(part: Message) -> list[Message]:
    parts: Any = part.get_payload()
    if not isinstance(parts, list) or not parts:
        raise InvalidPart("content_type", f"{part.get_content_type()} has no parts; give the message a body")
    return parts


def _is_file(part: Message) -> bool:
    return part.get_content_disposition() == "attachment" or part.get_filename() is not None


def _decoded(part: Message, name: str) -> str:
    charset = part.get_content_charset("us-ascii")
    try:
        return _content(part).decode(charset).replace("\r\n", "\n")
    except (LookupError, UnicodeDecodeError):
        raise InvalidPart(name, f"cannot be decoded as {charset[:40]}; give its real charset") from None


def _content(part: Message) -> bytes:
    content: Any = part.get_payload(decode=True)
    return content if isinstance(content, bytes) else b""


def _attachment(part: Message, place: int, shown: set[str]) -> Attachment:
    field = f"attachments[{place}]"
    _check_fields(part, field)
    _check_parameters(part, f"{field}.type")
    kind = part.get_content_type()
    if part.get_content_maintype() == "multipart":
        raise InvalidAttachment(f"{field}.type", f"{kind} cannot be sent as a file; attach its parts")
    name = part.get_filename()
    if not name:
        raise InvalidAttachment(f"{field}.name", f"is missing ({kind}); give the part a file name")
    content = _parts_of(part)[0].as_bytes() if kind == "message/rfc822" else _content(part)
    cid = str(part.get("Content-ID", "")).strip().removeprefix("<").removesuffix(">")
    charset = part.get_content_charset() if kind.startswith("text/") else None
    return Attachment(
        name=name,
        content=content,
        type=kind,
        charset=charset,
        cid=cid if cid in shown or _is_inline(part) else None,
    )


def _is_inline(part: Message) -> bool:
    return part.get_content_disposition() == "inline" and "Content-ID" in part


def _check_fields(part: Message, field: str) -> None:
    for name in part.keys():  # noqa: SIM118  a message is not a mapping
        if name.lower() not in _FIELDS:
            raise InvalidPart(f"{field}.headers.{name}", "cannot be sent with a part; remove it")


def _check_parameters(part: Message, field: str) -> None:
    for name in _parameters(part):
        if name not in _TEXT_PARAMETERS:
            raise InvalidPart(field, f"has the parameter {name[:40]!r}, which cannot be sent; remove it")


def _parameters(part: Message) -> Iterator[str]:
    for name, _ in (part.get_params() or [])[1:]:
        yield name.lower()
