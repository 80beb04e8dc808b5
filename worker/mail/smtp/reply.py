"""Verdict on a server's refusal, from its stage, code, enhanced code, words and provider. Pure functions.

The rows are in `reply_table`, the words in `reply_words` beside this file; the first row that fits decides. Every
verdict has a scope, the side at fault. An account's fault never makes a mail dead and never costs an attempt: the
mail waits until the account is fixed. A reply that asks to slow down costs no attempt either, as 4yz or as 5yz,
and a pause that its text names is respected. Only a permanent refusal of a recipient may feed the suppression
list.

Where a reply quotes another server ("host mx.example said: ..."), its words count less than its code: they give
the other server's opinion of this client, not that of the account's own server.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from typing import Final

from worker.mail.smtp.reply_table import ROWS, ReplyFacts
from worker.mail.smtp.reply_words import essence, find_topics
from worker.mail.smtp.verdict import (
    Refusal as Refusal,
    Scope as Scope,
    Stage as Stage,
    Trouble as Trouble,
    Verdict as Verdict,
)

_HINT: Final = re.compile(r"[0-9](?:\s*[smhdSMHD]|:[0-9])")
"""Pattern that every text with a pause contains; it rules out most replies quickly."""
_SPAN: Final = re.compile(r"(\d{1,5}) ?(d|h|m|s)(?:ays?|(?:ou)?rs?|in(?:ute)?s?|ec(?:ond)?s?)?\b")
_CLOCK: Final = re.compile(r"\b(\d{1,3}):(\d\d):(\d\d)\b")
_ASKING: Final = re.compile(r"again|retr(?:y|ied)|wait|back|later|gr[ea]y-?list|defer|delayed|paused|attempt")
_NEAR: Final = 48
"""Characters between the request and its duration."""
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
"""Longest waits that a text may request, of a mail and of an account."""


def judge_reply(reply: Refusal, provider: str = "") -> Verdict:
    """Return the verdict on one reply.

    Args:
        provider: the account's preset, because some codes have a meaning of one provider only.

    Example:
        >>> judge_reply(Refusal("rcpt", 550, "5.1.1 no such user")).scope
        'recipient'
    """
    verdict, asks = _decide(reply.stage, reply.code, reply.enhanced, essence(reply.text), provider)
    if asks and (asked := find_requested_wait(reply.line)):
        return _apply_pause(verdict, asked)
    return verdict


def find_requested_wait(text: str) -> timedelta | None:
    """Return the wait that the server's text requests, or None."""
    if not _HINT.search(text) and "fter:" not in text and "FTER:" not in text:
        return None
    text = " ".join(text.lower().split())
    if "retry-after" in text and (found := _RETRY_AFTER.search(text)):
        return int(found[1]) * _UNITS["s"] or None
    for found in _SPAN.finditer(text):
        if _is_request(text, found.start()):
            return int(found[1]) * _UNITS[found[2]] or None
    if text.count(":") > 1 and (found := _CLOCK.search(text)) and _is_request(text, found.start()):
        return timedelta(hours=int(found[1]), minutes=int(found[2]), seconds=int(found[3])) or None
    return None


def _is_request(text: str, at: int) -> bool:
    return _ASKING.search(text[max(0, at - _NEAR) : at]) is not None


@lru_cache(maxsize=256)
def _apply_pause(verdict: Verdict, asked: timedelta) -> Verdict:
    longest = _LONGEST_PAUSE if verdict.scope == "account" else _LONGEST_WAIT
    return replace(verdict, decision="wait", after=min(asked, longest))


@lru_cache(maxsize=4096)
def _decide(stage: Stage, code: int, enhanced: str, words: tuple[str, ...], provider: str) -> tuple[Verdict, bool]:
    """Return the verdict, and True if the text may name a pause; cached, as a server's replies differ little."""
    about = find_topics(words)
    if "quoted" in about:
        about = _QUOTED_ABOUT_US if not about.isdisjoint(_ABOUT_US) else _QUOTED
    case = ReplyFacts(stage, code, enhanced, about)
    verdict = next(row.verdict for row in ROWS if row.provider in {"", provider} and row.fits(case))
    if code == _CLOSING:
        verdict = replace(verdict, keep_connection=False)
    return verdict, verdict.decision != "dead" and not about.isdisjoint(_ASKS)
