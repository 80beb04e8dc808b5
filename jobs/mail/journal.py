"""Journal lines: the result of one attempt to send a mail, as a line of the job's history.

A line is ``<account> <scope>: <words>``; the words are the server's reply with its stage, or the worker's own. The
worker writes the line and operators read it (`ops mail trace`), so that both sides of the format are here.

A note, the account alone, is made durable with the mark before the final dot: it survives a worker that died, and
names the account that may have delivered the mail already.
"""

import re
from dataclasses import dataclass, field

_LINE = re.compile(r"(?P<account>[a-z][a-z0-9-]{0,31})(?: (?P<scope>[a-z]+))?: (?P<words>.*)", re.DOTALL)


_LAST_ATTEMPT = re.compile(r"(?:attempt \d{1,9} of \d{1,9} failed|older than .{1,40} at the next attempt): ")


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One attempt.

    Attributes:
        account: account that tried it.
        scope: party at fault for a refusal; "" for none.
        words: the raw reply, or what happened instead.
    """

    account: str
    scope: str
    words: str = field(repr=False)

    def __str__(self) -> str:
        scope = f" {self.scope}" if self.scope else ""
        return f"{self.account}{scope}: {self.words}"


def read_line(text: str) -> JournalEntry | None:
    """Return the journal line in a history's reason, or None if there is none.

    The engine's text about the last attempt before it is skipped.

    >>> read_line("main recipient: rcpt 550 5.1.1 no such user").scope
    'recipient'
    >>> read_line("attempt 30 of 30 failed: main recipient: rcpt 550 5.1.1 no such user").account
    'main'
    """
    found = _LINE.match(_LAST_ATTEMPT.sub("", text))
    return JournalEntry(found["account"], found["scope"] or "", found["words"]) if found else None
