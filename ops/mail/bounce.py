"""Parser of bounces: delivery status reports (RFC 3464) of other servers, taken literally.

    multipart/report; report-type=delivery-status
        1  text for humans; the parser reads only a reply quoted after the recipient's address
        2  message/delivery-status: a block for the message, then one for each recipient
        3  message/rfc822 or text/rfc822-headers: the sent mail with its Message-ID

Only the part with the status counts, not its wrapping: OpenSMTPD sends multipart/mixed, others forward a report
as an attachment, leave out the report-type, or encode the part in base64. The outermost such part counts, since
a returned mail may itself contain a report.

Pure, and built for hostile input: anyone may send anything to this address. Only the first MiB is read, which
holds everything except the end of a long returned mail. Any other message raises `NotAReport` with the reason. The
parser never guesses from text, since servers write "mailbox unavailable" for full and for missing mailboxes alike.
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
"""Number of bytes that are read."""
RECIPIENT_LIMIT = 100
"""Number of recipients' blocks that are read; a mail sent by a worker has one recipient."""

Action = Literal["failed", "delayed", "delivered", "relayed", "expanded"]

_ACTIONS: tuple[Action, ...] = ("failed", "delayed", "delivered", "relayed", "expanded")
_MESSAGE_ID = re.compile(r"<([A-Za-z0-9-]{1,128})@[^<>\s@]{1,255}>")
_ADDRESS = re.compile(r"(?:[A-Za-z0-9-]{1,32};)?\s*<?([^\s<>;]{1,254}@[^\s<>;@]{1,253})>?\s*\Z")
_GENERIC = {"0.0"}
"""Details without meaning; the reply's own code may be more exact."""
_STATUS_PARTS = {"message/delivery-status", "message/global-delivery-status"}
"""The second type is for mails with SMTPUTF8 (RFC 6533)."""
_DEPTH_LIMIT = 6
"""Number of nested parts around the status; a forwarded report has four."""
_PART_LIMIT = 200
_DIAGNOSTIC_LIMIT = 1000
_NOTICE_LIMIT = 64 * 1024
_QUOTED = re.compile(r"\s{0,8}<?([^\s<>]{1,254}@[^\s<>@:]{1,253})>?: ([245]\d\d[ -].*)")


class NotAReport(ValueError):
    """A message that is not a delivery status report; the error names the missing part and quotes no text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientFailure:
    """A report's statement about one recipient.

    Attributes:
        addresses: the original and the final recipient if they differ, else one; in lower case.
        status: the enhanced status code, such as ``5.1.1``; empty if there is none.
        diagnostic: the last server's reply, if the report quotes it; may hold an address.
    """

    addresses: tuple[str, ...]
    action: Action
    status: str
    diagnostic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BounceReport:
    """A delivery status report.

    Attributes:
        id: the same each time the same report arrives.
        message_id: the left part of the mail's Message-ID; empty if the report names none.
        reporter: the reporting server, by its own name.
    """

    id: str
    message_id: str
    reporter: str
    failures: tuple[RecipientFailure, ...]


def read_report(message_bytes: bytes) -> BounceReport:
    """Parse a message as a delivery status report.

    Raises:
        NotAReport: the message is something else.
    """
    try:
        message = BytesParser().parsebytes(message_bytes[:SIZE_LIMIT])
        return _report(message)
    except NotAReport:
        raise
    except (MessageError, RecursionError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise NotAReport(f"the message cannot be parsed: {type(error).__name__}") from None


def id_of(message_bytes: bytes) -> str:
    """Return an id for a message that is not a report: a digest of all its bytes."""
    return hashlib.sha256(message_bytes).hexdigest()[:32]


def _report(message: Message) -> BounceReport:
    found = _find_status(message)
    if found is None:
        raise NotAReport("the message has no message/delivery-status part")
    status, around = found
    beside = [one for one in _parts(around.get_payload()) if one is not status]
    blocks = _blocks(status)
    failures = tuple(islice(_failures(blocks, dict(_quoted(beside))), RECIPIENT_LIMIT))
    if not failures:
        raise NotAReport("the report names no recipient with an action")
    message_id = _message_id((around, message), beside)
    content = repr((message_id, failures)).encode("utf-8", "surrogatepass")
    return BounceReport(
        id=hashlib.sha256(content).hexdigest()[:32],
        message_id=message_id,
        reporter=_text(blocks[0], "Reporting-MTA").partition(";")[2].strip()[:255],
        failures=failures,
    )


def _find_status(message: Message) -> tuple[Message, Message] | None:
    """Find the outermost part with a delivery status, and the multipart that holds it."""
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
    """Return the blocks of a delivery status, including the message's own."""
    blocks = list(_parts(status.get_payload()))
    encoded = str(status.get("Content-Transfer-Encoding", "")).strip().lower() == "base64"  # RFC 3464 forbids it
    if status.get_content_type() == "message/delivery-status" and not encoded:
        return blocks
    text = "\n".join(block.as_string() for block in blocks).encode("utf-8", "surrogateescape")
    status_part = b"Content-Type: message/delivery-status\n\n" + (base64.b64decode(text) if encoded else text)
    return list(_parts(BytesParser().parsebytes(status_part).get_payload()))


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
    """Yield address and reply of lines like ``ana@example.com: 550 5.1.1 no such user``; OpenSMTPD writes them."""
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
    """Return the block's status, or the last server's if the block's own has no meaning."""
    own, quoted = status_in(_text(block, "Status")), status_in(diagnostic)
    return own if own.partition(".")[2] not in {"", *_GENERIC} else quoted or own


def _message_id(reports: Iterable[Message], parts: Iterable[Message]) -> str:
    """Return the returned mail's Message-ID, or one from the report's references if the mail is missing."""
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
    """Return a header field on one line; a report may have any bytes in it."""
    return " ".join(str(message.get(name, "")).split())
