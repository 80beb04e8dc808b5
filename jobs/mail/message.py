"""Mail requests of a backend, and their composition into the frozen mail that travels.

Composing happens in the caller's process, so that the caller learns of every refusal and nothing half-done is
queued. The composed mail is frozen: subject, text, html, date and id are fixed, and every attempt builds
the same bytes from them.
"""

import hashlib
import json
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..policy import Policy
from .address import normal_address
from .alternatives import freeze_alternatives
from .attachment import Attachment, freeze_attachments
from .calendar import checked_calendar
from .caller_headers import checked_headers, checked_link, thread_id
from .errors import InvalidPart, UnusedValue
from .header import refuse_unsafe
from .inline_images import check_inline
from .parts import check_parts, check_size
from .plain_text import html_to_text
from .recipients import (
    NAME_LIMIT as NAME_LIMIT,
    Addresses,
    freeze_recipients,
    freeze_reply_to,
    has_several,
    is_one_plain,
)
from .rendered_parts import RenderedParts
from .stream import is_stream_name, stream_of
from .templates import SHIPPED, Templates
from .values import plain_values

if TYPE_CHECKING:
    from email.message import Message

_TEXTS = ("template", "locale", "subject", "text", "html", "sender_name")
_NOT_OF_AN_ID = re.compile(r"[^A-Za-z0-9-]")
PAYLOAD_VERSION = 2
"""Version of the payload of a mail that needs more than the first one had, such as several recipients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """One mail: either a template with its values, or ready parts.

    Safe to deliver twice only if the receiver drops a known Message-ID; see docs/mail.md.

    Attributes:
        to: the recipient, ``name@domain`` and nothing else; or a list, at most 100 with ``cc`` and ``bcc``. An
            :class:`email.headerregistry.Address` has a name too.
        cc, bcc: further recipients, one or a list; those of ``bcc`` are in no header field.
        template: a template's name, with ``values`` to fill in and ``locale`` for its language; left out, the
            templates' default.
        subject, text, html: ready parts, used without a template; HTML is sent unchanged.
        sender, sender_name: From address and name; left out, the worker's configured sender.
        reply_to: address for replies, or a list of them.
        urgency: which of the three mail lanes the mail waits in.
        stream: kind of mail; left out, ``transactional``. Policies depend on it.
        unsubscribe: an https address that accepts a POST; mail programs show it as a button (RFC 8058).
        thread: names the subject of several mails, so that they are shown together.
        headers: further header fields, see :mod:`.caller_headers`.
        attachments: files; small ones with their content, others by reference; with a ``cid``, images of the HTML.
        alternatives: further forms of the body, type to text: ``{"text/markdown": "# Cierre"}``.
        calendar: an invitation in iCalendar form, with its METHOD; mail programs show it with buttons.
        account: name of the only mail account that may send it.
        templates: the templates among which ``template`` is looked up.
        private_domains: of ``local``, ``test``, ``home.arpa`` ..., those that have mailboxes in your network.

    Example:
        >>> Mail(to="ana@example.com", subject="Hola", text="Buenos días").lane
        'mail.normal'
    """

    kind = "mail.send"  # no ClassVar, which would not fit the producers' protocol, says pyright
    dated: ClassVar[Literal["due"]] = "due"
    """Its Date is the time from which it may be sent, which a recipient sees; not the time of the call."""
    policy: ClassVar[Policy] = Policy(
        tries=30,
        first_wait=timedelta(seconds=5),
        longest_wait=timedelta(hours=1),
        horizon=timedelta(hours=24),
    )

    to: Addresses = field(repr=False)
    template: str | None = None
    values: Mapping[str, object] = field(default_factory=dict, repr=False)
    locale: str | None = None
    subject: str | None = field(default=None, repr=False)
    text: str | None = field(default=None, repr=False)
    html: str | None = field(default=None, repr=False)
    sender: str | None = field(default=None, repr=False)
    sender_name: str | None = field(default=None, repr=False)
    reply_to: Addresses | None = field(default=None, repr=False)
    urgency: Literal["urgent", "normal", "bulk"] = "normal"
    stream: str | None = None
    unsubscribe: str | None = field(default=None, repr=False)
    thread: str | None = field(default=None, repr=False)
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    attachments: Sequence[Attachment] | None = field(default=None, repr=False)
    account: str | None = None
    cc: Addresses | None = field(default=None, repr=False)
    bcc: Addresses | None = field(default=None, repr=False)
    alternatives: Mapping[str, str] | None = field(default=None, repr=False)
    calendar: str | None = field(default=None, repr=False)
    templates: Templates = field(default=SHIPPED, repr=False, compare=False)
    private_domains: Collection[str] = field(default=(), repr=False, compare=False)

    @classmethod
    def from_email_message(cls, message: "Message", **options: Any) -> "Mail":  # noqa: ANN401  any field of a mail
        """Return the mail that a message of the standard library describes.

        Sender, recipients, subject, further header fields, bodies, images and files are taken over. Date,
        Message-ID and encoding are this package's, as in every mail.

        Args:
            message: an :class:`email.message.EmailMessage`, or the older ``Message``.
            options: fields of the mail that the message does not have (``urgency``, ``stream``, ``account``,
                ``private_domains`` ...), or that replace what it has (``bcc``).

        Raises:
            MailError: something that cannot be carried unchanged, by its field; the rest is refused on sending.

        Example:
            >>> from email.message import EmailMessage
            >>> message = EmailMessage()
            >>> message["To"], message["Subject"] = "Ana <ana@example.com>", "Hola"
            >>> message.set_content("Buenos días")
            >>> Mail.from_email_message(message, urgency="urgent").lane
            'mail.urgent'
        """
        from .email_message import mail_fields  # noqa: PLC0415  its parser costs a tenth of the client's import

        return cls(**{**mail_fields(message), **options})

    @property
    def version(self) -> int:
        """Version of the payload: 1 for a mail that earlier workers can send too; they park all others."""
        if self.cc or self.bcc or self.alternatives or self.calendar:
            return PAYLOAD_VERSION
        if self.attachments and any(getattr(one, "cid", None) for one in self.attachments):
            return PAYLOAD_VERSION
        plain = is_one_plain(self.to) and (self.reply_to is None or is_one_plain(self.reply_to))
        return 1 if plain else PAYLOAD_VERSION

    @property
    def lane(self) -> str:
        """Lane of the mail, by its urgency."""
        if self.urgency not in ("urgent", "normal", "bulk"):
            raise InvalidPart("urgency", f"must be urgent, normal or bulk, not {self.urgency!r}")
        return f"mail.{self.urgency}"

    @property
    def life(self) -> timedelta | None:
        """Time for which the mail is worth sending, by its stream unless the call overrides it."""
        return stream_of(self.stream).expires

    def fingerprint(self) -> str:
        """Return a hash of all given fields, without clock or id, which is equal for requests of the same mail."""
        asked = {one.name: getattr(self, one.name) for one in fields(self) if one.compare}
        given = {name: value for name, value in asked.items() if value is not None}
        given["values"] = dict(self.values)
        given.setdefault("locale", "es")  # unchanged, so that a key of last week still means the same mail
        canonical = json.dumps(given, sort_keys=True, ensure_ascii=True, default=_canonical)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def compose(self, *, job_id: str, now: datetime) -> Mapping[str, object]:
        """Return the frozen mail, from which the worker builds the same bytes at every attempt.

        Args:
            job_id: becomes the left part of the Message-ID.
            now: becomes the Date; aware. For a scheduled mail, the time when it falls due.

        Raises:
            MailError: one of its subclasses, naming the field; see :mod:`jobs.mail.errors`.
        """
        addressed = freeze_recipients(self.to, self.cc, self.bcc, private_domains=self.private_domains)
        self._check_texts()
        parts = self.parts()
        check_parts(parts)
        more = self._more()
        attachments = more.get("attachments", [])
        check_size(parts, attachments, _further_texts(more) if more else ())
        if attachments or "cid:" in parts.html:
            check_inline(parts.html, attachments)
        if self.unsubscribe is not None and has_several(addressed):
            raise InvalidPart(
                "unsubscribe", "belongs to one recipient, but the mail goes to several; send a mail to each"
            )
        return {
            "message_id": _NOT_OF_AN_ID.sub("", job_id),
            "date": _date_field(now.timestamp() // 1),
            **({"template": self.template} if self.template else {}),
            "sender": self._optional_address(self.sender, "sender"),
            "sender_name": self._name(),
            "reply_to": freeze_reply_to(self.reply_to, private_domains=self.private_domains),
            "to": addressed.pop("to"),
            "subject": parts.subject,
            "text": parts.text,
            "html": parts.html,
            **addressed,
            **more,
        }

    def _more(self) -> dict[str, Any]:
        """Return the optional fields; a field without a value is left out."""
        more: dict[str, Any] = {}
        if self.stream is not None:
            more["stream"] = _named("stream", self.stream)
        if self.account is not None:
            more["account"] = _named("account", self.account)
        if self.unsubscribe is not None:
            more["unsubscribe"] = checked_link(self.unsubscribe, field="unsubscribe")
        elif stream_of(self.stream).unsubscribe:
            raise InvalidPart(
                "unsubscribe", f"is missing; mails of the stream {self.stream!r} must have it (RFC 8058)"
            )
        if self.thread is not None:
            more["thread"] = thread_id(self.thread)
        if self.headers:
            more["headers"] = checked_headers(self.headers, threaded=self.thread is not None)
        if self.attachments:
            more["attachments"] = freeze_attachments(self.attachments)
        if self.alternatives:
            more["alternatives"] = freeze_alternatives(self.alternatives)
        if self.calendar is not None:
            more["calendar"] = checked_calendar(self.calendar)
        return more

    def _check_texts(self) -> None:
        given = (self.template, self.locale, self.subject, self.text, self.html, self.sender_name)
        for name, value in zip(_TEXTS, given, strict=True):
            if value is not None and not isinstance(value, str):
                raise InvalidPart(name, f"must be a string, not {type(value).__name__}")

    def parts(self) -> RenderedParts:
        """Return subject, text and HTML before validation.

        Raises:
            MailError: a fault of the template or a value.
        """
        if self.template is None:
            html = self.html or ""
            return RenderedParts((self.subject or "").strip(), self.text or html_to_text(html), html)
        if ready := [name for name in ("subject", "text", "html") if getattr(self, name) is not None]:
            raise InvalidPart(ready[0], "must not be given together with template; give one of them")
        rendered = self.templates.render(self.template, self.locale, plain_values(self.values))
        if rendered.unused:
            names = ", ".join(rendered.unused)
            warnings.warn(f"template {self.template!r} does not use values.{names}", UnusedValue, stacklevel=4)
        return rendered

    def _optional_address(self, value: str | None, name: str) -> str | None:
        return None if value is None else normal_address(value, field=name, private_domains=self.private_domains)

    def _name(self) -> str | None:
        name = self.sender_name
        if name is not None:
            refuse_unsafe(name, field="sender_name")
            if len(name) > NAME_LIMIT:
                raise InvalidPart(
                    "sender_name", f"is too long ({len(name)} characters); at most {NAME_LIMIT} are allowed"
                )
        return name


@lru_cache(maxsize=64)
def _date_field(second: float) -> str:
    """Return the Date of a second since 1970. Cached: the mails of a list share it."""
    from email.utils import format_datetime  # noqa: PLC0415  it loads a tenth of what the client imports

    return format_datetime(datetime.fromtimestamp(second, UTC))


def _further_texts(more: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the texts other than subject, text and HTML, each with its field."""
    if "calendar" not in more and "alternatives" not in more:
        return []
    invitation = [("calendar", more["calendar"])] if "calendar" in more else []
    return invitation + [("alternatives", one["content"]) for one in more.get("alternatives", ())]


def _named(field: str, value: object) -> str:
    if not isinstance(value, str) or not is_stream_name(value):
        raise InvalidPart(field, "must be a lower-case letter and up to 31 lower-case letters, digits or hyphens")
    return value


def _canonical(value: object) -> object:
    """Serialise values that JSON lacks. Attachments are represented by their hash."""
    if isinstance(value, Attachment):
        content = None if value.content is None else hashlib.sha256(value.content).hexdigest()
        said = [value.name, value.type, value.ref, value.sha256, value.size, content]
        if value.charset is not None:  # an attachment without charset and cid keeps its hash
            said.append(value.charset)
        return said if value.cid is None else [*said, f"cid:{value.cid}"]
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)
