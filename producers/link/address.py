"""Addresses of Redis servers, as one text.

| form                                                        | the server                                   |
|-------------------------------------------------------------|----------------------------------------------|
| ``redis://[[user]:password@]host:port/db``                  | this one                                     |
| ``unix://[[user]:password@]/path?db=0``                     | this one, by its socket                      |
| ``sentinel://[[user]:password@]host:port,…/service[/db]``   | the primary of the service, as the sentinels |
|                                                             | say at the time of each connection           |
| ``cluster://[[user]:password@]host:port,…[/db]``            | the primary of the slot in question, as the  |
|                                                             | cluster says at the time of each connection  |

With one more ``s`` (``rediss://``, ``sentinels://``, ``clusters://``) every connection uses TLS, including those
to the sentinels; the query may name files: ``?ssl_ca_certs=…``, ``ssl_certfile``, ``ssl_keyfile``.

This module parses the text only, without I/O. User and password are for the server; the sentinels get the same
password, which a sentinel without a password ignores. A cluster's nodes may be any of its nodes, and should be
several: the first that replies names all others. A cluster must support databases other than 0: Valkey does from
version 9 on (``cluster-databases``), Redis never.
"""

import re
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, unquote, urlsplit

from redis.connection import parse_url

Host = tuple[str, int]
"""A name or number, and a port."""

_SENTINEL_PORT = 26379
_PORT = 6379
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


@dataclass(frozen=True, slots=True)
class Address:
    """Address of Redis, decoded from its text.

    Attributes:
        options: arguments of redis-py's connections: host, port, path, username, password, db, ssl files.
        secure: True for TLS.
        sentinels: host and port of each sentinel; empty for other addresses.
        service: name under which the sentinels know the primary.
        cluster: host and port of each named node of a cluster; empty for other addresses.

    Example:
        >>> read_address("sentinel://a:26379,b:26379/momentus/2").sentinels
        (('a', 26379), ('b', 26379))
    """

    options: dict[str, Any] = field(repr=False)
    secure: bool = False
    sentinels: tuple[Host, ...] = ()
    service: str = ""
    cluster: tuple[Host, ...] = ()

    @property
    def asked(self) -> tuple[Host, ...]:
        """Sentinels or nodes to query for the primary; empty if the address names one server."""
        return self.sentinels or self.cluster

    def at(self, host: Host) -> Self:
        """Return the address of one server of the service or cluster."""
        options = self.options | {"host": host[0], "port": host[1]}
        return replace(self, options=options, sentinels=(), cluster=())


def read_address(url: str) -> Address:
    """Decode an address.

    Raises:
        ValueError: the text is malformed; the message does not quote it, because it may hold a password.
    """
    try:
        return _read(url)
    except _AddressUnusable:
        raise
    except ValueError:
        raise _AddressUnusable(
            "must be redis://, rediss:// or unix:// with host, port and database, "
            "sentinel://host:port,host:port/service/0, or cluster://host:port,host:port/0"
        ) from None


class _AddressUnusable(ValueError):
    """The address is invalid; the message is written here and quotes nothing."""


def _read(url: object) -> Address:
    if not isinstance(url, str):
        given = "None" if url is None else f"a value of type {type(url).__name__}"
        raise _AddressUnusable(
            f"must be a string like redis://127.0.0.1:6379/0, not {given}; check the setting that it comes from"
        )
    scheme, _, rest = url.partition("://")
    match scheme:
        case "sentinel" | "sentinels":
            return _read_sentinels(_read_parts(rest), secure=scheme == "sentinels")
        case "cluster" | "clusters":
            return _read_cluster(_read_parts(rest), secure=scheme == "clusters")
        case _:
            if scheme == "unix":
                _check_socket(rest)
            else:
                _check_database(rest)
            return Address(dict(parse_url(url)), secure=scheme == "rediss")  # type: ignore[no-untyped-call]


def _check_database(rest: str) -> None:
    """Check what follows the host; redis-py takes database 0 if it is not a number."""
    _, _, path = rest.rpartition("@")[2].partition("?")[0].partition("/")
    if not re.fullmatch(r"[0-9]{0,9}", path.strip("/")):
        raise _AddressUnusable(
            "must end with the number of a database, as in redis://host:port/0; Redis's databases have no names"
        )


def _check_socket(rest: str) -> None:
    """Check that a path is named; redis-py takes port 6379 of this machine without one."""
    if not rest.rpartition("@")[2].partition("?")[0].strip("/"):
        raise _AddressUnusable("must name the socket, as in unix:///run/redis.sock")


class _AddressParts(NamedTuple):
    options: dict[str, Any]
    hosts: list[str]
    path: str


def _read_parts(text: str) -> _AddressParts:
    """Split an address with several hosts, which ``urlsplit`` does not support."""
    credentials, _, rest = text.rpartition("@")
    rest, _, query = rest.partition("?")
    hosts, _, path = rest.partition("/")
    username, _, password = credentials.partition(":")
    given = {"username": unquote(username), "password": unquote(password)}
    given |= {name: values[0] for name, values in parse_qs(query).items() if name in _FILES}
    return _AddressParts({name: value for name, value in given.items() if value}, hosts.split(","), path)


def _read_sentinels(parts: _AddressParts, *, secure: bool) -> Address:
    service, _, database = parts.path.partition("/")
    if not service:
        raise _AddressUnusable("must end with the name of the service, as in sentinel://host:port/name/0")
    options = parts.options | {"db": int(database or 0)}
    hosts = tuple(_read_host(one, _SENTINEL_PORT) for one in parts.hosts)
    return Address(options, secure=secure, sentinels=hosts, service=unquote(service))


def _read_cluster(parts: _AddressParts, *, secure: bool) -> Address:
    if not re.fullmatch(r"[0-9]{0,9}", parts.path):
        raise _AddressUnusable(
            "must end with a host and port or the number of a database, as in cluster://host:port/0"
        )
    database = int(parts.path or 0)
    options = parts.options | ({"db": database} if database else {})
    return Address(options, secure=secure, cluster=tuple(_read_host(one, _PORT) for one in parts.hosts))


def _read_host(text: str, usual_port: int) -> Host:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise _AddressUnusable("must name each sentinel or node as host:port, separated by commas")
    return parts.hostname, parts.port or usual_port
