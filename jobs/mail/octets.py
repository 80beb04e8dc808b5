"""From a frozen mail to the octets that go out. The same input gives the same octets, always.

Nothing here asks for the time, draws a random number or reads a setting: the boundary is derived from
the Message-ID. Bodies are base64 of UTF-8, so that no relay has a reason to rewrite them and no line can
start with a dot.
"""

from base64 import encodebytes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from .header import encode_text, header_block


@dataclass(frozen=True, slots=True)
class Sender:
    """Who a mail is from: an address that :func:`jobs.mail.address.normal_address` let pass, and a name."""

    address: str
    name: str = ""

    @property
    def domain(self) -> str:
        """The right half of the address."""
        return self.address.rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail ready for the wire: envelope and octets (CR LF line ends, not dot-stuffed)."""

    sender: str
    recipient: str
    octets: bytes


def write_letter(frozen: Mapping[str, object], *, default_sender: Sender) -> Letter:
    """The envelope and the octets of a frozen mail.

    Args:
        frozen: what :meth:`jobs.Mail.compose` returned, after its trip through the queue.
        default_sender: for mails that name none; a mail's own name goes before its address.

    Raises:
        KeyError: a key of the frozen mail is missing.
        UnsafeHeader: a field of the finished header would have been malformed.
    """
    mail = cast("Mapping[str, str | None]", frozen)
    sender = _sender(mail, default_sender)
    head = header_block(_fields(mail, sender))
    body = _body(mail["text"] or "", mail["html"] or "", boundary=_boundary(mail))
    return Letter(sender.address, cast("str", mail["to"]), head + body)


def _sender(mail: Mapping[str, str | None], default: Sender) -> Sender:
    address, name = mail["sender"], mail["sender_name"]
    if address is None:
        return default if name is None else Sender(default.address, name)
    return Sender(address, name or "")


def _fields(mail: Mapping[str, str | None], sender: Sender) -> list[tuple[str, str]]:
    fields = [
        ("From", f"{_phrase(sender.name)} <{sender.address}>" if sender.name else sender.address),
        ("To", cast("str", mail["to"])),
        ("Subject", encode_text(cast("str", mail["subject"]))),
        ("Date", cast("str", mail["date"])),
        ("Message-ID", f"<{mail['message_id']}@{sender.domain}>"),
        ("Auto-Submitted", "auto-generated"),  # RFC 3834: nobody's out-of-office answers it
        ("X-Auto-Response-Suppress", "All"),  # the same, for Exchange
        ("MIME-Version", "1.0"),
    ]
    if mail["reply_to"]:
        fields.insert(2, ("Reply-To", mail["reply_to"]))
    return fields


def _phrase(name: str) -> str:
    """A display name: encoded-words with the address on the next line, or a quoted string (RFC 5322, 3.2.4)."""
    encoded = encode_text(name)
    if encoded != name:
        return f"{encoded}\r\n"
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _boundary(mail: Mapping[str, str | None]) -> str:
    return f"=_{mail['message_id']}"


def _body(text: str, html: str, *, boundary: str) -> bytes:
    parts = [(kind, body) for kind, body in (("plain", text), ("html", html)) if body.strip()]
    if len(parts) == 1:
        return _part(*parts[0])
    divider = f"--{boundary}\r\n".encode()
    head = f'Content-Type: multipart/alternative; boundary="{boundary}"\r\n\r\n'.encode()
    return head + b"".join(divider + _part(*part) for part in parts) + f"--{boundary}--\r\n".encode()


def _part(kind: str, body: str) -> bytes:
    head = f"Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    lines = body.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
    return head.encode() + encodebytes(lines.encode()).replace(b"\n", b"\r\n")
