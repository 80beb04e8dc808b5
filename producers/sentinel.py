"""What a sentinel is asked, and what it says. No I/O; :mod:`.primary` asks.

What it names may be an old primary for a moment; whoever connects asks the server for its role
(https://redis.io/docs/latest/develop/reference/sentinel-clients/). A primary that the network has cut off
together with a sentinel and the client still takes writes, which are lost when the rest has elected another;
only a confirmation by its replicas tells the difference.
"""

from .address import Address, Host
from .wire import Argument


def questions(address: Address) -> list[tuple[Argument, ...]]:
    """The commands for a sentinel; the last one's reply is the answer."""
    question: tuple[Argument, ...] = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.service)
    if password := address.options.get("password"):
        return [("AUTH", password), question]  # refused by one without a password, which does no harm
    return [question]


def read_answer(reply: object) -> Host | None:
    """Host and port, or None when this sentinel does not know the service."""
    if not isinstance(reply, list):
        return None
    host, port = reply
    return host.decode(), int(port)
