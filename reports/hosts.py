"""Hosts of a Postgres address that names several, as ``postgresql://user@first,second:5433/application``.

The driver gives one time limit to all hosts together, so that a host that does not answer (without power, behind a
firewall, frozen) uses all of it and the others are never tried. So each is tried with a part of the limit.
"""

from collections.abc import Mapping
from itertools import zip_longest
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

_PORT = 5432
_PREFER_STANDBY = ("standby", "any")
"""``prefer-standby`` as the two rounds that it stands for."""


def attempts_of(dsn: str) -> list[Mapping[str, object]]:
    """Return what the driver needs besides an address for each attempt, in order: host, port, state of the server.

    >>> attempts_of("postgresql://reader@first:5433,second/application")
    [{'host': 'first', 'port': 5433}, {'host': 'second', 'port': 5432}]
    >>> attempts_of("postgresql://reader@only/application")
    [{}]
    """
    address = urlsplit(dsn)
    query = parse_qs(address.query)
    hosts = _in_front(address) or _in_query(query)
    if len(hosts) <= 1:
        return [{}]
    named: list[Mapping[str, object]] = [{"host": host, "port": port} for host, port in hosts]
    if query.get("target_session_attrs") != ["prefer-standby"]:
        return named
    return [{**one, "target_session_attrs": wanted} for wanted in _PREFER_STANDBY for one in named]


def _in_front(address: SplitResult) -> list[tuple[str, int]]:
    hosts = address.netloc.rpartition("@")[2]
    return [_split(one) for one in hosts.split(",")] if hosts else []


def _split(host: str) -> tuple[str, int]:
    name, _, port = host.rpartition(":") if ":" in host.rpartition("]")[2] else (host, "", "")
    return unquote(name).strip("[]"), int(port or _PORT)


def _in_query(query: Mapping[str, list[str]]) -> list[tuple[str, int]]:
    hosts = ",".join(query.get("host", [])).split(",")
    ports = ",".join(query.get("port", [])).split(",")
    usual = ports[0] if len(ports) == 1 else ""
    return [(host, int(port or _PORT)) for host, port in zip_longest(hosts, ports[: len(hosts)], fillvalue=usual)]
