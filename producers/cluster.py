"""What a node of a Redis Cluster is asked, and what it says. No I/O; :mod:`.primary` asks.

All keys of a lane group carry one hash tag, so they lie in one slot, and a slot has one primary at a time
(https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/). Any node knows which, unless it has
been cut off or taken out; the server that it names then says so by MOVED or CLUSTERDOWN, and another node is
believed.

A slot that moves to another primary key by key (CLUSTER SETSLOT, MIGRATE) is in two places meanwhile. A server
refuses a command some of whose declared keys are not there (TRYAGAIN), but it runs a script up to the first
undeclared key that is not. So one that never is there is declared with every script: the script is then refused as
a whole, until the slot has arrived. Where slots move at once (Valkey 9: CLUSTER MIGRATESLOTS), nothing is refused.
"""

from collections.abc import Sequence

from redis.crc import key_slot

from .address import Address, Host
from .wire import Argument


def questions(address: Address) -> list[tuple[Argument, ...]]:
    """The commands for a node; the last one's reply is the answer."""
    question: tuple[Argument, ...] = ("CLUSTER", "SLOTS")
    if password := address.options.get("password"):
        return [("AUTH", address.options.get("username") or "default", password), question]
    return [question]


def read_answer(reply: object, *, tag: str, asked: Host) -> Host | None:
    """Host and port of the primary for keys with this tag, or None when this node knows of none.

    Args:
        asked: the node; one that does not know its own name leaves it out.
    """
    if not isinstance(reply, list):
        return None
    slot = key_slot(tag.encode())
    for first, last, primary, *_ in reply:
        if first <= slot <= last:
            name = (primary[0] or b"").decode()
            return None if name == "?" else (name or asked[0], int(primary[1]))
    return None


def guarded(command: Sequence[Argument], tag: str) -> Sequence[Argument]:
    """The command; a script's call with one key more, that never exists.

    Example:
        >>> guarded(("EVALSHA", "sha", 1, "queue:{mail}", "argument"), "{mail}")
        ('EVALSHA', 'sha', 2, 'queue:{mail}', 'momentus:{mail}:never', 'argument')
    """
    if command[0] != "EVALSHA":
        return command
    keys = int(command[2])
    behind = 3 + keys
    return (*command[:2], keys + 1, *command[3:behind], f"momentus:{tag}:never", *command[behind:])
