"""Log fields of a mail that failed: the side at fault, stage and code, and the server's words without the mail's.

A reply may quote what it refuses. So what the mail contains is removed from it: addresses and their left parts,
names, the subject. If four words in a row are the subject's or the body's, nothing of the reply is kept.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from jobs.mail.journal import read_line

MASK = "[redacted]"
_REFUSED = re.compile(
    r"(?P<stage>connect|login|mail|rcpt|data|dot) (?P<code>[1-5]\d\d)(?: (?P<words>.*))?", re.DOTALL
)
_RUN = r"""[^\s"'`()<>\[\]{},;:=/\\@]"""
_ADDRESS = re.compile(rf"(?<!{_RUN}){_RUN}+@{_RUN}+")
_WORD = re.compile(r"\w+")
_NAMES = ("sender", "sender_name", "reply_to", "to", "cc", "bcc", "subject", "unsubscribe", "headers")
_BODIES = ("subject", "text", "html")
_SHORTEST = 3
"""Length of a name that is searched for; shorter ones are parts of any text."""
_IN_A_ROW = 4
_REPLY_LENGTH = 300


def failure_fields(reason: str, mail: Mapping[str, object]) -> dict[str, str]:
    """Return the log fields for the reason why a mail is tried again, waits or is given up.

    Args:
        reason: as it is stored in the journal.
        mail: the frozen mail.

    Example:
        >>> failure_fields("main recipient: rcpt 452 4.2.2 <ana> over quota", {"to": "ana@example.com"})["reply"]
        '4.2.2 <[redacted]> over quota'
    """
    line = read_line(reason)
    if line is None:
        return {"failure": "mail", "reply": mask_mail(reason, mail)}
    fields = {"account": line.account, "failure": line.scope or "connection"}
    refused = _REFUSED.fullmatch(line.words)
    if refused is None:
        return fields | {"reply": mask_mail(line.words, mail)}
    said = mask_mail(refused["words"] or "", mail)
    return fields | {"stage": refused["stage"], "code": refused["code"], "reply": said}


def mask_mail(words: str, mail: Mapping[str, object]) -> str:
    """Return a text without what it shares with a mail, on one line of at most 300 characters."""
    told = " ".join(_ADDRESS.sub(MASK, words)[: 4 * _REPLY_LENGTH].split())
    said = [(found[0].lower(), *found.span()) for found in _WORD.finditer(told)]
    if any(_shares_row([word for word, _, _ in said], str(mail.get(name) or "")) for name in _BODIES):
        return MASK
    hidden = {place for text in _names(mail) for place in _places([word for word, _, _ in said], text)}
    for place in sorted(hidden, reverse=True):
        _, start, end = said[place]
        told = told[:start] + MASK + told[end:]
    return told[:_REPLY_LENGTH]


def _names(mail: Mapping[str, object]) -> Iterator[str]:
    """Yield the texts of a mail that stand for persons or for its content, and the left parts of addresses."""
    for name in _NAMES:
        for text in _texts(mail.get(name)):
            yield from (text, *(address.partition("@")[0] for address in _ADDRESS.findall(text)))


def _texts(value: object) -> Iterator[str]:
    """Yield every text at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _texts(part)


def _places(said: Sequence[str], text: str) -> Iterator[int]:
    """Yield the positions among the reply's words at which a text occurs."""
    wanted = _WORD.findall(text.lower())
    if sum(map(len, wanted)) < _SHORTEST:
        return
    for at in range(len(said) - len(wanted) + 1):
        if list(said[at : at + len(wanted)]) == wanted:
            yield from range(at, at + len(wanted))


def _shares_row(said: Sequence[str], body: str) -> bool:
    """Return True if four words in a row of the reply are in the body."""
    rows = {tuple(said[at : at + _IN_A_ROW]) for at in range(len(said) - _IN_A_ROW + 1)}
    written = _WORD.findall(body.lower()) if rows else []
    return any(tuple(written[at : at + _IN_A_ROW]) in rows for at in range(len(written) - _IN_A_ROW + 1))
