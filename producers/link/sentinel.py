"""Queries to a sentinel, and the meaning of their replies. No I/O; :mod:`.primary` sends them.

A sentinel may name an old primary for a moment; so a new connection queries the server's role
(https://redis.io/docs/latest/develop/reference/sentinel-clients/). A primary that is partitioned
together with a sentinel and the client still accepts writes, which are lost when the others have elected a new
one; only a confirmation by its replicas reveals that.
"""

from .address import Address
from .cluster import SLOTS, Slots
from .command import Argument


def primary_commands(address: Address) -> list[tuple[Argument, ...]]:
    """Return the commands for a sentinel; the last one's reply names the primary."""
    question: tuple[Argument, ...] = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.service)
    if password := address.options.get("password"):
        return [("AUTH", password), question]  # a sentinel without a password rejects it, which is harmless
    return [question]


def read_answer(reply: object) -> Slots:
    """Return one primary for all slots, or none if this sentinel does not know the service."""
    if not isinstance(reply, list):
        return ()
    host, port = reply
    return ((0, SLOTS - 1, (host.decode(), int(port))),)


def is_primary(role: object) -> bool:
    """Return True if a server's reply to ROLE says that it is the primary."""
    return isinstance(role, list) and role[0] in {b"master", "master"}
