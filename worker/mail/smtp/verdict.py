"""Value classes for a server's refusal and the verdict on it."""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

Stage = Literal["connect", "login", "mail", "rcpt", "data", "dot"]
"""Stage of a connection; ``connect`` is the greeting, EHLO and STARTTLS."""
Scope = Literal["connection", "account", "sender", "recipient", "message"]
Decision = Literal["again", "wait", "dead"]
Trouble = Literal[
    "", "fault", "tls", "login", "auth", "relay", "blocked", "client", "throttle", "connections", "day"
]
"""Trouble of an account. In order: the server cannot be reached, has no TLS, refuses the login, requires a login
first, or does not relay for this machine; the provider has blocked the account; the server refuses this machine,
asks for a slower pace, or for fewer connections; the daily quota is used up."""

_ENHANCED = re.compile(r"[245](?<![\d.].)\.(\d{1,3}\.\d{1,3})(?!\.?\d)")
"""An enhanced code (RFC 3463) that is not a part of an IP address."""
_PERMANENT = 500


@dataclass(frozen=True, slots=True)
class Refusal:
    """Refusal of a server: the stage, the code and the text of its reply."""

    stage: Stage
    code: int
    text: str = field(repr=False)

    @property
    def enhanced(self) -> str:
        """Enhanced code without its class (``7.8`` of ``5.7.8``), or "" if there is none (RFC 3463)."""
        found = _ENHANCED.search(self.text)
        return found[1] if found else ""

    @property
    def passing(self) -> bool:
        """True if the refusal is temporary (4yz)."""
        return self.code < _PERMANENT

    @property
    def line(self) -> str:
        """Text on one line, with the enhanced code that every line of a longer reply repeats only once."""
        if "\n" not in self.text:
            return self.text
        first, *others = self.text.splitlines()
        code = _ENHANCED.match(first.lstrip())
        rest = (line.strip().removeprefix(code[0]) if code else line for line in others)
        return " ".join(filter(None, (first.rstrip(), *(line.strip() for line in rest))))


@dataclass(frozen=True, slots=True)
class Verdict:
    """Verdict on a reply.

    Attributes:
        scope: the side at fault.
        decision: try the mail again, let it wait uncharged, or give it up.
        trouble: the trouble to report to the account's breaker; "" for none.
        keep_connection: True if the connection may carry another mail.
        after: minimum wait; None leaves it to the mail's policy or to the account's breaker.
    """

    scope: Scope
    decision: Decision
    trouble: Trouble = ""
    keep_connection: bool = True
    after: timedelta | None = None

    @property
    def session_over(self) -> bool:
        """True if only this connection accepts no more, so that the mail may go through another one at once."""
        return self.scope == "connection" and not self.trouble
