"""A server's reply and what is to be done about it: values without a decision."""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

Stage = Literal["connect", "login", "mail", "rcpt", "data", "dot"]
"""``connect`` is the greeting, EHLO and STARTTLS."""
Scope = Literal["connection", "account", "sender", "recipient", "message"]
Decision = Literal["again", "wait", "dead"]
Trouble = Literal[
    "", "fault", "tls", "login", "auth", "relay", "blocked", "client", "throttle", "connections", "day"
]
"""What is wrong with an account: its server cannot be reached, has no TLS, refuses the login, wants one first, or
does not relay for this machine; the provider has blocked the account; the server refuses this machine; it asks for
a slower pace or for fewer connections; the day is used up."""

_ENHANCED = re.compile(r"[245](?<![\d.].)\.(\d{1,3}\.\d{1,3})(?!\.?\d)")
"""An enhanced code, and not a part of an IP address."""
_PERMANENT = 500


@dataclass(frozen=True, slots=True)
class Refusal:
    """A server's answer that is not the one hoped for."""

    stage: Stage
    code: int
    text: str = field(repr=False)

    @property
    def enhanced(self) -> str:
        """The enhanced code without its class (``7.8`` of ``5.7.8``), or nothing (RFC 3463)."""
        found = _ENHANCED.search(self.text)
        return found[1] if found else ""

    @property
    def passing(self) -> bool:
        """Whether it is a refusal for now (4yz)."""
        return self.code < _PERMANENT

    @property
    def line(self) -> str:
        """Its text on one line; the enhanced code that each line of a longer reply repeats stands there once."""
        if "\n" not in self.text:
            return self.text
        first, *others = self.text.splitlines()
        code = _ENHANCED.match(first.lstrip())
        rest = (line.strip().removeprefix(code[0]) if code else line for line in others)
        return " ".join(filter(None, (first.rstrip(), *(line.strip() for line in rest))))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do about a reply.

    Attributes:
        scope: whose fault it is.
        decision: try the mail again, let it wait uncharged, or give it up.
        trouble: what the account's breaker and budget are to hear of.
        keep_connection: whether the connection may carry another mail.
        after: how long to wait at least; None leaves it to the mail's policy, or to the account's breaker.
    """

    scope: Scope
    decision: Decision
    trouble: Trouble = ""
    keep_connection: bool = True
    after: timedelta | None = None

    @property
    def session_over(self) -> bool:
        """Whether only this connection takes no more, and the mail may go by another one at once."""
        return self.scope == "connection" and not self.trouble
