"""The role of a Redis server, by its reply to ROLE. Pure.

Two of its changes show that jobs may be lost although the connection and the id of the data stay:

    the server follows another   its data was replaced, like that of a primary that was cut off from its replicas
    a replica is new             it may have been a primary until now, and what only it had is gone
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ServerRole:
    """Place of a server among those that replicate each other.

    Attributes:
        primary: the server that it follows, and "with its data" once it has that; empty for a primary.
        replicas: those that have its data.
    """

    primary: str = ""
    replicas: frozenset[str] = frozenset()


def read_role(reply: Any) -> ServerRole:  # noqa: ANN401  a reply has any type
    """Return the role in a server's reply.

    Example:
        >>> read_role([b"master", 7, [[b"10.0.0.2", b"6379", b"7"]]])
        ServerRole(primary='', replicas=frozenset({'10.0.0.2 6379'}))
        >>> read_role([b"slave", b"10.0.0.1", 6379, b"connected", 7]).primary
        '10.0.0.1 6379 with its data'
    """
    if reply[0] == b"slave":
        _, host, port, state, _ = reply
        return ServerRole(f"{host.decode()} {port}{' with its data' if state == b'connected' else ''}")
    return ServerRole(replicas=frozenset(f"{host.decode()} {port.decode()}" for host, port, _ in reply[2]))
