"""SMTP commands of a letter, and the meaning of the replies to them. Pure.

The letter is not trusted: an address with a line break would be a command of its own, and some servers take a dot
after a bare CR or LF for the end of the mail (SMTP smuggling, CVE-2023-51764). Such a letter is refused before the
first byte is sent.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jobs.mail.letter import Letter
from worker.mail.smtp.errors import MailRefused, MalformedMail
from worker.mail.smtp.protocol import SMTPReply
from worker.mail.smtp.reply import Refusal, Stage

_ADDRESS = re.compile(r"[!-;=?-~]{1,320}")
"""Printable ASCII without space and angle brackets, so that an address cannot end its command early."""
_TEMPORARY = 4


@dataclass(slots=True)  # not frozen, for the same reason as a letter
class Acceptance:
    """Acceptance of a mail: the server took responsibility for it (RFC 5321, 4.2.5).

    Attributes:
        text: the text of the 250 reply, which often holds the server's queue id.
        refused: the refused recipients, each with its reply; all others are accepted.
    """

    text: str = field(repr=False)
    refused: Mapping[str, Refusal] = field(default_factory=dict, repr=False)


@dataclass(slots=True)
class Commands:
    """Commands before the body, one per line, each with its stage."""

    lines: list[bytes] = field(repr=False)
    stages: Sequence[Stage]


_FOR_ONE: tuple[Stage, ...] = ("mail", "rcpt", "data")
"""Stages of a mail to one recipient."""


def write_commands(letter: Letter, extensions: Mapping[str, str]) -> Commands:
    """Write MAIL, a RCPT for each recipient, and DATA.

    Args:
        extensions: the server's EHLO keywords in lower case, with their parameters.

    Raises:
        MalformedMail: the letter cannot be sent safely, or is larger than the server's SIZE.
    """
    _check(letter, extensions.get("size", ""))
    size = f" SIZE={len(letter.content)}" if "size" in extensions else ""
    lines = [f"MAIL FROM:<{letter.sender}>{size}\r\n".encode("ascii")]
    lines += [f"RCPT TO:<{recipient}>\r\n".encode("ascii") for recipient in letter.recipients]
    stages = _FOR_ONE if len(letter.recipients) == 1 else ("mail", *_FOR_ONE[1:2] * len(letter.recipients), "data")
    return Commands([*lines, b"DATA\r\n"], stages)


def write_body(content: bytes) -> bytes:
    """Return the body with dots at line starts doubled (RFC 5321, 4.5.2) and a CRLF at its end.

    Only the part up to the last dot is searched for line starts: mostly the header, as base64 has no dots.

    Raises:
        MalformedMail: a dot follows a bare CR or LF, which some servers take for the end of the mail.
    """
    end = content.rfind(b".") + 1
    has_dots = content.startswith(b".") or content.find(b"\n.", 0, end) >= 0 or content.find(b"\r.", 0, end) >= 0
    stuffed = _double_dots(content) if has_dots else content
    return stuffed if stuffed.endswith(b"\r\n") else stuffed + b"\r\n"


def _double_dots(content: bytes) -> bytes:
    pieces, start = [], 0
    at = content.find(b".")
    while at >= 0:
        if at == 0 or content[at - 2 : at] == b"\r\n":
            pieces.append(content[start:at])
            start = at
        elif content[at - 1] in b"\r\n":
            raise MalformedMail(Refusal("data", 554, "5.6.0 the mail has a dot after a bare CR or LF; not sent"))
        at = content.find(b".", at + 1)
    return b".".join([*pieces, content[start:]])


def refused_recipients(letter: Letter, replies: Sequence[SMTPReply]) -> dict[str, Refusal]:
    """Return the refused recipients, each with its reply, among those that have one."""
    return {
        recipient: Refusal("rcpt", reply.code, reply.text)
        for recipient, reply in zip(letter.recipients, replies[1:], strict=False)
        if not is_completion(reply)
    }


def find_refusal(letter: Letter, replies: Sequence[SMTPReply]) -> MailRefused | None:
    """Find the refusal for which the body must not follow, in the replies so far, or None.

    Servers that refuse the sender refuse the recipients too, and without a recipient they refuse DATA (RFC 2920,
    3.1), so the first refusal counts.
    """
    if not replies or (is_intermediate(replies[-1]) and all(map(is_completion, replies[:-1]))):
        return None
    if not is_completion(replies[0]):
        return MailRefused(Refusal("mail", replies[0].code, replies[0].text))
    refused = refused_recipients(letter, replies)
    if len(refused) == len(letter.recipients):
        passing = [reply for reply in refused.values() if reply.code // 100 == _TEMPORARY]
        return MailRefused(next(iter(passing or refused.values())), refused)
    if len(replies) > len(letter.recipients) + 1 and not is_intermediate(replies[-1]):
        return MailRefused(Refusal("data", replies[-1].code, replies[-1].text))
    return None


def is_completion(reply: SMTPReply) -> bool:
    """True for 2yz, a positive completion reply (RFC 5321, 4.2.1); also 251, the server will forward."""
    return 200 <= reply.code < 300  # noqa: PLR2004  the first digit


def is_refusal(reply: SMTPReply) -> bool:
    """True for 4yz or 5yz, a negative completion reply."""
    return reply.code >= 400  # noqa: PLR2004  the first digit


def is_intermediate(reply: SMTPReply) -> bool:
    """True for 3yz, a positive intermediate reply: after 354 the body may follow."""
    return 300 <= reply.code < 400  # noqa: PLR2004  the first digit


def _check(letter: Letter, limit: str) -> None:
    if letter.sender and not _ADDRESS.fullmatch(letter.sender):  # an empty sender is the reverse-path of bounces
        raise MalformedMail(Refusal("mail", 501, "5.1.7 the sender's address is not safe in a command; not sent"))
    for recipient in letter.recipients:
        if not _ADDRESS.fullmatch(recipient):
            raise MalformedMail(
                Refusal("rcpt", 501, "5.1.3 a recipient's address is not safe in a command; not sent")
            )
    if not letter.recipients:
        raise MalformedMail(Refusal("rcpt", 501, "5.1.3 the mail has no recipient; not sent"))
    size = len(letter.content)
    if limit.isdigit() and 0 < int(limit) < size:  # 0: no limit is known (RFC 1870, 4)
        raise MalformedMail(
            Refusal("mail", 552, f"5.3.4 the mail has {size} bytes, the server accepts {limit}; not sent")
        )
