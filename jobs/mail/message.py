"""A mail as a backend asks for it, and the frozen mail that travels.

Composing happens where the caller is, so that every refusal reaches the caller and nothing half-done is
queued. What is composed is frozen: subject, text, html, date and id are fixed, and every attempt builds
the same octets from them.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import ClassVar, Literal

from ..policy import Policy
from .address import normal_address
from .errors import BodyTooLarge, EmptyBody, InvalidPart, UnsafeHeader
from .header import refuse_unsafe
from .templates import Rendered, render

BODY_LIMIT = 256 * 1024
"""Octets of subject, text and HTML together, in UTF-8."""
SUBJECT_LIMIT = 255
"""Characters. Longer subjects are cut by every reader of mail."""


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
        if self.urgency not in {"urgent", "normal", "bulk"}:
            raise InvalidPart("urgency", f"must be urgent, normal or bulk, not {self.urgency!r}")
        return f"mail.{self.urgency}"

    def fingerprint(self) -> str:
        """What makes two requests the same mail: all that was asked for, and no clock or id of ours."""
        asked = {name: getattr(self, name) for name in self.__slots__}
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
        parts = self._parts()
        _check_parts(parts)
        return {
            "message_id": "".join(c for c in job_id if c.isalnum() or c == "-"),
            "date": format_datetime(now.astimezone(UTC)),
            "sender": self._optional_address(self.sender, "sender"),
            "sender_name": self._header_text(self.sender_name, "sender_name"),
            "reply_to": self._optional_address(self.reply_to, "reply_to"),
            "to": to,
            "subject": parts.subject,
            "text": parts.text,
            "html": parts.html,
        }

    def _parts(self) -> Rendered:
        ready = [name for name in ("subject", "text", "html") if getattr(self, name) is not None]
        if self.template is None:
            return Rendered((self.subject or "").strip(), self.text or "", self.html or "")
        if ready:
            raise InvalidPart(ready[0], "a mail has either a template or ready parts, not both")
        self._check_values()
        return render(self.template, self.locale, self.values)

    def _check_values(self) -> None:
        """Values meet a header in the subject: name the guilty one rather than the subject."""
        for name, value in self.values.items():
            for text in value if isinstance(value, list | tuple) else (value,):
                if isinstance(text, str):
                    _refuse_in_value(text, field=f"values.{name}")

    @staticmethod
    def _optional_address(value: str | None, name: str) -> str | None:
        return None if value is None else normal_address(value, field=name)

    @staticmethod
    def _header_text(value: str | None, name: str) -> str | None:
        if value is not None:
            refuse_unsafe(value, field=name)
        return value


def _refuse_in_value(text: str, *, field: str) -> None:
    """Line breaks and tabs may stand in a body; whether they reach the subject is checked on the subject."""
    refuse_unsafe(text.replace("\r\n", " ").replace("\n", " ").replace("\t", " "), field=field)


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
    try:
        size = sum(len(part.encode()) for part in (parts.subject, parts.text, parts.html))
    except UnicodeEncodeError:
        raise InvalidPart("text", "holds a lone surrogate, which is no character; decode it properly") from None
    if size > BODY_LIMIT:
        largest = "html" if len(parts.html) > len(parts.text) else "text"
        raise BodyTooLarge(
            largest, f"the mail has {size} octets, at most {BODY_LIMIT} are allowed; link to it instead"
        )
