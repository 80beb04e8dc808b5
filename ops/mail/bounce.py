"""A bounce as others write it: what a delivery status report (RFC 3464) says, without believing more than that.

    multipart/report; report-type=delivery-status
        1  words for people; only a reply that they quote behind the recipient's address is read
        2  message/delivery-status: a block for the message, then one for each recipient
        3  message/rfc822 or text/rfc822-headers: our mail, and in it our Message-ID

The part with the status is what counts, not the wrapping: OpenSMTPD sends multipart/mixed, others forward a report
as an attachment, leave out the report-type, or encode the part in base64. The outermost such part is taken, since
a mail that was returned whole may hold another's report.

Pure, and made for hostile input: anybody may send us anything. Only the first MiB is read, which holds everything
but the end of a mail that was returned whole. Whatever is no such report is `NotAReport`, with the reason; there
is no guessing from words, since "mailbox unavailable" is written about full and about dead ones alike.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from email.errors import MessageError
from email.message import Message
from email.parser import BytesParser, HeaderParser
from itertools import islice
from typing import Literal

from jobs.mail.mailbox import status_in

SIZE_LIMIT = 1024 * 1024
"""Octets that are read."""
RECIPIENT_LIMIT = 100
"""Blocks of recipients that are read; our mails have one."""

Action = Literal["failed", "delayed", "delivered", "relayed", "expanded"]

_ACTIONS: tuple[Action, ...] = ("failed", "delayed", "delivered", "relayed", "expanded")
_MESSAGE_ID = re.compile(r"<([A-Za-z0-9-]{1,128})@[^<>\s@]{1,255}>")
_ADDRESS = re.compile(r"(?:[A-Za-z0-9-]{1,32};)?\s*<?([^\s<>;]{1,254}@[^\s<>;@]{1,253})>?\s*\Z")
_GENERIC = {"0.0"}
"""Details that say nothing; the reply's own code may say more."""
_STATUS_PARTS = {"message/delivery-status", "message/global-delivery-status"}
"""The second is that of mails with SMTPUTF8 (RFC 6533)."""
_DEPTH_LIMIT = 6
"""Wrappings around the status; a forwarded report has four."""
_PART_LIMIT = 200
_DIAGNOSTIC_LIMIT = 1000
_NOTICE_LIMIT = 64 * 1024
_QUOTED = re.compile(r"\s{0,8}<?([^\s<>]{1,254}@[^\s<>@:]{1,253})>?: ([245]\d\d[ -].*)")


class NotAReport(ValueError):
    """A message that is no delivery status report; the words say what is missing, and hold none of its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientFailure:
    """What a report says of one recipient.

    Attributes:
        addresses: the one that was written to and the one it ended at, where they differ; in lower case.
        status: the enhanced code, such as ``5.1.1``; empty for none.
        diagnostic: the last server's words, if it quotes them; may hold an address.
    """

    addresses: tuple[str, ...]
    action: Action
    status: str
    diagnostic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BounceReport:
    """A delivery status report.

    Attributes:
        id: the same for the same report however often it comes.
        message_id: the left part of the Message-ID that it is about; empty when it names none.
        reporter: the server that wrote it, as it calls itself.
    """

    id: str
    message_id: str
    reporter: str
    failures: tuple[RecipientFailure, ...]


def read_report(octets: bytes) -> BounceReport:
    """The report in these octets.

    Raises:
        NotAReport: see there.
    """
    try:
        message = BytesParser().parsebytes(octets[:SIZE_LIMIT])
        return _report(message)
    except NotAReport:
        raise
    except (MessageError, RecursionError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise NotAReport(f"it cannot be read: {type(error).__name__}") from None


def id_of(octets: bytes) -> str:
    """What names a message that is no report: a digest of all of it."""
    return hashlib.sha256(octets).hexdigest()[:32]


def _report(message: Message) -> BounceReport:
    found = _find_status(message)
    if found is None:
        raise NotAReport("it has no part message/delivery-status")
    status, around = found
    beside = [one for one in _parts(around.get_payload()) if one is not status]
    blocks = _blocks(status)
    failures = tuple(islice(_failures(blocks, dict(_quoted(beside))), RECIPIENT_LIMIT))
    if not failures:
        raise NotAReport("it names no recipient with an action")
    message_id = _message_id((around, message), beside)
    told = repr((message_id, failures)).encode("utf-8", "surrogatepass")
    return BounceReport(
        id=hashlib.sha256(told).hexdigest()[:32],
        message_id=message_id,
        reporter=_text(blocks[0], "Reporting-MTA").partition(";")[2].strip()[:255],
        failures=failures,
    )


def _find_status(message: Message) -> tuple[Message, Message] | None:
    """The outermost part with a delivery status, and the multipart that holds it."""
    level = [message]
    for _ in range(_DEPTH_LIMIT):
        inner: list[Message] = []
        for whole in level:
            parts = list(_parts(whole.get_payload()))
            if status := next((one for one in parts if one.get_content_type() in _STATUS_PARTS), None):
                return status, whole
            inner += parts
        level = inner[:_PART_LIMIT]
    return None


def _parts(payload: object) -> Iterator[Message]:
    if isinstance(payload, list):
        yield from (part for part in payload if isinstance(part, Message))


def _blocks(status: Message) -> list[Message]:
    """The blocks of a delivery status, the message's own among them."""
    blocks = list(_parts(status.get_payload()))
    encoded = str(status.get("Content-Transfer-Encoding", "")).strip().lower() == "base64"  # RFC 3464 forbids it
    if status.get_content_type() == "message/delivery-status" and not encoded:
        return blocks
    text = "\n".join(block.as_string() for block in blocks).encode("utf-8", "surrogateescape")
    octets = b"Content-Type: message/delivery-status\n\n" + (base64.b64decode(text) if encoded else text)
    return list(_parts(BytesParser().parsebytes(octets).get_payload()))


def _failures(blocks: Iterable[Message], quoted: Mapping[str, str]) -> Iterator[RecipientFailure]:
    for block in blocks:
        action = _text(block, "Action").strip().lower()
        known = next((one for one in _ACTIONS if one == action), None)
        addresses = tuple(dict.fromkeys(_addresses(block)))
        if known is None or not addresses:
            continue
        diagnostic = _text(block, "Diagnostic-Code") or next(
            (quoted[one] for one in addresses if one in quoted), ""
        )
        yield RecipientFailure(
            addresses=addresses,
            action=known,
            status=_status(block, diagnostic),
            diagnostic=diagnostic[:_DIAGNOSTIC_LIMIT],
        )


def _quoted(parts: Iterable[Message]) -> Iterator[tuple[str, str]]:
    """Address and reply of lines like ``ana@example.com: 550 5.1.1 no such user``, as OpenSMTPD writes them."""
    for part in parts:
        payload = part.get_payload(decode=True) if part.get_content_type() == "text/plain" else None
        if isinstance(payload, bytes):
            lines = payload[:_NOTICE_LIMIT].decode("utf-8", "replace").splitlines()
            yield from (
                (found[1].lower(), f"smtp; {found[2]}") for line in lines if (found := _QUOTED.match(line))
            )


def _addresses(block: Message) -> Iterator[str]:
    for name in ("Original-Recipient", "Final-Recipient"):
        if found := _ADDRESS.match(_text(block, name)):
            yield found[1].lower()


def _status(block: Message, diagnostic: str) -> str:
    """The status, or the one that the last server gave where the report's own says nothing."""
    own, theirs = status_in(_text(block, "Status")), status_in(diagnostic)
    return own if own.partition(".")[2] not in {"", *_GENERIC} else theirs or own


def _message_id(reports: Iterable[Message], parts: Iterable[Message]) -> str:
    """The Message-ID of the mail that came back; of the report's references when it did not come along."""
    for part in parts:
        for original in _originals(part):
            if found := _MESSAGE_ID.search(_text(original, "Message-ID")):
                return found[1]
    for report in reports:
        for name in ("References", "In-Reply-To"):
            if found := _MESSAGE_ID.search(_text(report, name)):
                return found[1]
    return ""


def _originals(part: Message) -> Iterator[Message]:
    kind = part.get_content_type()
    if kind in {"message/rfc822", "message/global"}:
        yield from _parts(part.get_payload())
    elif kind in {"text/rfc822-headers", "message/rfc822-headers", "message/global-headers"}:
        payload = part.get_payload(decode=True)
        if isinstance(payload, bytes):
            yield HeaderParser().parsestr(payload.decode("utf-8", "replace"))
        yield from _parts(part.get_payload())


def _text(message: Message, name: str) -> str:
    """A header's text on one line; a report may have any octets in it."""
    return " ".join(str(message.get(name, "")).split())
