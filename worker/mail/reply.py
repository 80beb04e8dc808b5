"""What a server's refusal means: a pure table over the stage, the code and the enhanced code.

Sources: RFC 5321 (4.2.1, 4.5.3.1.10), RFC 3463, and what Gmail, Microsoft 365 and Amazon SES answer when a
quota or a login fails. The first row that fits decides:

| reply                                                     | whose fault | decision                  |
|-----------------------------------------------------------|-------------|---------------------------|
| 421; 4.3.2; 4.4.x                                         | connection  | again, close connection   |
| 454 4.7.0, 530, 534, 535, 538; x.7.0 x.7.3 x.7.8 x.7.9    | account     | wait, uncharged           |
| 5.7.30, 5.7.57, 5.7.139                                   | account     | wait, uncharged           |
| 432, 5.4.5; "throttl", "quota", "limit exceeded"          | account     | wait, uncharged           |
| any other 4yz; 552 at RCPT without x.3.4 (RFC 5321)       | recipient   | again                     |
| any other 5yz                                             | as staged   | dead                      |

An account's fault never makes a mail dead: the mail waits until the account is mended.
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

Stage = Literal["connect", "login", "mail", "rcpt", "data", "dot"]

_ENHANCED = re.compile(r"(?<!\d)([245])\.(\d{1,3})\.(\d{1,3})(?!\d)")
_LOGIN_CODES = {530, 534, 535, 538}
_LOGIN_DETAILS = {"7.0", "7.3", "7.8", "7.9", "7.30", "7.57", "7.139"}
_QUOTA_WORDS = re.compile(r"throttl|quota|limit exceeded|too many login", re.IGNORECASE)
_ACCOUNT_WAIT = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Reply:
    """A server's answer that is not the one hoped for."""

    stage: Stage
    code: int
    text: str

    @property
    def enhanced(self) -> str:
        """The enhanced code without its class (``7.8`` of ``5.7.8``), or nothing (RFC 3463)."""
        found = _ENHANCED.search(self.text)
        return f"{found[2]}.{found[3]}" if found else ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do about a reply.

    Attributes:
        action: try the mail again, let it wait uncharged, or give it up.
        keep_connection: whether the connection may carry another mail.
        after: how long to wait; None leaves it to the policy.
    """

    action: Literal["again", "wait", "dead"]
    keep_connection: bool
    after: timedelta | None = None


def judge(reply: Reply) -> Verdict:
    """The verdict on one reply."""
    if reply.code == 421 or reply.enhanced == "3.2" or (reply.enhanced.startswith("4.") and reply.code < 500):  # noqa: PLR2004  SMTP codes
        return Verdict("again", keep_connection=False)
    if _is_account_fault(reply):
        return Verdict("wait", keep_connection=False, after=_ACCOUNT_WAIT)
    if reply.code < 500 or _is_full_mailbox(reply):  # noqa: PLR2004  SMTP codes
        return Verdict("again", keep_connection=True)
    return Verdict("dead", keep_connection=True)


def _is_account_fault(reply: Reply) -> bool:
    if reply.stage == "login" or reply.code in _LOGIN_CODES:
        return True
    if reply.code == 454 and reply.enhanced == "7.0":  # noqa: PLR2004  SMTP codes
        return True
    if reply.stage in {"connect", "mail"} and reply.enhanced in _LOGIN_DETAILS:
        return True
    return reply.code == 432 or reply.enhanced in {"4.5", "7.30", "7.57", "7.139"} or _names_quota(reply)  # noqa: PLR2004  SMTP codes


def _names_quota(reply: Reply) -> bool:
    """Words of a quota, but not of the recipient's own mailbox."""
    return bool(_QUOTA_WORDS.search(reply.text)) and not _is_mailbox(reply)


def _is_mailbox(reply: Reply) -> bool:
    return reply.enhanced in {"2.2", "2.1"} or (reply.stage == "rcpt" and reply.code in {450, 451, 452, 552})


def _is_full_mailbox(reply: Reply) -> bool:
    """552 at RCPT is to be treated as 452 (RFC 5321, 4.5.3.1.10)."""
    return reply.code == 552 and reply.stage == "rcpt" and reply.enhanced != "3.4"  # noqa: PLR2004  SMTP codes
