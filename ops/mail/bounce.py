"""A bounce as others write it: what a delivery status report (RFC 3464) says, without believing more than that.

    multipart/report; report-type=delivery-status
        1  words for people, ignored
        2  message/delivery-status: a block for the message, then one for each recipient
        3  message/rfc822 or text/rfc822-headers: our mail, and in it our Message-ID

Pure, and made for hostile input: anybody may send us anything. Only the first MiB is read, which holds everything
but the end of a mail that was returned whole. Whatever is no such report is `NotAReport`, with the reason; there
is no guessing from words, since "mailbox unavailable" is written about full and about dead ones alike.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.errors import MessageError
from email.message import Message
from email.parser import BytesParser, HeaderParser
from typing import Literal

SIZE_LIMIT = 1024 * 1024
"""Octets that are read."""
RECIPIENT_LIMIT = 100
"""Blocks of recipients that are read; our mails have one."""

Action = Literal["failed", "delayed", "delivered", "relayed", "expanded"]

_ACTIONS: tuple[Action, ...] = ("failed", "delayed", "delivered", "relayed", "expanded")
_STATUS = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?![\d.])")
_MESSAGE_ID = re.compile(r"<([A-Za-z0-9-]{1,128})@[^<>\s@]{1,255}>")
_ADDRESS = re.compile(r"(?:[A-Za-z0-9-]{1,32};)?\s*<?([^\s<>;]{1,254}@[^\s<>;@]{1,253})>?\s*\Z")
_GENERIC = {"0.0"}
"""Details that say nothing; the reply's own code may say more."""


class NotAReport(ValueError):
    """A message that is no delivery status report; the words say what is missing, and hold none of its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
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
class Report:
    """A delivery status report.

    Attributes:
        id: the same for the same report however often it comes.
        message_id: the left part of the Message-ID that it is about; empty when it names none.
        reporter: the server that wrote it, as it calls itself.
    """

    id: str
    message_id: str
    reporter: str
    failures: tuple[Failure, ...]


def read_report(octets: bytes) -> Report:
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


def _report(message: Message) -> Report:
    if message.get_content_type() != "multipart/report":
        raise NotAReport("it is not a multipart/report")
    parts = message.get_payload()
    status = next((part for part in _parts(parts) if part.get_content_type() == "message/delivery-status"), None)
    if status is None:
        raise NotAReport("it has no part message/delivery-status")
    blocks = list(_parts(status.get_payload()))
    failures = tuple(_failures(blocks[1 : 1 + RECIPIENT_LIMIT]))
    if not failures:
        raise NotAReport("it names no recipient with an action")
    message_id = _message_id(message, list(_parts(parts)))
    told = repr((message_id, failures)).encode("utf-8", "surrogatepass")
    return Report(
        id=hashlib.sha256(told).hexdigest()[:32],
        message_id=message_id,
        reporter=_text(blocks[0], "Reporting-MTA").partition(";")[2].strip()[:255],
        failures=failures,
    )


def _parts(payload: object) -> Iterator[Message]:
    if isinstance(payload, list):
        yield from (part for part in payload if isinstance(part, Message))


def _failures(blocks: list[Message]) -> Iterator[Failure]:
    for block in blocks:
        action = _text(block, "Action").strip().lower()
        known = next((one for one in _ACTIONS if one == action), None)
        addresses = tuple(dict.fromkeys(_addresses(block)))
        if known is None or not addresses:
            continue
        diagnostic = _text(block, "Diagnostic-Code")
        yield Failure(
            addresses=addresses, action=known, status=_status(block, diagnostic), diagnostic=diagnostic[:500]
        )


def _addresses(block: Message) -> Iterator[str]:
    for name in ("Original-Recipient", "Final-Recipient"):
        if found := _ADDRESS.match(_text(block, name)):
            yield found[1].lower()


def _status(block: Message, diagnostic: str) -> str:
    """The status, or the one that the last server gave where the report's own says nothing."""
    own = _STATUS.search(_text(block, "Status"))
    theirs = _STATUS.search(diagnostic)
    if own and f"{own[2]}.{own[3]}" not in _GENERIC:
        return own[0]
    return theirs[0] if theirs else own[0] if own else ""


def _message_id(report: Message, parts: list[Message]) -> str:
    """The Message-ID of the mail that came back; of the report's references when it did not come along."""
    for part in parts:
        for original in _originals(part):
            if found := _MESSAGE_ID.search(_text(original, "Message-ID")):
                return found[1]
    for name in ("References", "In-Reply-To"):
        if found := _MESSAGE_ID.search(_text(report, name)):
            return found[1]
    return ""


def _originals(part: Message) -> Iterator[Message]:
    kind = part.get_content_type()
    if kind == "message/rfc822":
        yield from _parts(part.get_payload())
    elif kind in {"text/rfc822-headers", "message/rfc822-headers"}:
        payload = part.get_payload(decode=True)
        if isinstance(payload, bytes):
            yield HeaderParser().parsestr(payload.decode("utf-8", "replace"))
        yield from _parts(part.get_payload())


def _text(message: Message, name: str) -> str:
    """A header's text on one line; a report may have any octets in it."""
    return " ".join(str(message.get(name, "")).split())
