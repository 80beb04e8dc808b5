"""Texts about an account's trouble for the operator: the server's reply, and the remedy."""

from collections.abc import Mapping
from typing import Final

from worker.mail.smtp.verdict import Refusal, Trouble

_MOST_WORDS: Final = 250
"""Largest number of characters of the server's reply, so that the remedy after it is not cut off."""
_LOGIN_FOR_NOW: Final = (
    "the server cannot check the login at the moment: {words}. The password may be right; if this persists, ask "
    "the provider"
)
_TEXTS: Final[Mapping[Trouble, str]] = {
    "fault": "the server cannot be reached: {words}",
    "tls": (
        "the server and the account disagree about TLS: {words}. If the server requires TLS, set tls of the "
        "account {account!r} to required; if it has no TLS, the server's operator must fix it"
    ),
    "login": "the server refuses the login: {words}. Check username and password of the account {account!r}",
    "auth": "the server requires a login: {words}. Give the account {account!r} username and password",
    "relay": (
        "the server does not relay for this machine: {words}. Allow it there (Postfix: mynetworks, Exim: "
        "dc_relay_nets, Sendmail: access, Microsoft 365: a connector), or give the account {account!r} username "
        "and password"
    ),
    "blocked": (
        "the provider has blocked the account {account!r}, its sender or its tenant: {words}. Resolve that with "
        "the provider, then: ./run ops mail resume {account}"
    ),
    "client": (
        "the server refuses this machine: {words}. Ask the server's operator to allow its address, or have it "
        "removed from the block list that the reply names; its address, its name in DNS and in EHLO should agree"
    ),
    "throttle": "the server asks for a slower pace: {words}",
    "connections": "the server asks for fewer connections: {words}",
    "day": "the account's daily quota is used up: {words}",
}


def write_advice(trouble: Trouble, account: str, reply: Refusal) -> str:
    """Return the line that `ops mail accounts` shows.

    Args:
        reply: the server's reply; without a code, the event in place of a reply.
    """
    words = reply.line[:_MOST_WORDS].rstrip(". ")
    if reply.code:
        words = f"{reply.stage} {reply.code} {words}"
    text = _TEXTS[trouble]
    if trouble == "login" and reply.code and reply.passing:
        text = _LOGIN_FOR_NOW
    return text.format(words=words, account=account)
