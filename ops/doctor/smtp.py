"""What a mail server offers: asked with EHLO and STARTTLS, without a login and without a mail.

In threads, by the standard library's client: each account once, a few seconds at most.
"""

import asyncio
import smtplib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from jobs.mail.account import Account

_SECONDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """One account's server.

    Attributes:
        fault: why it could not be asked; empty when it could.
        starttls: whether it offered STARTTLS; None where the account does not use it.
        tls_fault: why TLS failed; empty when it did not, or was not tried.
        certificate_ends: of its certificate; None without TLS.
        offers: its EHLO keywords after TLS, in lower case, with their parameters.
    """

    account: Account
    fault: str = ""
    starttls: bool | None = None
    tls_fault: str = ""
    certificate_ends: datetime | None = None
    offers: Mapping[str, str] = field(default_factory=dict)


async def gather_server(account: Account) -> ServerFacts:
    """Ask one server; a fault is a fact too."""
    return await asyncio.to_thread(_gather, account)


def _gather(account: Account) -> ServerFacts:
    try:
        context = ssl.create_default_context(cafile=account.ca_file or None)
        with _connected(account, context) as client:
            return _asked(account, client, context)
    except ssl.SSLError as error:
        return ServerFacts(account=account, starttls=_uses_starttls(account), tls_fault=_words(error))
    except (smtplib.SMTPException, OSError) as error:
        return ServerFacts(account=account, fault=f"{type(error).__name__}: {_words(error)}")


def _connected(account: Account, context: ssl.SSLContext) -> smtplib.SMTP:
    if account.tls == "implicit":
        return smtplib.SMTP_SSL(account.host, account.port, timeout=_SECONDS, context=context)
    return smtplib.SMTP(account.host, account.port, timeout=_SECONDS)


def _asked(account: Account, client: smtplib.SMTP, context: ssl.SSLContext) -> ServerFacts:
    client.ehlo()
    starttls = None
    if account.tls == "required":
        starttls = client.has_extn("starttls")
        if not starttls:
            return ServerFacts(account=account, starttls=False, offers=_offers(client))
        client.starttls(context=context)
        client.ehlo()
    return ServerFacts(
        account=account, starttls=starttls, certificate_ends=_certificate_ends(client), offers=_offers(client)
    )


def _certificate_ends(client: smtplib.SMTP) -> datetime | None:
    if not isinstance(client.sock, ssl.SSLSocket):
        return None
    ends = (client.sock.getpeercert() or {}).get("notAfter")
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC) if isinstance(ends, str) else None


def _offers(client: smtplib.SMTP) -> dict[str, str]:
    return {name.lower(): value.strip() for name, value in client.esmtp_features.items()}


def _uses_starttls(account: Account) -> bool | None:
    return True if account.tls == "required" else None


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
