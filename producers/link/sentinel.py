"""What a sentinel is asked, and what its reply means. No I/O; :mod:`.primary` asks.

What it names may be an old primary for a moment; whoever connects asks the server for its role
(https://redis.io/docs/latest/develop/reference/sentinel-clients/). A primary that the network has cut off
together with a sentinel and the client still takes writes, which are lost when the rest has elected another;
only a confirmation by its replicas tells the difference.
"""

from .address import Address
from .cluster import SLOTS, Slots
from .wire import Argument


def questions(address: Address) -> list[tuple[Argument, ...]]:
    """The commands for a sentinel; the last one's reply is the answer."""
    question: tuple[Argument, ...] = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.service)
    if password := address.options.get("password"):
        return [("AUTH", password), question]  # refused by one without a password, which does no harm
    return [question]


def read_answer(reply: object) -> Slots:
    """One primary for all slots, or none when this sentinel does not know the service."""
    if not isinstance(reply, list):
        return ()
    host, port = reply
    return ((0, SLOTS - 1, (host.decode(), int(port))),)


def is_primary(role: object) -> bool:
    """Whether a server calls itself the primary in its reply to ROLE."""
    return isinstance(role, list) and role[0] in {b"master", "master"}
