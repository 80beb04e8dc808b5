"""Host names that a server of this machine accepts (`Host`, RFC 9110, 7.2).

A web page may have its own name resolve to 127.0.0.1 and then read the responses of a server there as its own (DNS
rebinding). Such a request carries the page's name, so a server that accepts only the names of this machine is
safe. Only the name is compared, not the port: a proxy or a container may have changed the port.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_THIS_MACHINE = re.compile(r"127(\.[0-9]{1,3}){3}|localhost|\[::1\]", re.ASCII)
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{0,5})?", re.ASCII)


class AllowedHosts:
    """The names of this machine, and other listed names.

    Args:
        listed: names or addresses without a port; IPv6 addresses with brackets.

    Example:
        >>> hosts = AllowedHosts(["Reports.example"])
        >>> hosts.allows("reports.example:8710"), hosts.allows("localhost"), hosts.allows("elsewhere.example")
        (True, True, False)
    """

    def __init__(self, listed: Iterable[str] = ()) -> None:
        self._listed = frozenset(map(_name, listed))

    def allows(self, host: str) -> bool:
        """Return True if a request with this `Host` is allowed; an empty one is not."""
        name = _name(host)
        return name in self._listed or _THIS_MACHINE.fullmatch(name) is not None


def _name(host: str) -> str:
    """Return the name without port and final dot, in lower case; "-" for an invalid one."""
    found = _HOST.fullmatch(host.lower())
    return found[1].removesuffix(".") if found else "-"
