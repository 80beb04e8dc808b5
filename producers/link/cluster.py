"""What a node of a Redis Cluster is asked, and what its reply means. No I/O; :mod:`.primary` asks.

All keys of a lane group carry one hash tag, so they lie in one slot, and a slot has one primary at a time
(https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/). Any node knows which, unless it has
been cut off or taken out; the server that it names then says so by MOVED or CLUSTERDOWN, and another node is
believed.

A slot that moves to another primary key by key (CLUSTER SETSLOT, MIGRATE) is in two places meanwhile. A server
refuses a command some of whose declared keys are not there (TRYAGAIN), but it runs a script up to the first
undeclared key that is not. So one that never is there is declared with every script: the script is then refused as
a whole, until the slot has arrived. Where slots move at once (Valkey 9: CLUSTER MIGRATESLOTS), nothing is refused.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from redis.crc import key_slot
from redis.exceptions import ResponseError

from .address import Address, Host
from .wire import Argument

SLOTS = 16384
Slots = tuple[tuple[int, int, Host], ...]
"""First slot, last slot, and the primary that has them."""


def tag_of(key: str) -> str:
    """The hash tag of a key or of a job id, braces included; all keys with the same one live in one slot.

    >>> tag_of("momentus:{mail}:counters")
    '{mail}'
    """
    return key[key.index("{") : key.index("}") + 1]


def questions(address: Address) -> list[tuple[Argument, ...]]:
    """The commands for a node; the last one's reply is the answer."""
    question: tuple[Argument, ...] = ("CLUSTER", "SLOTS")
    if password := address.options.get("password"):
        return [("AUTH", address.options.get("username") or "default", password), question]
    return [question]


def read_answer(reply: object, *, asked: Host) -> Slots:
    """Which primary has which slots; of some a node may know none.

    Args:
        asked: the node; one that does not know its own name leaves it out.
    """
    if not isinstance(reply, list):
        return ()
    named = [(first, last, _host(primary, asked)) for first, last, primary, *_ in reply]
    return tuple((first, last, host) for first, last, host in named if host is not None)


def _host(primary: Sequence[Any], asked: Host) -> Host | None:
    name = (primary[0] or b"").decode()
    return None if name == "?" else (name or asked[0], int(primary[1]))


def with_moved(slots: Slots, tag: str, host: Host) -> Slots:
    """The slots after a server has said where the slot of this tag is now."""
    slot = key_slot(tag.encode())
    return ((slot, slot, host), *(one for one in slots if one[:2] != (slot, slot)))


def owner(slots: Slots, tag: str) -> Host | None:
    """The primary for keys with this hash tag, or None when it is not known.

    >>> owner(((0, 16383, ("a", 6379)),), "{mail}")
    ('a', 6379)
    """
    slot = key_slot(tag.encode())
    return next((host for first, last, host in slots if first <= slot <= last), None)


def redirected(reply: object, word: str, *, asked: Host) -> Host | None:
    """The server to which a refusal sends its command, or None for any other reply.

    Args:
        word: ``MOVED``, the slot is there now, or ``ASK``, the slot is on its way there and these keys are ahead.
        asked: who refused.

    >>> redirected(ResponseError("ASK 5 b:6379"), "ASK", asked=("a", 6379))
    ('b', 6379)
    """
    if not (isinstance(reply, ResponseError) and str(reply).startswith(f"{word} ")):
        return None
    name, _, port = str(reply).rpartition(" ")[2].rpartition(":")
    return name or asked[0], int(port)


def asking(commands: Iterable[Sequence[Argument]]) -> list[Sequence[Argument]]:
    """The commands as a server takes them for a slot that is on its way to it; every second reply is theirs."""
    return [part for command in commands for part in (("ASKING",), command)]


def guarded(command: Sequence[Argument], tag: str) -> Sequence[Argument]:
    """The command; a script's call with one key more, that never exists.

    Example:
        >>> guarded(("EVALSHA", "sha", 1, "queue:{mail}", "argument"), "{mail}")
        ('EVALSHA', 'sha', 2, 'queue:{mail}', 'momentus:{mail}:never', 'argument')
    """
    if command[0] != "EVALSHA" or not command[2]:
        return command
    keys = int(command[2])
    behind = 3 + keys
    return (*command[:2], keys + 1, *command[3:behind], f"momentus:{tag}:never", *command[behind:])
