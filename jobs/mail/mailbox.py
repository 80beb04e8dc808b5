"""What a server's status says of a recipient's mailbox, in a reply or in a bounce: pure, and cautious.

    hard      there is no such mailbox: the address is not written to any more
    counted   something that often passes (full, disabled, no route): counts when it comes on several days
    none      says nothing of the mailbox: policy, spam, size, quota, and whatever is not known

Of 557 labelled bounces, rules that call every 5.x.x permanent condemn 286 of the 390 addresses that exist. So
nothing but a clear word counts here. Codes: RFC 3463 and the registry of enhanced status codes.
"""

from typing import Literal

Weight = Literal["hard", "counted", "none"]

_HARD = {"1.1", "1.6", "1.10"}
"""No such mailbox; moved, with nowhere to forward to; a recipient with a null MX (RFC 7505), or Microsoft's word
for an unknown one."""
_COUNTED = {"1.2", "1.3", "2.1", "2.2", "4.1", "4.4", "4.7"}
"""No such domain, an address that cannot be read, disabled, full, no answer, no route, given up after days."""
_CLASSES = {"4", "5"}


def weigh_status(status: str, *, names_mailbox: bool = False) -> Weight:
    """The weight of an enhanced status code.

    Args:
        status: ``5.1.1``; empty when there is none.
        names_mailbox: whether the reply's code alone (550, 551, 553 at RCPT) speaks of the mailbox.

    >>> weigh_status("5.1.1"), weigh_status("4.2.2"), weigh_status("5.7.1"), weigh_status("4.1.1")
    ('hard', 'counted', 'none', 'counted')
    """
    kind, _, detail = status.partition(".")
    if detail in _HARD:
        return "hard" if kind == "5" else "counted"
    if kind in _CLASSES and detail in _COUNTED:
        return "counted"
    return "counted" if names_mailbox and not status else "none"
