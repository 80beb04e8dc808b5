"""Address, credentials and TLS of a mail server.

TLS is mandatory: a server that does not offer it gets no mail, even if an attacker removed the offer. Only a
server on this machine may be used in plain text, because the connection does not leave the machine.
"""

import ssl
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address
from typing import Literal

from jobs.mail.ehlo import is_ehlo_name
from worker.mail.smtp.token import Tokens


@dataclass(frozen=True, slots=True)
class Server:
    """Mail server and an account on it.

    Attributes:
        tls: ``required`` is STARTTLS, ``implicit`` is TLS from the first byte, ``off`` is for loopback.
        password: a secret; never part of an error or a log.
        tokens: source of bearer tokens for XOAUTH2, instead of a password.
        ca_file: trusted certificates (PEM); if empty, the system's.
        ehlo_name: name in EHLO; if empty, this machine's full name, or the connection's own address.

    Raises:
        ValueError: plain text to another machine, a password together with tokens, or an invalid ``ehlo_name``.
    """

    host: str
    port: int
    tls: Literal["required", "implicit", "off"]
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    tokens: Tokens | None = None
    ca_file: str = ""
    ehlo_name: str = ""

    def __post_init__(self) -> None:
        if self.tls == "off" and not is_loopback(self.host):
            raise ValueError("tls: is off for a host that is not this machine; set it to required or implicit")
        if self.tokens is not None and (self.password or not self.username):
            raise ValueError("tokens: need a username and no password; set username, and leave out the password")
        if self.ehlo_name and not is_ehlo_name(self.ehlo_name):
            raise ValueError(
                f"ehlo_name: is not a full host name or an address in brackets ({self.ehlo_name!r}); "
                "use a name like app.example.com or [192.0.2.1]"
            )

    @property
    def where(self) -> str:
        """Host and port as text."""
        return f"{self.host}:{self.port}"

    @property
    def context(self) -> ssl.SSLContext | None:
        """TLS context that verifies the server's certificate; None for plain text.

        Raises:
            OSError, ssl.SSLError: ``ca_file`` cannot be read or used.
        """
        return None if self.tls == "off" else _context(self.ca_file)


def is_loopback(host: str) -> bool:
    """True if the name means this machine; the name is not resolved."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@cache
def _context(ca_file: str) -> ssl.SSLContext:
    """Return the TLS context, cached because loading the system's certificates takes longer than a whole mail."""
    context = ssl.create_default_context(cafile=ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
