"""Where mail is handed in, and how the connection to it is protected.

TLS is not negotiable: a server that offers none gets no mail, whoever took the offer away. Only a server on
this machine may be spoken to in plain text, because nobody stands between.
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
    """A mail server and an account on it.

    Attributes:
        tls: ``required`` is STARTTLS, ``implicit`` is TLS from the first octet, ``off`` is for loopback.
        password: a secret; never part of a message or a log.
        tokens: instead of a password, where XOAUTH2 gets its bearer tokens.
        ca_file: certificates (PEM) of those who may vouch for the server; left out, the system's.
        ehlo_name: how we greet it; left out, by this machine's full name, or by the connection's own address.

    Raises:
        ValueError: plain text to another machine, a password together with tokens, or a name that is none.
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
            raise ValueError("mail leaves this machine encrypted or not at all: set tls to required or implicit")
        if self.tokens is not None and (self.password or not self.username):
            raise ValueError("tokens go with a user name and without a password")
        if self.ehlo_name and not is_ehlo_name(self.ehlo_name):
            raise ValueError(
                f"ehlo_name: is not a full host name or an address in brackets ({self.ehlo_name!r}); "
                "like app.example.com or [192.0.2.1]"
            )

    @property
    def where(self) -> str:
        """Host and port, for people."""
        return f"{self.host}:{self.port}"

    @property
    def context(self) -> ssl.SSLContext | None:
        """How its certificate is checked; None for plain text.

        Raises:
            OSError, ssl.SSLError: the file of certificates cannot be used.
        """
        return None if self.tls == "off" else _context(self.ca_file)


def is_loopback(host: str) -> bool:
    """Whether it is this machine, by its name alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@cache
def _context(ca_file: str) -> ssl.SSLContext:
    """Made once: loading the system's certificates takes longer than a whole mail."""
    context = ssl.create_default_context(cafile=ca_file or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
