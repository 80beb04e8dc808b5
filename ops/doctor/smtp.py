"""Test of a mail server: its offers and the account's login, with EHLO, STARTTLS, AUTH and QUIT, without a mail.

It runs in threads with the standard library's client: each account once, a few seconds at most. It tries one
login, with the mechanism that the worker would use, since repeated failures may lock the account. The login comes
after TLS, unless the account's server is on this machine.
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
"""RFC 4954: the server waits for the next step of the login."""


@dataclass(frozen=True, slots=True)
class LogInReply:
    """Reply of a server to a login."""

    code: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """Facts of one account's server.

    Attributes:
        fault: why it could not be reached; empty if it was.
        starttls: True if it offered STARTTLS; None if the account does not use it.
        tls_fault: why TLS failed; empty if it did not, or was not tried.
        certificate_ends: the end of its certificate's validity; None without TLS.
        offers: its EHLO keywords after TLS, in lower case, with their parameters.
        greeting: its greeting.
        credentials: the credentials for the login; None if no login was to be tried.
        login: its reply to the login; None if none was tried.
        ehlo_name: the name in EHLO, the same as the worker's on this machine.
        ehlo_refused: its reply if it refused EHLO; else empty.
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
    """SMTP client that keeps the greeting, which the standard library drops."""

    greeting = ""

    def connect(
        self,
        host: str = "localhost",
        port: int = 0,
        source_address: Any = None,  # noqa: ANN401  as in the standard library
    ) -> tuple[int, bytes]:
        """Connect, and keep the server's greeting."""
        code, text = super().connect(host, port, source_address)
        self.greeting = text.decode("ascii", "replace")
        return code, text


class _ImplicitTls(_GreetingClient, smtplib.SMTP_SSL):
    """SMTP client with TLS from the first byte."""


async def gather_server(account: Account, credentials: Credentials | None = None) -> ServerFacts:
    """Test one server; a failure is returned as `fault`.

    Args:
        credentials: the credentials for a login; None: without a login.
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
    code, text = client.ehlo()
    if code != _DONE:
        reply = f"{code} {text.decode('utf-8', 'replace')}"
        return ServerFacts(account=account, ehlo_refused=" ".join(reply.split())[:_LONGEST_WORDS])
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
    """Try one login and return the reply; None without credentials or a common mechanism.

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
    """Log in with XOAUTH2; a server that refuses the token expects an empty line before its reply."""
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
