"""Search for the primary: queries all sentinels or nodes, connects to all named servers, uses the first primary.

A sentinel or node that is dead, stalled or partitioned costs no time, and one that names a dead server or a
replica does no harm as long as another names the primary. :mod:`.race` does the same for threads, with the
decisions of this file.
"""

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from redis.exceptions import ConnectionError as ConnectionLost, RedisError, ResponseError

from . import cluster, sentinel
from .address import Address, Host
from .cluster import Slots, slot_owner
from .command import Argument
from .wire import Wire

Reached = TypeVar("Reached")


async def reach_primary(
    address: Address,
    reach: Callable[[Host], Coroutine[Any, Any, Reached]],
    drop: Callable[[Reached], object],
    *,
    tag: str = "",
    refused: Host | None = None,
) -> tuple[Reached, Slots]:
    """Connect to the primary; return the result of `reach` for it, and the map of slots that named it.

    Args:
        reach: connects to a server; raises if it cannot, or if the server is not the primary.
        drop: closes a server that was reached too late.
        tag: on a cluster, the hash tag of the keys.
        refused: the server that was named before and is not the primary; used only if no other is named.

    Raises:
        RedisError, OSError: no sentinel or node knows, or no named server is reachable.
    """
    context = tls_context(address)
    reaching: dict[Host, asyncio.Task[Reached]] = {}

    async def follow(asked: Host) -> tuple[Reached, Slots]:
        slots = await _ask(asked, address, tag, context)
        named = named_by(slots, address, tag=tag, refused=refused)
        if named not in reaching:
            reaching[named] = asyncio.create_task(reach(named))
        return await asyncio.shield(reaching[named]), slots

    following = [asyncio.create_task(follow(host)) for host in address.asked]
    troubles: list[Exception] = []
    won: Reached | None = None
    try:
        for one in asyncio.as_completed(following):
            try:
                won, slots = await one
            except (RedisError, OSError) as error:
                troubles.append(error)
            else:
                return won, slots
        slots, host = last_resort(troubles, refused)
        return await reach(host), slots
    finally:
        for task in (*following, *reaching.values()):
            task.cancel()
        await asyncio.gather(*following, *reaching.values(), return_exceptions=True)
        for late in reaching.values():
            if not late.cancelled() and late.exception() is None and late.result() is not won:
                drop(late.result())
        await asyncio.sleep(0)  # asyncio closes sockets in the next tick of the loop


async def _ask(host: Host, address: Address, tag: str, context: ssl.SSLContext | None) -> Slots:
    try:
        _, wire = await asyncio.get_running_loop().create_connection(Wire, *host, ssl=context)
        try:
            *_, reply = await asyncio.gather(*[wire.send(command) for command in primary_commands(address)])
        finally:
            wire.abort()
    except (RedisError, OSError) as error:
        raise PrimaryUnknown(address, tag, error) from error
    return read_answer(reply, address, tag=tag, asked=host)


class PrimaryUnknown(ConnectionLost):
    """A sentinel or node does not know the primary, or does not reply.

    Args:
        error: the cause.
    """

    def __init__(self, address: Address, tag: str, error: Exception | None = None) -> None:
        source = "node of the cluster knows the primary for " + tag
        if not address.cluster:
            source = f"sentinel knows the primary of {address.service!r}"
        super().__init__(f"no {source}; check the address" + (f" ({error})" if error else ""))


class PrimaryRefused(ConnectionLost):
    """The named server is known not to be the primary; `slots` is the map that names it."""

    def __init__(self, slots: Slots) -> None:
        super().__init__("the named server is not, or no longer, the primary; repeat the call")
        self.slots = slots


def first_commands(address: Address, *, pushes: bool = False) -> list[tuple[Argument, ...]]:
    """Return the first commands of a connection; behind sentinels the last one's reply has the server's role.

    Args:
        pushes: request RESP3, in which the server may send unsolicited messages.
    """
    commands: list[tuple[Argument, ...]] = []
    if password := address.options.get("password"):
        commands.append(("AUTH", address.options.get("username") or "default", password))
    if database := address.options.get("db"):
        commands.append(("SELECT", int(database)))
    if pushes:
        commands.append(("HELLO", 3))
    if address.sentinels:
        commands.append(("ROLE",))
    return commands


def primary_commands(address: Address) -> list[tuple[Argument, ...]]:
    """Return the commands for a sentinel or node; the last one's reply names the primary."""
    return cluster.slot_map_commands(address) if address.cluster else sentinel.primary_commands(address)


def read_answer(reply: object, address: Address, *, tag: str, asked: Host) -> Slots:
    """Decode the map of slots to primaries; a service's primary has all. Raises PrimaryUnknown for an error."""
    if isinstance(reply, ResponseError):
        raise PrimaryUnknown(address, tag, reply) from reply
    return cluster.read_answer(reply, asked=asked) if address.cluster else sentinel.read_answer(reply)


def named_by(slots: Slots, address: Address, *, tag: str, refused: Host | None) -> Host:
    """Return the primary that a map of slots names. Raises PrimaryUnknown, PrimaryRefused."""
    named = slot_owner(slots, tag)
    if named is None:
        raise PrimaryUnknown(address, tag)
    if named == refused:
        raise PrimaryRefused(slots)
    return named


def last_resort(troubles: Sequence[Exception], refused: Host | None) -> tuple[Slots, Host]:
    """Return the refused server if it was the only one named; otherwise raises the most informative error.

    The failure of a named server is more informative than a sentinel or node without an answer.
    """
    for one in troubles:
        if isinstance(one, PrimaryRefused) and refused is not None:
            return one.slots, refused
    raise min(troubles, key=lambda one: isinstance(one, PrimaryUnknown))


def tls_context(address: Address) -> ssl.SSLContext | None:
    """Return the TLS context of an address, or None. Files are read every time, as they may have been renewed."""
    if not address.secure:
        return None
    options = address.options
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    if certificate := options.get("ssl_certfile"):
        context.load_cert_chain(certificate, options.get("ssl_keyfile"))
    return context
