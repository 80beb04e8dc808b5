"""Cookie that carries a session's token in a browser. No I/O.

The cookie is `__Host-momentus`: Secure, HttpOnly, SameSite=Lax, Path=/, no Domain (RFC 6265bis, 4.1.3.2), so that
no other host, and no script, can set or read it. Clients that keep to the RFC send no Secure cookie over http, so
tests over http need `INSECURE`, which is refused for every host but this machine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address

from .errors import InsecureCookieRefused

_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto")
"""Header fields of a proxy: with one of them the request's host is not what the browser asked for."""


@dataclass(frozen=True, slots=True)
class SessionCookie:
    """Form of the cookie: its name and attributes."""

    name: str
    attributes: str

    def holding(self, token: str, seconds: int) -> str:
        """Return the value of Set-Cookie that gives the browser a token for this number of seconds."""
        return f"{self.name}={token}; Max-Age={seconds}; {self.attributes}"

    def deleted(self) -> str:
        """Return the value of Set-Cookie that deletes the cookie."""
        return f"{self.name}=; Max-Age=0; {self.attributes}"


SECURE = SessionCookie("__Host-momentus", "Path=/; Secure; HttpOnly; SameSite=Lax")
INSECURE = SessionCookie("momentus-insecure", "Path=/; HttpOnly; SameSite=Lax")
"""Cookie for tests over http on this machine."""


def choose_cookie(
    *, insecure: bool, secure_scheme: bool, host: str, server: str, header: Callable[[str], object]
) -> SessionCookie:
    """Return the form of the cookie for one request.

    Args:
        insecure: True if the application allows `INSECURE`.
        secure_scheme: True for https and wss.
        host: the request's Host field, perhaps with a port.
        server: the address at which the server received it; empty if unknown.
        header: returns a header field of the request, or None.

    Raises:
        InsecureCookieRefused: `INSECURE` is allowed and the request did not come from this machine.
    """
    if not insecure or secure_scheme:
        return SECURE
    away = [one for one in (host, server) if one and not is_loopback(one)]
    if not host or away:
        raise InsecureCookieRefused(
            f"insecure_cookie: the host is {(away or [''])[0]!r}, not this machine (localhost, 127.0.0.1, [::1]); "
            "it is only for tests over http: leave it out"
        )
    if found := [name for name in _FORWARDED if header(name) is not None]:
        raise InsecureCookieRefused(
            f"insecure_cookie: the request came through a proxy ({found[0]}); it is for tests over http: "
            "leave it out"
        )
    return INSECURE


def is_loopback(host: str) -> bool:
    """Return True if a host (with or without a port) is this machine.

    >>> [is_loopback(one) for one in ("localhost:8000", "127.0.0.9", "[::1]:80", "localhost.example.com")]
    [True, True, True, False]
    """
    name = host.rpartition("]")[0].removeprefix("[") if host.startswith("[") else host
    if name.count(":") == 1:
        name = name.partition(":")[0]
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name.lower().rstrip(".") == "localhost"
