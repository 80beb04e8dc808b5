"""The names under which a server of this machine may be asked (`Host`, RFC 9110, 7.2).

A page of the web may have its own name point at 127.0.0.1 and then read, as its own, what answers there (DNS
rebinding). Such a request carries the page's name; so a server that answers to the names of this machine alone
is safe from it. Only the name is compared, not the port: a proxy or a container may have changed that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_THIS_MACHINE = re.compile(r"127(\.[0-9]{1,3}){3}|localhost|\[::1\]", re.ASCII)
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{0,5})?", re.ASCII)


class AllowedHosts:
    """The names of this machine, and others that were listed.

    Args:
        listed: names or addresses without a port; of IPv6 with its brackets.

    Example:
        >>> hosts = AllowedHosts(["Reports.example"])
        >>> hosts.allows("reports.example:8710"), hosts.allows("localhost"), hosts.allows("elsewhere.example")
        (True, True, False)
    """

    def __init__(self, listed: Iterable[str] = ()) -> None:
        self._listed = frozenset(map(_name, listed))

    def allows(self, host: str) -> bool:
        """Whether a request with this `Host` may be answered; without one it may not."""
        name = _name(host)
        return name in self._listed or _THIS_MACHINE.fullmatch(name) is not None


def _name(host: str) -> str:
    """The name without its port and without the dot of the root, in lower case; "-" for what is none."""
    found = _HOST.fullmatch(host.lower())
    return found[1].removesuffix(".") if found else "-"
