"""A letter as SMTP commands, and what the answers to them mean. Pure.

Nothing here trusts the letter: an address with a line break in it would be a command of its own, and a dot after
a bare CR or LF is what some servers read as the mail's end (SMTP smuggling, CVE-2023-51764). Such a letter is
refused before the first octet.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jobs.mail.letter import Letter
from worker.mail.smtp.errors import MailRefused, MalformedMail
from worker.mail.smtp.protocol import SMTPReply
from worker.mail.smtp.reply import Refusal, Stage

_ADDRESS = re.compile(r"[!-;=?-~]{1,320}")
"""Printable ASCII without space and angle brackets: it cannot end where it stands in a command."""
_TEMPORARY = 4


@dataclass(slots=True)  # not frozen: as a letter
class Acceptance:
    """The server took responsibility.

    Attributes:
        text: its words to the 250, which often hold its queue id.
        refused: recipients to whom it will not deliver, each with its reply; all others are accepted.
    """

    text: str = field(repr=False)
    refused: Mapping[str, Refusal] = field(default_factory=dict, repr=False)


@dataclass(slots=True)
class Commands:
    """What goes before the body, one command a line, each with its stage."""

    lines: list[bytes] = field(repr=False)
    stages: list[Stage]


def write_commands(letter: Letter, extensions: Mapping[str, str]) -> Commands:
    """MAIL, a RCPT for each recipient, DATA.

    Args:
        extensions: what the server offered to EHLO, names in lower case.

    Raises:
        Malformed: the letter must not go out like this, or not to this server.
    """
    _check(letter, extensions.get("size", ""))
    size = f" SIZE={len(letter.content)}" if "size" in extensions else ""
    lines = [f"MAIL FROM:<{letter.sender}>{size}\r\n".encode("ascii")]
    lines += [f"RCPT TO:<{recipient}>\r\n".encode("ascii") for recipient in letter.recipients]
    rcpt: Stage = "rcpt"
    return Commands([*lines, b"DATA\r\n"], ["mail", *[rcpt] * len(letter.recipients), "data"])


def write_body(octets: bytes) -> bytes:
    """The body as it goes out: dots at line starts doubled (RFC 5321, 4.5.2), a line end at its end.

    Looking for the dots themselves is the fastest way: base64 has none.

    Raises:
        Malformed: a dot follows a bare CR or LF, which some servers take for the end of the mail.
    """
    pieces, begun = [], 0
    at = octets.find(b".")
    while at >= 0:
        if at == 0 or octets[at - 2 : at] == b"\r\n":
            pieces.append(octets[begun:at])
            begun = at
        elif octets[at - 1] in b"\r\n":
            raise MalformedMail(Refusal("data", 554, "5.6.0 a dot after a bare CR or LF in the mail; not sent"))
        at = octets.find(b".", at + 1)
    stuffed = b".".join([*pieces, octets[begun:]]) if pieces else octets
    return stuffed if stuffed.endswith(b"\r\n") else stuffed + b"\r\n"


def refused_recipients(letter: Letter, answers: Sequence[SMTPReply]) -> dict[str, Refusal]:
    """Who was refused, among those that were answered."""
    return {
        recipient: Refusal("rcpt", answer.code, answer.text)
        for recipient, answer in zip(letter.recipients, answers[1:], strict=False)
        if not is_yes(answer)
    }


def find_refusal(letter: Letter, answers: Sequence[SMTPReply]) -> MailRefused | None:
    """Why the body must not follow, from the answers so far; None when nothing speaks against it.

    A refused sender makes the servers refuse the recipients too, and refused recipients DATA (RFC 2920, 3.1), so
    the first refusal is the one that counts.
    """
    if not answers or (is_go_ahead(answers[-1]) and all(map(is_yes, answers[:-1]))):
        return None
    if not is_yes(answers[0]):
        return MailRefused(Refusal("mail", answers[0].code, answers[0].text))
    refused = refused_recipients(letter, answers)
    if len(refused) == len(letter.recipients):
        passing = [reply for reply in refused.values() if reply.code // 100 == _TEMPORARY]
        return MailRefused(next(iter(passing or refused.values())), refused)
    if len(answers) > len(letter.recipients) + 1 and not is_go_ahead(answers[-1]):
        return MailRefused(Refusal("data", answers[-1].code, answers[-1].text))
    return None


def is_yes(answer: SMTPReply) -> bool:
    """2yz: done (RFC 5321, 4.2.1; 251 is one of them: the server will forward)."""
    return 200 <= answer.code < 300  # noqa: PLR2004  the first digit


def is_no(answer: SMTPReply) -> bool:
    """4yz or 5yz: not done."""
    return answer.code >= 400  # noqa: PLR2004  the first digit


def is_go_ahead(answer: SMTPReply) -> bool:
    """354: the body may follow."""
    return 300 <= answer.code < 400  # noqa: PLR2004  the first digit


def _check(letter: Letter, limit: str) -> None:
    if letter.sender and not _ADDRESS.fullmatch(letter.sender):  # an empty one is that of bounces
        raise MalformedMail(Refusal("mail", 501, "5.1.7 the sender's address cannot stand in a command; not sent"))
    for recipient in letter.recipients:
        if not _ADDRESS.fullmatch(recipient):
            raise MalformedMail(
                Refusal("rcpt", 501, "5.1.3 a recipient's address cannot stand in a command; not sent")
            )
    if not letter.recipients:
        raise MalformedMail(Refusal("rcpt", 501, "5.1.3 the mail has no recipient; not sent"))
    size = len(letter.content)
    if limit.isdigit() and 0 < int(limit) < size:  # 0: no limit is known (RFC 1870, 4)
        raise MalformedMail(Refusal("mail", 552, f"5.3.4 {size} octets, the server takes {limit}; not sent"))
