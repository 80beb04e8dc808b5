"""What a mail server offers, and whether it takes the account's log-in: EHLO, STARTTLS, AUTH, QUIT, and no mail.

In threads, by the standard library's client: each account once, a few seconds at most. One log-in is tried, with
the mechanism that the worker would take, since a second one is a step towards a lock-out. It comes after TLS, but
where the account's server is this machine.
"""

import asyncio
import base64
import smtplib
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from jobs.mail.account import Account
from jobs.mail.ehlo import choose_ehlo_name
from ops.doctor.credentials import Credentials

_SECONDS = 10
_LONGEST_WORDS = 200
_DONE = 250
_MORE = 334
"""RFC 4954: the server waits for more of the log-in."""


@dataclass(frozen=True, slots=True)
class LogInReply:
    """A server's answer to a log-in."""

    code: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """One account's server.

    Attributes:
        fault: why it could not be asked; empty when it could.
        starttls: whether it offered STARTTLS; None where the account does not use it.
        tls_fault: why TLS failed; empty when it did not, or was not tried.
        certificate_ends: of its certificate; None without TLS.
        offers: its EHLO keywords after TLS, in lower case, with their parameters.
        greeting: what it says first.
        credentials: what was to be shown to it; None where no log-in was to be tried.
        login: its answer to the log-in; None when none was tried.
        ehlo_name: how it was greeted, as the worker on this machine would.
        ehlo_refused: its answer to that, if it was no; empty when it was not.
    """

    account: Account
    fault: str = ""
    starttls: bool | None = None
    tls_fault: str = ""
    certificate_ends: datetime | None = None
    offers: Mapping[str, str] = field(default_factory=dict)
    greeting: str = ""
    credentials: Credentials | None = None
    login: LogInReply | None = None
    ehlo_name: str = ""
    ehlo_refused: str = ""


class _GreetingClient(smtplib.SMTP):
    """Keeps the greeting, which the standard library throws away."""

    greeting = ""

    def connect(
        self,
        host: str = "localhost",
        port: int = 0,
        source_address: Any = None,  # noqa: ANN401  as in the standard library
    ) -> tuple[int, bytes]:
        """Connect, and keep what the server says first."""
        code, text = super().connect(host, port, source_address)
        self.greeting = text.decode("ascii", "replace")
        return code, text


class _ImplicitTls(_GreetingClient, smtplib.SMTP_SSL):
    """TLS from the first byte."""


async def gather_server(account: Account, credentials: Credentials | None = None) -> ServerFacts:
    """Ask one server; a fault is a fact too.

    Args:
        credentials: to log in with; None: no log-in is tried.
    """
    return await asyncio.to_thread(_gather, account, credentials)


def _gather(account: Account, credentials: Credentials | None) -> ServerFacts:
    try:
        context = ssl.create_default_context(cafile=account.ca_file or None)
        with _connected(account, context) as client:
            client.local_hostname = _ehlo_name(account, client)
            facts = replace(_server_facts(account, client, context), ehlo_name=client.local_hostname)
            if credentials is None or facts.starttls is False or facts.ehlo_refused:
                return facts
            return replace(facts, credentials=credentials, login=_log_in(account, credentials, client))
    except ssl.SSLError as error:
        return ServerFacts(account=account, starttls=_uses_starttls(account), tls_fault=_one_line(error))
    except (smtplib.SMTPException, OSError) as error:
        return ServerFacts(account=account, fault=f"{type(error).__name__}: {_one_line(error)}")


def _connected(account: Account, context: ssl.SSLContext) -> _GreetingClient:
    if account.tls == "implicit":
        return _ImplicitTls(account.host, account.port, timeout=_SECONDS, context=context)
    return _GreetingClient(account.host, account.port, timeout=_SECONDS)


def _server_facts(account: Account, client: _GreetingClient, context: ssl.SSLContext) -> ServerFacts:
    code, words = client.ehlo()
    if code != _DONE:
        told = f"{code} {words.decode('utf-8', 'replace')}"
        return ServerFacts(account=account, ehlo_refused=" ".join(told.split())[:_LONGEST_WORDS])
    starttls = None
    if account.tls == "required":
        starttls = client.has_extn("starttls")
        if not starttls:
            return ServerFacts(account=account, starttls=False, offers=_offers(client))
        client.starttls(context=context)
        client.ehlo()
    return ServerFacts(
        account=account,
        starttls=starttls,
        certificate_ends=_certificate_ends(client),
        offers=_offers(client),
        greeting=client.greeting,
    )


def _ehlo_name(account: Account, client: smtplib.SMTP) -> str:
    own_address = client.sock.getsockname()[0] if client.sock else "127.0.0.1"
    return choose_ehlo_name(account.ehlo_name, socket.gethostname(), own_address)


def _log_in(account: Account, credentials: Credentials, client: smtplib.SMTP) -> LogInReply | None:
    """The answer to one log-in; None where there is nothing to show, or no mechanism to show it with.

    Raises:
        SMTPException, OSError: the connection ended meanwhile.
    """
    offered = set(client.esmtp_features.get("auth", "").upper().split())
    offered &= {"PLAIN", "LOGIN"} if account.auth == "password" else {"XOAUTH2"}
    client.user, client.password = account.username, credentials.password
    text: bytes | str
    try:
        if credentials.token and "XOAUTH2" in offered:
            code, text = _bearer(account.username, credentials.token, client)
        elif credentials.password and "PLAIN" in offered:
            code, text = client.auth("PLAIN", client.auth_plain)
        elif credentials.password and "LOGIN" in offered:
            code, text = client.auth("LOGIN", client.auth_login)
        else:
            return None
    except smtplib.SMTPAuthenticationError as refusal:
        code, text = refusal.smtp_code, refusal.smtp_error
    words = text.decode("ascii", "replace") if isinstance(text, bytes) else text
    return LogInReply(code, " ".join(words.split())[:_LONGEST_WORDS])


def _bearer(username: str, token: str, client: smtplib.SMTP) -> tuple[int, bytes]:
    """XOAUTH2; a server that refuses the token wants an empty line before it says so."""
    shown = base64.b64encode(f"user={username}\x01auth=Bearer {token}\x01\x01".encode()).decode("ascii")
    code, text = client.docmd("AUTH", f"XOAUTH2 {shown}")
    return client.docmd("") if code == _MORE else (code, text)


def _certificate_ends(client: smtplib.SMTP) -> datetime | None:
    if not isinstance(client.sock, ssl.SSLSocket):
        return None
    ends = (client.sock.getpeercert() or {}).get("notAfter")
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC) if isinstance(ends, str) else None


def _offers(client: smtplib.SMTP) -> dict[str, str]:
    return {name.lower(): value.strip() for name, value in client.esmtp_features.items()}


def _uses_starttls(account: Account) -> bool | None:
    return True if account.tls == "required" else None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:_LONGEST_WORDS]
