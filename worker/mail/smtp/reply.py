"""What a server's refusal means: a pure decision over stage, code, enhanced code, words and provider.

The rows are in `reply_table`, the words in `reply_words` beside this file; the first row that fits decides.
Every verdict names whose fault it is. An account's fault never makes a mail dead and never costs an attempt: the
mail waits until the account is mended. A reply that asks to slow down costs none either, whether it begins with 4
or with 5, and a pause that its text names is kept. Only what a recipient's server says for good about an address
may feed the suppression list.

Words count less than a code where the reply quotes another server ("host mx.example said: ..."): what that one
thinks of somebody is no word of the account's own server about us.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from typing import Final

from worker.mail.smtp.reply_table import ROWS, Case
from worker.mail.smtp.reply_words import essence, topics
from worker.mail.smtp.verdict import (
    Refusal as Refusal,
    Scope as Scope,
    Stage as Stage,
    Trouble as Trouble,
    Verdict as Verdict,
)

_HINT: Final = re.compile(r"[0-9](?:\s*[smhdSMHD]|:[0-9])")
"""What must be there for a pause to be named; this rules most replies out."""
_SPAN: Final = re.compile(r"(\d{1,5}) ?(d|h|m|s)(?:ays?|(?:ou)?rs?|in(?:ute)?s?|ec(?:ond)?s?)?\b")
_CLOCK: Final = re.compile(r"\b(\d{1,3}):(\d\d):(\d\d)\b")
_ASKING: Final = re.compile(r"again|retr(?:y|ied)|wait|back|later|gr[ea]y-?list|defer|delayed|paused|attempt")
_NEAR: Final = 48
"""Characters between what is asked for and how long."""
_RETRY_AFTER: Final = re.compile(r"retry-after[:=]? ?(\d{1,5})\b")
_ASKS: Final = frozenset({"asks", "later", "greylist"})
_UNITS: Final[Mapping[str, timedelta]] = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_CLOSING: Final = 421
_QUOTED: Final = frozenset({"quoted"})
_QUOTED_ABOUT_US: Final = frozenset({"quoted", "elsewhere"})
_ABOUT_US: Final = frozenset(
    {"client", "blocked", "relay", "limit", "quota", "day", "connections", "greylist", "later"}
)
_LONGEST_WAIT: Final = timedelta(hours=4)
_LONGEST_PAUSE: Final = timedelta(hours=24)
"""What a text may ask of a mail, and of an account."""


def judge(reply: Refusal, provider: str = "") -> Verdict:
    """The verdict on one reply.

    Args:
        provider: the account's preset, for what only one provider means by a code.

    Example:
        >>> judge(Refusal("rcpt", 550, "5.1.1 no such user")).scope
        'recipient'
    """
    verdict, asks = _decide(reply.stage, reply.code, reply.enhanced, essence(reply.text), provider)
    if asks and (asked := asked_wait(reply.line)):
        return _paused(verdict, asked)
    return verdict


def asked_wait(text: str) -> timedelta | None:
    """How long the server asks us to wait; None when it does not say."""
    if not _HINT.search(text) and "fter:" not in text and "FTER:" not in text:
        return None
    text = " ".join(text.lower().split())
    if "retry-after" in text and (found := _RETRY_AFTER.search(text)):
        return int(found[1]) * _UNITS["s"] or None
    for found in _SPAN.finditer(text):
        if _is_asked(text, found.start()):
            return int(found[1]) * _UNITS[found[2]] or None
    if text.count(":") > 1 and (found := _CLOCK.search(text)) and _is_asked(text, found.start()):
        return timedelta(hours=int(found[1]), minutes=int(found[2]), seconds=int(found[3])) or None
    return None


def _is_asked(text: str, at: int) -> bool:
    return _ASKING.search(text[max(0, at - _NEAR) : at]) is not None


@lru_cache(maxsize=256)
def _paused(verdict: Verdict, asked: timedelta) -> Verdict:
    longest = _LONGEST_PAUSE if verdict.scope == "account" else _LONGEST_WAIT
    return replace(verdict, decision="wait", after=min(asked, longest))


@lru_cache(maxsize=4096)
def _decide(stage: Stage, code: int, enhanced: str, words: tuple[str, ...], provider: str) -> tuple[Verdict, bool]:
    """The verdict, and whether the text may name a pause; remembered, as a server's replies differ little."""
    about = topics(words)
    if "quoted" in about:
        about = _QUOTED_ABOUT_US if not about.isdisjoint(_ABOUT_US) else _QUOTED
    case = Case(stage, code, enhanced, about)
    verdict = next(row.verdict for row in ROWS if row.provider in {"", provider} and row.fits(case))
    if code == _CLOSING:
        verdict = replace(verdict, keep_connection=False)
    return verdict, verdict.decision != "dead" and not about.isdisjoint(_ASKS)
