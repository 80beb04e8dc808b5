"""A Django message as a request to send: its `Mail`, its key and its times. Pure.

A message may also say how it is sent: by its attribute ``momentus``, a dict, or by the header fields
``X-Momentus-Key``, ``-Urgency``, ``-Stream``, ``-Account``, ``-Thread``, ``-Unsubscribe`` and ``-Limit``. They are
taken out: no recipient sees them.

Left to the worker: encoding, Date and Message-ID. What cannot be carried is refused by Django's name of the field.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage
from momentus_client.django.addresses import MailAddress, read_address, read_addresses
from momentus_client.django.configuration import Configuration
from momentus_client.django.files import read_attachments
from momentus_client.jobs import InvalidPart, Mail

SEND_OPTIONS = frozenset({"key", "delay", "at", "expires", "limit"})
MAIL_OPTIONS = frozenset({"urgency", "stream", "account", "thread", "unsubscribe"})
OPTIONS = SEND_OPTIONS | MAIL_OPTIONS
IN_HEADERS = OPTIONS - {"delay", "at", "expires"}
"""Options whose value is a text, which header fields may give."""
PREFIX = "x-momentus-"
UNSET_SENDERS = ("webmaster@localhost", "root@localhost")
"""Django's DEFAULT_FROM_EMAIL and SERVER_EMAIL where no project set them: the worker's sender is used."""
ALWAYS_THERE = {"auto-submitted": "auto-generated", "x-auto-response-suppress": "all"}
ONE_CLICK = "list-unsubscribe=one-click"


@dataclass(frozen=True)
class MailRequest:
    """A mail and the other arguments of ``send``."""

    mail: Mail
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str | None:
        """Key of the piece of work, or None."""
        key: str | None = self.options.get("key")
        return key


def mail_request(message: EmailMessage, defaults: Configuration) -> MailRequest:
    """Return the request that a message describes.

    Args:
        defaults: urgency, stream, account and private domains of a message that does not say.

    Raises:
        MailError: something cannot be carried; the rest is checked when the mail is composed.
    """
    headers = _Headers(message.extra_headers)
    options = {**_attribute(message), **headers.options}
    fields: dict[str, Any] = {
        **_sender(headers.taken.get("from", message.from_email)),
        "to": _one_or_all(read_addresses(message.to, "to")),
        "subject": str(message.subject),
        "urgency": defaults.urgency,
        "stream": defaults.stream,
        "account": defaults.account,
        "private_domains": defaults.private_domains,
        **_more_addresses(message, headers),
        **_bodies(message),
        **({"attachments": _files(message)} if message.attachments else {}),
        **({"headers": headers.left} if headers.left else {}),
        **({"unsubscribe": headers.unsubscribe} if headers.unsubscribe else {}),
        **{name: value for name, value in options.items() if name in MAIL_OPTIONS},
    }
    return MailRequest(Mail(**fields), {name: options[name] for name in SEND_OPTIONS & options.keys()})


class _Headers:
    """Header fields of a message, sorted by who writes them."""

    def __init__(self, headers: Mapping[str, Any]) -> None:
        self.options: dict[str, Any] = {}
        self.taken: dict[str, str] = {}
        self.left: dict[str, str] = {}
        for name, value in headers.items():
            self._sort(str(name), str(value))
        self.unsubscribe = self._one_click()

    def _sort(self, name: str, value: str) -> None:
        lower = name.lower()
        if lower.startswith(PREFIX):
            self.options[known_option(lower.removeprefix(PREFIX), f"headers.{name}", IN_HEADERS)] = value
        elif lower in ("from", "reply-to"):
            self.taken[lower] = value
        elif lower in ("to", "cc", "bcc"):
            raise InvalidPart(
                f"headers.{name}", f"would name recipients other than {lower}=; use only that argument"
            )
        elif value.lower() != ALWAYS_THERE.get(lower):
            self.left[name] = value

    def _one_click(self) -> str:
        """Return the one-click link (RFC 8058) if both its fields are present; `Mail` writes them itself."""
        names = {name.lower(): name for name in self.left}
        link, click = names.get("list-unsubscribe"), names.get("list-unsubscribe-post")
        if not link or not click or self.left[click].lower() != ONE_CLICK:
            return ""
        del self.left[click]
        return self.left.pop(link).strip().removeprefix("<").removesuffix(">")


def _attribute(message: EmailMessage) -> dict[str, Any]:
    given = getattr(message, "momentus", None) or {}
    if not isinstance(given, Mapping):
        raise InvalidPart("momentus", f"must be a dict of options, not {type(given).__name__}")
    return {known_option(str(name), f"momentus[{name!r}]", OPTIONS): value for name, value in given.items()}


def known_option(name: str, field: str, known: frozenset[str]) -> str:
    """Return the name of an option. Raises InvalidPart, naming the field, if there is no such option."""
    if name in known:
        return name
    near = get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"the options are {', '.join(sorted(known))}"
    raise InvalidPart(field, f"is not an option; {hint}")


def _sender(value: object) -> dict[str, str]:
    if str(value) in UNSET_SENDERS:
        return {}
    sender = read_address(value, "from_email")
    if isinstance(sender, MailAddress):
        return {"sender": sender.addr_spec, "sender_name": sender.display_name}
    return {"sender": sender}


def _more_addresses(message: EmailMessage, headers: _Headers) -> dict[str, Any]:
    reply_to = message.reply_to or ([headers.taken["reply-to"]] if "reply-to" in headers.taken else [])
    given = {"cc": message.cc, "bcc": message.bcc, "reply_to": reply_to}
    return {name: _one_or_all(read_addresses(values, name)) for name, values in given.items() if values}


def _one_or_all(addresses: list[str | MailAddress]) -> str | list[str | MailAddress]:
    """Return a single plain address as a string, which workers of earlier versions can send too."""
    return addresses[0] if len(addresses) == 1 and isinstance(addresses[0], str) else addresses


def _bodies(message: EmailMessage) -> dict[str, Any]:
    """Return the mail's bodies; a message may have one of each type."""
    given = [(message.body, f"text/{message.content_subtype}", "body")] if message.body else []
    for place, (content, kind) in enumerate(getattr(message, "alternatives", None) or ()):
        given.append((content, kind, f"alternatives[{place}]"))
    bodies: dict[str, Any] = {}
    for content, kind, field_name in given:
        _add_body(bodies, kind.partition(";")[0].strip().lower(), _text(content, field_name), field_name)
    return bodies


def _add_body(bodies: dict[str, Any], kind: str, text: str, field: str) -> None:
    named = {"text/plain": "text", "text/html": "html", "text/calendar": "calendar"}
    if not kind.startswith("text/"):
        raise InvalidPart(field, f"{kind} cannot be sent as a body; attach it as a file")
    place, name = (bodies, named[kind]) if kind in named else (bodies.setdefault("alternatives", {}), kind)
    if name in place:
        raise InvalidPart(field, f"is a second body of type {kind}; keep one, or attach it as a file")
    place[name] = text


def _text(content: object, field: str) -> str:
    if isinstance(content, bytes):
        raise InvalidPart(field, "must be a string, not bytes; decode it")
    return str(content)


def _files(message: EmailMessage) -> list[Any]:
    return read_attachments(message.attachments, message.encoding or settings.DEFAULT_CHARSET)
