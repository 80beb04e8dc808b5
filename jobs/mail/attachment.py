"""Attachments: small ones travel in the job, large ones by reference, each with the hash of its content.

A reference is a path below the folder that workers are given (``MOMENTUS_MAIL__ATTACHMENTS``). The worker reads
the file when it sends the mail and compares size and SHA-256, so it notices a file that was changed or removed,
and every attempt sends the same bytes. Types that mail servers refuse anyway (programs, scripts) are
refused here, where the caller learns of it.
"""

import hashlib
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field

from .charset import decodes_as, is_charset
from .errors import BodyTooLarge, InvalidAttachment
from .file_types import type_of
from .header import refuse_unsafe
from .inline_images import checked_cid

INLINE_LIMIT = 64 * 1024
"""Bytes of an attachment that travels in the job; Redis holds every waiting job in memory."""
MESSAGE_LIMIT = 25_000_000
"""Bytes of a finished mail: the most that common providers accept. A server may announce less."""
MOST = 20
"""Largest number of attachments of one mail."""
NAME_LIMIT = 255
"""Bytes of a file's name in UTF-8: what file systems allow, and percent-encoded it fits a line of 998 bytes."""

_TYPE = re.compile(
    r"(?:(?:application|audio|font|image|model|text|video)/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,100}|message/rfc822)\Z"
)
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_REFUSED = frozenset(
    """ade adp apk appx bat cab chm cmd com cpl diagcab dll dmg exe hta ins isp iso jar js jse lnk mde msc msi
    msix msp mst pif ps1 reg scr sct shb sys vb vbe vbs vhd vxd wsc wsf wsh""".split()  # noqa: SIM905  a list to read
)
"""Endings that Gmail and Outlook block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """One file of a mail: either its content, at most 64 KiB, or a reference to it.

    Attributes:
        name: file name shown to the recipient; any language, no folders.
        content: bytes of the file.
        ref: a relative path below the workers' attachment folder, with ``/`` between its parts.
        sha256, size: hash in hex and size in bytes of the file that ``ref`` names.
        type: ``application/pdf`` or the like; left out, it follows from the name.
        charset: of a text or XML file, ``iso-8859-1`` or the like; left out, ``utf-8`` if the bytes are UTF-8.
        cid: name by which the HTML shows it, ``<img src="cid:logo">``; left out, it is a file to be saved.

    Example:
        >>> Attachment(name="aviso.txt", content=b"Hola").frozen(field="attachments[0]")["type"]
        'text/plain'
    """

    name: str = field(repr=False)
    content: bytes | None = field(default=None, repr=False)
    ref: str | None = field(default=None, repr=False)
    sha256: str | None = None
    size: int | None = None
    type: str | None = None
    charset: str | None = None
    cid: str | None = None

    def frozen(self, *, field: str) -> dict[str, object]:
        """Return the attachment for the payload.

        Raises:
            InvalidAttachment, UnsafeHeader, BodyTooLarge: naming ``field`` and the part of it.
        """
        head: dict[str, object] = {"name": _name(self.name, f"{field}.name"), "type": self._type(f"{field}.type")}
        if self.charset is not None:
            head["charset"] = self._charset(f"{field}.charset", str(head["type"]))
        if self.cid is not None:
            head["cid"] = checked_cid(self.cid, field=f"{field}.cid")
        if self.content is None:
            return head | self._reference(field)
        if self.ref is not None:
            raise InvalidAttachment(f"{field}.ref", "must not be given together with content; give one of them")
        return head | _inline(self.content, f"{field}.content")

    def _type(self, field: str) -> str:
        kind = type_of(self.name) if self.type is None else self.type
        if not isinstance(kind, str) or not _TYPE.match(kind):
            raise InvalidAttachment(field, "must be a media type such as application/pdf, without parameters")
        return kind

    def _charset(self, field: str, kind: str) -> str:
        charset = self.charset
        if not isinstance(charset, str) or not is_charset(charset):
            raise InvalidAttachment(field, "must be the name of a character set, such as utf-8 or iso-8859-1")
        if not kind.startswith("text/") and not kind.endswith(("/xml", "+xml")):
            raise InvalidAttachment(field, f"is for text and XML only, not for {kind}; leave it out")
        if isinstance(self.content, bytes) and not decodes_as(charset, self.content):
            raise InvalidAttachment(
                field, f"does not match the content ({charset}); give the character set of the file"
            )
        return charset

    def _reference(self, field: str) -> dict[str, object]:
        ref = self.ref
        if not isinstance(ref, str) or not _is_relative(ref):
            raise InvalidAttachment(
                f"{field}.ref",
                "must be a relative path below the workers' attachment folder, with / and without ..",
            )
        if not isinstance(self.sha256, str) or not _SHA256.match(self.sha256):
            raise InvalidAttachment(f"{field}.sha256", "must be the file's SHA-256 in 64 lower-case hex digits")
        if not isinstance(self.size, int) or isinstance(self.size, bool) or self.size <= 0:
            raise InvalidAttachment(f"{field}.size", "must be the file's size in bytes, more than 0")
        return {"sha256": self.sha256, "size": self.size, "ref": ref}


def freeze_attachments(attachments: object) -> list[dict[str, object]]:
    """Return all attachments of a mail for the payload.

    Raises:
        InvalidAttachment, UnsafeHeader, BodyTooLarge: naming the attachment by its position.
    """
    if isinstance(attachments, str | bytes) or not isinstance(attachments, Sequence) or len(attachments) > MOST:
        raise InvalidAttachment("attachments", f"must be a list of at most {MOST} attachments")
    frozen = []
    for place, one in enumerate(attachments):
        if not isinstance(one, Attachment):
            raise InvalidAttachment(f"attachments[{place}]", f"must be an Attachment, not {type(one).__name__}")
        frozen.append(one.frozen(field=f"attachments[{place}]"))
    return frozen


def _name(name: object, field: str) -> str:
    if not isinstance(name, str) or not name.strip():
        raise InvalidAttachment(field, "must be a non-empty file name")
    refuse_unsafe(name, field=field)
    if len(name.encode()) > NAME_LIMIT:
        raise InvalidAttachment(field, f"is too long; at most {NAME_LIMIT} bytes in UTF-8 are allowed")
    if {"/", "\\"} & set(name) or name.strip(". ") == "" or name != name.strip():
        raise InvalidAttachment(
            field, "must be a file name without folders or spaces around it, and not only dots"
        )
    stem, _, ending = name.rstrip(". ").lower().rpartition(".")  # Windows drops dots and spaces at the end
    if stem and ending in _REFUSED:
        raise InvalidAttachment(field, f"ends in .{ending}, which mail servers refuse; link to the file instead")
    return name


def _inline(content: object, field: str) -> dict[str, object]:
    if not isinstance(content, bytes) or not content:
        raise InvalidAttachment(field, "must be non-empty bytes")
    if len(content) > INLINE_LIMIT:
        raise BodyTooLarge(
            field, f"has {len(content)} bytes; at most {INLINE_LIMIT} travel in the job, so give a reference"
        )
    return {
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "content": b64encode(content).decode(),
    }


def _is_relative(ref: str) -> bool:
    parts = ref.split("/")
    return (
        0 < len(ref) <= 1024  # noqa: PLR2004  longer than any path that a system allows
        and ref.isprintable()
        and "\\" not in ref
        and ":" not in parts[0]
        and all(part not in ("", ".", "..") for part in parts)
    )
