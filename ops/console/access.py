"""Roles on the console, and the ways in which operators show who they are.

    view      sees counts, lists and histories, with mail addresses masked
    operate   also changes: revive, discard, hold, pause, decide, suppress, refresh
    admin     also sees payloads and addresses, edits jobs, ends sessions

A request has the role of the first of these that it carries:

    token     `Authorization: Bearer`, or the cookie that the log-in form gives for a token
    proxy     the name in a header that a proxy at a trusted address has set
    session   the user of one of the product's own sessions
    local     it came from this machine, directly and without a proxy: no log-in

A Bearer without a known token or session is refused, and never falls back to a lesser way. An untrusted address
that sends the proxy's header is ignored. Nothing here reads or writes; `ops.console.identify` reads sessions.
"""

import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Literal, cast

from ops.console.exchange import PageRequest

Role = Literal["view", "operate", "admin"]
ROLES: tuple[Role, ...] = ("view", "operate", "admin")
Way = Literal["token", "proxy", "session", "local", "none"]

COOKIE = "momentus-console"
COOKIE_LIFE_S = 12 * 3600
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")
_NAME_LIMIT = 128
_END = re.compile(r"[0-9]{1,12}")
"""Seconds since 1970; Python refuses to read a number of thousands of digits."""


@dataclass(frozen=True, slots=True)
class Operator:
    """The person or program behind a request; `role` None: no right at all."""

    name: str
    role: Role | None
    way: Way

    def may(self, needed: Role) -> bool:
        """Return True if the role includes the needed one."""
        return self.role is not None and ROLES.index(self.role) >= ROLES.index(needed)


STRANGER = Operator("", None, "none")


@dataclass(frozen=True, slots=True)
class ServiceToken:
    """A token from the settings, with its owner's name and role."""

    name: str
    role: Role
    token: str = field(repr=False)

    @property
    def owner(self) -> Operator:
        """The operator who has this token."""
        return Operator(self.name, self.role, "token")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessRules:
    """Rules that give each operator a role.

    Attributes:
        local: the role of requests from this machine without a log-in; None: none.
        tokens: those of the settings.
        proxies: addresses from which `proxy_header` is trusted.
        proxy_header: the header with the user's name, in lower case; "" for none.
        users: the role of each user of a proxy or a session; `*` for every other one.
        shown_fields: fields of payloads that every role may see.
    """

    local: Role | None = None
    tokens: tuple[ServiceToken, ...] = ()
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    proxy_header: str = ""
    users: Mapping[str, Role] = field(default_factory=dict)
    shown_fields: frozenset[str] = frozenset()

    def user(self, name: str, way: Way) -> Operator:
        """Return a user of a proxy or a session, with the role that the settings give."""
        return Operator(name[:_NAME_LIMIT], self.users.get(name, self.users.get("*")), way)

    def trusts(self, peer: str) -> bool:
        """Return True if the proxy's header is trusted from this address."""
        if not self.proxy_header or not (address := _address(peer)):
            return False
        return any(address in network for network in self.proxies)

    def find_token(self, token: str) -> ServiceToken | None:
        """Return the matching token from the settings; each one is compared, in constant time."""
        found = [one for one in self.tokens if _same(one.token, token)]
        return found[0] if found else None

    def cookie_owner(self, cookie: str, *, now_s: float) -> Operator | None:
        """Return the owner of the log-in form's cookie, or None if it has expired or its token is gone."""
        name, _, rest = cookie.partition(".")
        until, _, _ = rest.partition(".")
        if not _END.fullmatch(until) or int(until) <= now_s:
            return None
        named = (one for one in self.tokens if one.name == name)
        return next((one.owner for one in named if _same(cookie, write_cookie(one, until_s=int(until)))), None)

    def proxy_user(self, request: PageRequest) -> Operator | None:
        """Return the user whom a trusted proxy names, or None."""
        name = request.headers.get(self.proxy_header, "").strip() if self.trusts(request.peer) else ""
        return self.user(name, "proxy") if name and name.isprintable() else None

    def local_user(self, request: PageRequest) -> Operator:
        """Return the operator at this machine, or the stranger if the request came another way."""
        address = _address(request.peer)
        away = address is None or not address.is_loopback or self.trusts(request.peer)
        if away or any(name in request.headers for name in _FORWARDED):
            return STRANGER
        return Operator("local", self.local, "local")


def write_cookie(token: ServiceToken, *, until_s: int) -> str:
    """Return the cookie's value for a token: its owner and expiry, signed with the token itself."""
    text = f"{token.name}.{until_s}"
    return f"{text}.{hmac.new(token.token.encode(), text.encode(), hashlib.sha256).hexdigest()}"


def read_tokens(text: str) -> tuple[ServiceToken, ...]:
    """Read the setting: `name:role:token`, separated by white space."""
    return tuple(
        ServiceToken(name, cast("Role", role), token)
        for name, role, token in (one.split(":", 2) for one in text.split())
    )


def roles_of(viewers: Sequence[str], operators: Sequence[str], admins: Sequence[str]) -> dict[str, Role]:
    """Return the role of each user; the highest of several.

    >>> roles_of(["*"], ["ana"], ["ana", "eva"])
    {'*': 'view', 'ana': 'admin', 'eva': 'admin'}
    """
    return dict(_pairs(viewers, operators, admins))


def _pairs(*names: Sequence[str]) -> Iterator[tuple[str, Role]]:
    for role, users in zip(ROLES, names, strict=True):
        yield from ((user, role) for user in users)


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
