"""Where Redis is, as one text.

| form                                                        | the server                                  |
|-------------------------------------------------------------|---------------------------------------------|
| ``redis://[[user]:password@]host:port/db``                  | this one                                    |
| ``rediss://…``                                              | this one, by TLS                            |
| ``unix://[[user]:password@]/path?db=0``                     | this one, by its socket                     |
| ``sentinel://[[user]:password@]host:port,…/service[/db]``   | the primary of the service, as the sentinels |
|                                                             | say at the time of each connection          |

It reads the text and refuses what it cannot read; it asks nobody. User and password are for the server; the
sentinels are given the same password, which one without a password does not mind.
"""

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.connection import parse_url

_SENTINEL = "sentinel://"
_SENTINEL_PORT = 26379


@dataclass(frozen=True, slots=True)
class Address:
    """What the text says.

    Attributes:
        options: as redis-py's connections take them: host, port, path, username, password, db, ssl files.
        secure: by TLS.
        sentinels: host and port of each; empty when the text names the server itself.
        service: the name under which the sentinels know the primary.

    Example:
        >>> read_address("sentinel://a:26379,b:26379/momentus/2").sentinels
        (('a', 26379), ('b', 26379))
    """

    options: dict[str, Any]
    secure: bool = False
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""


def read_address(url: str) -> Address:
    """The address in a text.

    Raises:
        ValueError: another form; its words may hold a part of the password.
    """
    if url.startswith(_SENTINEL):
        return _read_sentinels(url)
    options = dict(parse_url(url))  # type: ignore[no-untyped-call]
    return Address(options, secure=url.startswith("rediss://"))


def _read_sentinels(url: str) -> Address:
    credentials, _, rest = url.removeprefix(_SENTINEL).rpartition("@")
    hosts, _, path = rest.partition("/")
    service, _, database = path.partition("/")
    if not service:
        raise ValueError("a sentinel:// address ends with the name of the service: sentinel://host:port/name/0")
    username, _, password = credentials.partition(":")
    options: dict[str, Any] = {"db": int(database or 0)}
    if username:
        options["username"] = unquote(username)
    if password:
        options["password"] = unquote(password)
    return Address(options, sentinels=tuple(_read_host(one) for one in hosts.split(",")), service=unquote(service))


def _read_host(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("a sentinel:// address names each sentinel as host:port, with commas between them")
    return parts.hostname, parts.port or _SENTINEL_PORT
