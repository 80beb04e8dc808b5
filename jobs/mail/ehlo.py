"""EHLO name: the name that a client gives to a mail server (RFC 5321, 4.1.4). Pure.

It is a full domain name or, for a machine without one, the bracketed address of the connection's own end. A bare
host name is neither, and servers that check it (Postfix: ``reject_non_fqdn_helo_hostname``) refuse every mail.
"""

import re
from ipaddress import IPv6Address, ip_address

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_FULL_NAME = re.compile(rf"(?=.{{1,255}}\Z)(?:{_LABEL}\.)+(?!\d+\Z){_LABEL}")
_LOCAL = ("localhost", "localdomain")


def is_ehlo_name(text: str) -> bool:
    """Return True if the text is a fully qualified domain name or an address literal.

    >>> [is_ehlo_name(one) for one in ("app.example.com", "[192.0.2.1]", "[IPv6:2001:db8::1]", "app", "192.0.2.1")]
    [True, True, True, False, False]
    """
    if not (text.startswith("[") and text.endswith("]")):
        return bool(_FULL_NAME.fullmatch(text))
    inner = text[1:-1]
    try:
        address = ip_address(inner.removeprefix("IPv6:"))
    except ValueError:
        return False
    return "%" not in inner and isinstance(address, IPv6Address) == inner.startswith("IPv6:")


def choose_ehlo_name(configured: str, host_name: str, own_address: str) -> str:
    """Return the configured name, else this machine's name if it is fully qualified, else the address literal.

    Args:
        host_name: the machine's own name.
        own_address: of this end of the connection.

    >>> choose_ehlo_name("", "app", "192.0.2.1"), choose_ehlo_name("", "app.example.com", "192.0.2.1")
    ('[192.0.2.1]', 'app.example.com')
    """
    if configured:
        return configured
    name = host_name.rstrip(".")
    if is_ehlo_name(name) and not name.lower().endswith(_LOCAL):
        return name
    return _literal(own_address)


def _literal(own_address: str) -> str:
    address = ip_address(own_address.partition("%")[0])
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return f"[IPv6:{address}]" if isinstance(address, IPv6Address) else f"[{address}]"
