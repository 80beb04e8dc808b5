"""The journal's words: what one attempt to send a mail came to, as a line of the job's history.

A line is ``<account> <scope>: <words>``; the words are the server's reply with its stage, or ours. The worker
writes it and people read it (`ops mail trace`), so that both sides of the text stand here.

A note, the account alone, is made durable with the mark before the final dot: it is what is left of an attempt
whose worker died, and says which account may have delivered the mail already.
"""

import re
from dataclasses import dataclass, field

_LINE = re.compile(r"(?P<account>[a-z][a-z0-9-]{0,31})(?: (?P<scope>[a-z]+))?: (?P<words>.*)", re.DOTALL)


_LAST_ATTEMPT = re.compile(r"(?:attempt \d{1,9} of \d{1,9} failed|older than .{1,40} at the next attempt): ")


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One attempt.

    Attributes:
        account: which one it was tried by.
        scope: whose fault a refusal was; "" when it was none.
        words: the raw reply, or what happened instead of one.
    """

    account: str
    scope: str
    words: str = field(repr=False)

    def __str__(self) -> str:
        scope = f" {self.scope}" if self.scope else ""
        return f"{self.account}{scope}: {self.words}"


def read_line(text: str) -> JournalEntry | None:
    """The line in a reason of the history; None when it is of another kind.

    What the engine says before it of the last attempt is passed over.

    >>> read_line("main recipient: rcpt 550 5.1.1 no such user").scope
    'recipient'
    >>> read_line("attempt 30 of 30 failed: main recipient: rcpt 550 5.1.1 no such user").account
    'main'
    """
    found = _LINE.search(_LAST_ATTEMPT.sub("", text))
    return JournalEntry(found["account"], found["scope"] or "", found["words"]) if found else None
