"""What people are told of an account's trouble: the server's words, and what to do about it."""

from collections.abc import Mapping
from typing import Final

from worker.mail.smtp.verdict import Refusal, Trouble

_MOST_WORDS: Final = 250
"""Of the server, so that the remedy behind them is not cut off."""
_LOGIN_FOR_NOW: Final = (
    "the server cannot check the login for now: {words}. The password is not in doubt; if it stays so, ask the "
    "provider"
)
_TEXTS: Final[Mapping[Trouble, str]] = {
    "fault": "the server cannot be reached: {words}",
    "tls": (
        "the server and the account disagree about TLS: {words}. If it is wanted, set tls of the account "
        "{account!r} to required; if it is not available, the server's operator must fix it"
    ),
    "login": "the server refuses the login: {words}. Check username and password of the account {account!r}",
    "auth": "the server wants a login first: {words}. Give the account {account!r} username and password",
    "relay": (
        "the server does not relay for this machine: {words}. Let it (Postfix: mynetworks, Exim: dc_relay_nets, "
        "Sendmail: access, Microsoft 365: a connector), or give the account {account!r} username and password"
    ),
    "blocked": (
        "the provider has blocked the account {account!r}, its sender or its tenant: {words}. Settle that with "
        "the provider, then: ./run ops mail resume {account}"
    ),
    "client": (
        "the server refuses this machine: {words}. Have its address allowed there, or taken off the list that is "
        "named; its address, its name in DNS and in EHLO should agree"
    ),
    "throttle": "the server asks for a slower pace: {words}",
    "connections": "the server asks for fewer connections: {words}",
    "day": "the account's day is used up: {words}",
}


def advice(trouble: Trouble, account: str, reply: Refusal) -> str:
    """The line that `ops mail accounts` shows.

    Args:
        reply: the server's; without a code, what happened instead of one.
    """
    words = reply.line[:_MOST_WORDS].rstrip(". ")
    if reply.code:
        words = f"{reply.stage} {reply.code} {words}"
    text = _TEXTS[trouble]
    if trouble == "login" and reply.code and reply.passing:
        text = _LOGIN_FOR_NOW
    return text.format(words=words, account=account)
