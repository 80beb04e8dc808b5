"""What a server's refusal means: a pure table over the stage, the code and the enhanced code.

Sources: RFC 5321 (4.2.1, 4.5.3.1.10), RFC 3463, and what Gmail, Microsoft 365 and Amazon SES answer when a
quota or a login fails. The first row that fits decides:

| reply                                                     | whose fault | decision                  |
|-----------------------------------------------------------|-------------|---------------------------|
| 432; 5.4.5; x.7.28                                        | account     | wait, uncharged           |
| 421; 4.3.2; 4.4.x                                         | connection  | again, close connection   |
| anything at login; 530, 534, 535, 538; 454 4.7.0          | account     | wait, uncharged           |
| x.7.3 x.7.8 x.7.9 x.7.30 x.7.57 x.7.139; x.7.0 before RCPT| account     | wait, uncharged           |
| "throttl", "quota", "limit exceeded", of no mailbox and   | account     | wait, uncharged           |
| no message's size                                         |             |                           |
| anything else at connect                                  | connection  | again, close connection   |
| any other 4yz; a full mailbox: x.2.2, 552 at RCPT without | recipient   | again                     |
| x.3.4 (RFC 5321)                                          |             |                           |
| any other 5yz                                             | as staged   | dead                      |

An account's fault never makes a mail dead: the mail waits until the account is mended. Nor does a server that
refuses the connection, since it has not heard of the mail.
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

Stage = Literal["connect", "login", "mail", "rcpt", "data", "dot"]

_ENHANCED = re.compile(r"(?<![\d.])([245])\.(\d{1,3})\.(\d{1,3})(?!\.?\d)")
"""An enhanced code, and not a part of an IP address."""
_LOGIN_CODES = {530, 534, 535, 538}
_LOGIN_DETAILS = {"7.3", "7.8", "7.9", "7.30", "7.57", "7.139"}
_QUOTA_WORDS = re.compile(r"throttl|quota|limit exceeded|too many login", re.IGNORECASE)
_RELAY_WORDS = re.compile(r"relay limit", re.IGNORECASE)
_MAILBOX_WORDS = re.compile(r"mailbox|over ?quota|storage", re.IGNORECASE)
_SIZE_DETAILS = {"2.3", "3.4"}
_SIZE_WORDS = re.compile(r"\bsize\b", re.IGNORECASE)
_PERMANENT = 500
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


_ACCOUNT_WAITS = Verdict("wait", keep_connection=False, after=_ACCOUNT_WAIT)
_CONNECTION_FAILED = Verdict("again", keep_connection=False)


def judge(reply: Reply) -> Verdict:
    """The verdict on one reply."""
    if _is_quota_code(reply):
        return _ACCOUNT_WAITS
    if _is_connection_fault(reply):
        return _CONNECTION_FAILED
    if _is_login_fault(reply) or _names_quota(reply):
        return _ACCOUNT_WAITS
    if reply.stage == "connect":
        return _CONNECTION_FAILED
    if reply.code < _PERMANENT or _is_full_mailbox(reply):
        return Verdict("again", keep_connection=True)
    return Verdict("dead", keep_connection=True)


def _is_quota_code(reply: Reply) -> bool:
    if reply.enhanced == "4.5":  # 4.4.5 is a busy server
        return reply.code >= _PERMANENT
    return reply.code == 432 or reply.enhanced == "7.28"  # noqa: PLR2004  SMTP codes


def _is_connection_fault(reply: Reply) -> bool:
    passing = reply.code < _PERMANENT and (reply.enhanced == "3.2" or reply.enhanced.startswith("4."))
    return reply.code == 421 or passing  # noqa: PLR2004  SMTP codes


def _is_login_fault(reply: Reply) -> bool:
    if reply.stage == "login" or reply.code in _LOGIN_CODES or reply.enhanced in _LOGIN_DETAILS:
        return True
    return reply.enhanced == "7.0" and (reply.code == 454 or reply.stage in {"connect", "mail"})  # noqa: PLR2004  SMTP codes


def _names_quota(reply: Reply) -> bool:
    """Words of the account's quota, not of the recipient's mailbox or of this message's size."""
    if _RELAY_WORDS.search(reply.text):
        return True
    return bool(_QUOTA_WORDS.search(reply.text)) and not _is_mailbox(reply) and not _is_size(reply)


def _is_mailbox(reply: Reply) -> bool:
    if reply.enhanced in {"2.1", "2.2"}:
        return True
    return reply.stage == "rcpt" and (
        reply.code in {450, 451, 452, 552} or bool(_MAILBOX_WORDS.search(reply.text))
    )


def _is_size(reply: Reply) -> bool:
    return reply.enhanced in _SIZE_DETAILS or bool(_SIZE_WORDS.search(reply.text))


def _is_full_mailbox(reply: Reply) -> bool:
    """552 at RCPT is to be treated as 452 (RFC 5321, 4.5.3.1.10)."""
    if reply.enhanced == "2.2":
        return True
    return reply.code == 552 and reply.stage == "rcpt" and reply.enhanced != "3.4"  # noqa: PLR2004  SMTP codes
