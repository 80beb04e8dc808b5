"""A mail as a backend asks for it, and the frozen mail that travels.

Composing happens where the caller is, so that every refusal reaches the caller and nothing half-done is
queued. What is composed is frozen: subject, text, html, date and id are fixed, and every attempt builds
the same octets from them.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import ClassVar, Literal

from ..policy import Policy
from .address import normal_address
from .errors import BodyTooLarge, EmptyBody, InvalidPart, UnsafeHeader
from .header import refuse_unsafe
from .templates import Rendered, render
from .values import plain_values

BODY_LIMIT = 256 * 1024
"""Octets of subject, text and HTML together, in UTF-8."""
SUBJECT_LIMIT = 255
"""Characters. Longer subjects are cut by every reader of mail."""
NAME_LIMIT = 255
"""Characters of a sender's name, so that name and address always fit one header line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One mail to one person: either a template with its values, or ready parts.

    Safe to deliver twice only in so far as the receiver drops a known Message-ID; see docs/mail.md.

    Attributes:
        to: the recipient, ``name@domain`` and nothing else.
        template: a template's name, with ``values`` for its holes and ``locale`` for its language.
        subject, text, html: ready parts, used when there is no template; HTML is sent as it is.
        sender, sender_name: who it is from; left out, the worker's configured sender.
        reply_to: where answers go.
        urgency: which of the three mail lanes it waits in.

    Example:
        >>> Mail(to="ana@example.com", subject="Hola", text="Buenos días").lane
        'mail.normal'
    """

    kind: ClassVar[str] = "mail.send"
    policy: ClassVar[Policy] = Policy(
        tries=30,
        first_wait=timedelta(seconds=5),
        longest_wait=timedelta(hours=1),
        horizon=timedelta(hours=24),
    )

    to: str
    template: str | None = None
    values: Mapping[str, object] = field(default_factory=dict)
    locale: str = "es"
    subject: str | None = None
    text: str | None = None
    html: str | None = None
    sender: str | None = None
    sender_name: str | None = None
    reply_to: str | None = None
    urgency: Literal["urgent", "normal", "bulk"] = "normal"

    @property
    def lane(self) -> str:
        """The lane it waits in."""
        if self.urgency not in ("urgent", "normal", "bulk"):
            raise InvalidPart("urgency", f"must be urgent, normal or bulk, not {self.urgency!r}")
        return f"mail.{self.urgency}"

    def fingerprint(self) -> str:
        """What makes two requests the same mail: all that was asked for, and no clock or id of ours."""
        asked = {one.name: getattr(self, one.name) for one in fields(self)}
        asked["values"] = dict(self.values)
        canonical = json.dumps(asked, sort_keys=True, ensure_ascii=True, default=str)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def compose(self, *, job_id: str, now: datetime) -> Mapping[str, object]:
        """The frozen mail: what the worker turns into octets, the same ones at every attempt.

        Args:
            job_id: becomes the left part of the Message-ID.
            now: becomes the Date; aware.

        Raises:
            MailError: one of its kinds, naming the field; see :mod:`jobs.mail.errors`.
        """
        to = normal_address(self.to, field="to")
        self._check_texts()
        parts = self._parts()
        _check_parts(parts)
        return {
            "message_id": "".join(c for c in job_id if c.isalnum() or c == "-"),
            "date": format_datetime(now.astimezone(UTC)),
            "sender": self._optional_address(self.sender, "sender"),
            "sender_name": self._name(),
            "reply_to": self._optional_address(self.reply_to, "reply_to"),
            "to": to,
            "subject": parts.subject,
            "text": parts.text,
            "html": parts.html,
        }

    def _check_texts(self) -> None:
        optional = ("template", "subject", "text", "html", "sender_name")
        for name in ("locale", *(name for name in optional if getattr(self, name) is not None)):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise InvalidPart(name, f"must be a text, not {type(value).__name__}")

    def _parts(self) -> Rendered:
        ready = [name for name in ("subject", "text", "html") if getattr(self, name) is not None]
        if self.template is None:
            return Rendered((self.subject or "").strip(), self.text or "", self.html or "")
        if ready:
            raise InvalidPart(ready[0], "a mail has either a template or ready parts, not both")
        return render(self.template, self.locale, plain_values(self.values))

    @staticmethod
    def _optional_address(value: str | None, name: str) -> str | None:
        return None if value is None else normal_address(value, field=name)

    def _name(self) -> str | None:
        name = self.sender_name
        if name is not None:
            refuse_unsafe(name, field="sender_name")
            if len(name) > NAME_LIMIT:
                raise InvalidPart("sender_name", f"has {len(name)} characters, at most {NAME_LIMIT} are allowed")
        return name


def _check_parts(parts: Rendered) -> None:
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
    _check_size(parts)


def _check_size(parts: Rendered) -> None:
    size = sum(_octets(part, field=name) for name, part in asdict(parts).items())
    if size > BODY_LIMIT:
        largest = "html" if len(parts.html) > len(parts.text) else "text"
        raise BodyTooLarge(
            largest, f"the mail has {size} octets, at most {BODY_LIMIT} are allowed; link to it instead"
        )


def _octets(part: str, *, field: str) -> int:
    try:
        return len(part.encode())
    except UnicodeEncodeError:
        raise InvalidPart(field, "holds a lone surrogate, which is no character; decode it properly") from None
