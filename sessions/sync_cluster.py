"""Scripts on a cluster without asyncio: each goes to the primary of its keys' slot.

redis-py's own client for this drops the check of the host name without a word, connects when it is made, and
repeats what may have been carried out already: a rotation that is repeated loses its token. This one repeats only
what was refused. After any trouble it asks anew who has which slots, so that the caller's next call finds them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha1
from typing import Any

from redis import Connection, ConnectionPool, Redis
from redis.crc import key_slot
from redis.exceptions import (
    ConnectionError as ConnectionLost,
    NoScriptError,
    RedisError,
    ResponseError,
)

from .address import Address, Host

Word = str | bytes | int


class SyncCluster:
    """Of redis-py's client as much as the sessions need. Safe to share between threads.

    Args:
        kind, options: of the connections to the nodes.

    Example:
        >>> cluster = SyncCluster(read_address("cluster://127.0.0.1:6379"), Connection, {})
        >>> cluster.register_script("return 1")(keys=["momentus:{s:9370e9b2}:a"], args=[])

    """

    def __init__(self, address: Address, kind: type[Connection], options: dict[str, Any]) -> None:
        self._asked = address.cluster
        self._kind = kind
        self._options = address.options | options
        self._nodes: dict[Host, Redis] = {}
        self._slots: list[tuple[int, int, Host]] = []

    def register_script(self, text: str) -> Callable[..., Any]:
        """A script, to be called with ``keys``, all of one slot, and ``args``."""
        name = sha1(text.encode(), usedforsecurity=False).hexdigest()

        def run(*, keys: Sequence[str], args: Sequence[Word]) -> Any:  # noqa: ANN401  a reply is whatever the script returns
            rest = (len(keys) + 1, *keys, _guard(keys[0]), *args)
            try:
                return self._send(keys[0], "EVALSHA", name, *rest)
            except NoScriptError:
                return self._send(keys[0], "EVAL", text, *rest)

        return run

    def close(self) -> None:
        """Close the connections."""
        for node in list(self._nodes.values()):
            node.close()

    def _send(self, key: str, *command: Word) -> Any:  # noqa: ANN401  as above
        """To the slot's primary; once more when the slot has moved, since what was refused was not carried out."""
        try:
            return self._send_once(key, *command)
        except ResponseError as refusal:
            if not str(refusal).startswith("MOVED"):
                raise
            return self._send_once(key, *command)

    def _send_once(self, key: str, *command: Word) -> Any:  # noqa: ANN401  as above
        try:
            return self._primary(key_slot(key.encode())).execute_command(*command)  # type: ignore[no-untyped-call]
        except NoScriptError:
            raise
        except (RedisError, OSError):
            self._slots = []
            raise

    def _primary(self, slot: int) -> Redis:
        slots = self._slots or self._look()
        for first, last, host in slots:
            if first <= slot <= last:
                return self._node(host)
        raise ConnectionLost("the slot has no primary; check the cluster")

    def _look(self) -> list[tuple[int, int, Host]]:
        """Who has which slots; nodes are asked one after the other, first the one that answered the last time."""
        trouble: Exception | None = None
        for host in self._asked:
            try:
                ranges = self._node(host).execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
            except (RedisError, OSError) as error:
                trouble = error
                continue
            if found := [(one[0], one[1], _host(one[2], asked=host)) for one in ranges]:
                self._slots = found
                self._asked = (host, *(other for other in self._asked if other != host))
                return found
        if isinstance(trouble, ResponseError):
            raise trouble
        raise ConnectionLost("no node of the cluster answers; check the address and the cluster") from trouble

    def _node(self, host: Host) -> Redis:
        """The client of a node; of two threads that make one, the first one's is kept."""
        if host not in self._nodes:
            made = ConnectionPool(
                connection_class=self._kind, **(self._options | {"host": host[0], "port": host[1]})
            )
            self._nodes.setdefault(host, Redis.from_pool(made))
        return self._nodes[host]


def _host(node: Sequence[Any], *, asked: Host) -> Host:
    """A node as another names it; one that does not know its own name leaves it out."""
    return (node[0] or b"").decode() or asked[0], int(node[1])


def _guard(key: str) -> str:
    """A key that never exists, in the slot of this one.

    While a slot moves to another primary key by key, a server refuses what declares a key that is not there, but
    runs a script up to the first undeclared one that is not. So the script is refused as a whole.

    Example:
        >>> _guard("momentus:{s:9370e9b2}:epoch:u-17")
        'momentus:{s:9370e9b2}:never'
    """
    tag = key.partition("{")[2].partition("}")[0]
    return f"momentus:{{{tag}}}:never"
