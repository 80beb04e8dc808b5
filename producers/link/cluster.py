"""Queries to a node of a Redis Cluster, and the meaning of their replies. No I/O; :mod:`.primary` sends them.

All keys of a lane group carry one hash tag, so they lie in one slot, and a slot has one primary at a time
(https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/). Any node knows it, unless the node is
partitioned or was removed; the server that it names then replies MOVED or CLUSTERDOWN, and another node's reply is
used.

While a slot moves, a script runs up to the first undeclared key that is missing. So a key that never exists is
declared with every script, which is then rejected as a whole (TRYAGAIN).
"""

from collections.abc import Iterable, Sequence
from typing import Any

from redis.crc import key_slot
from redis.exceptions import ResponseError

from .address import Address, Host
from .command import Argument

SLOTS = 16384
Slots = tuple[tuple[int, int, Host], ...]
"""First slot, last slot, and the primary that has them."""


def slot_map_commands(address: Address) -> list[tuple[Argument, ...]]:
    """Return the commands for a node; the last one's reply is the map of slots."""
    question: tuple[Argument, ...] = ("CLUSTER", "SLOTS")
    if password := address.options.get("password"):
        return [("AUTH", address.options.get("username") or "default", password), question]
    return [question]


def read_answer(reply: object, *, asked: Host) -> Slots:
    """Decode the map of slots to primaries; a node may lack some slots.

    Args:
        asked: the node that replied; a node that does not know its own name leaves it out.
    """
    if not isinstance(reply, list):
        return ()
    named = [(first, last, _host(primary, asked)) for first, last, primary, *_ in reply]
    return tuple((first, last, host) for first, last, host in named if host is not None)


def _host(primary: Sequence[Any], asked: Host) -> Host | None:
    name = (primary[0] or b"").decode()
    return None if name == "?" else (name or asked[0], int(primary[1]))


def with_moved(slots: Slots, tag: str, host: Host) -> Slots:
    """Return the slots, updated by a server's reply about the slot of this tag."""
    slot = key_slot(tag.encode())
    return ((slot, slot, host), *(one for one in slots if one[:2] != (slot, slot)))


def slot_owner(slots: Slots, tag: str) -> Host | None:
    """Return the primary for keys with this hash tag, or None if it is not known.

    >>> slot_owner(((0, 16383, ("a", 6379)),), "{mail}")
    ('a', 6379)
    """
    slot = key_slot(tag.encode())
    return next((host for first, last, host in slots if first <= slot <= last), None)


def redirect_target(reply: object, word: str, *, asked: Host) -> Host | None:
    """Return the server to which a reply redirects the command, or None for any other reply.

    Args:
        word: ``MOVED``: the slot is there now; ``ASK``: the slot is moving there, and these keys have moved
            already.
        asked: the server that replied.

    >>> redirect_target(ResponseError("ASK 5 b:6379"), "ASK", asked=("a", 6379))
    ('b', 6379)
    """
    if not (isinstance(reply, ResponseError) and str(reply).startswith(f"{word} ")):
        return None
    name, _, port = str(reply).rpartition(" ")[2].rpartition(":")
    return name or asked[0], int(port)


def with_asking(commands: Iterable[Sequence[Argument]]) -> list[Sequence[Argument]]:
    """Return the commands for a server to which the slot is moving; every second reply belongs to one of them."""
    return [part for command in commands for part in (("ASKING",), command)]


def with_guard_key(command: Sequence[Argument], tag: str) -> Sequence[Argument]:
    """Return the command; a script's call gets one more key, which never exists.

    Example:
        >>> with_guard_key(("EVALSHA", "sha", 1, "queue:{mail}", "argument"), "{mail}")
        ('EVALSHA', 'sha', 2, 'queue:{mail}', 'momentus:{mail}:never', 'argument')
    """
    if command[0] != "EVALSHA" or not command[2]:
        return command
    keys = int(command[2])
    behind = 3 + keys
    return (*command[:2], keys + 1, *command[3:behind], f"momentus:{tag}:never", *command[behind:])
