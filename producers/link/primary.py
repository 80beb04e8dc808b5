"""Reaches the primary: asks all who know, connects to all whom they name, takes the first that proves to be it.

Those who know are the sentinels of a service, or the nodes of a cluster. One that is dead, hangs or is cut off
costs no time, and one that names a dead server or a replica does no harm as long as another names the primary.
:mod:`.race` does the same for threads, by the decisions of this file.

What can go wrong: nobody answers or knows (:class:`PrimaryUnknown`), or nobody who is named can be reached.
"""

import asyncio
import ssl
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from redis.exceptions import ConnectionError as ConnectionLost, RedisError, ResponseError

from . import cluster, sentinel
from .address import Address, Host
from .cluster import Slots, owner
from .wire import Argument, Wire

Reached = TypeVar("Reached")


async def reach_primary(
    address: Address,
    reach: Callable[[Host], Coroutine[Any, Any, Reached]],
    drop: Callable[[Reached], object],
    *,
    tag: str = "",
    refused: Host | None = None,
) -> tuple[Reached, Slots]:
    """Reach the primary; return what `reach` returned for it, and the answer that named it.

    Args:
        reach: connects to a server; raises when it cannot, or when the server is not the primary.
        drop: gives up a server that was reached too late.
        tag: on a cluster, the hash tag of the keys in question.
        refused: the server that was named before and is not the primary; reached only if nobody names another.

    Raises:
        RedisError, OSError: nobody could say, or nobody who was named could be reached.
    """
    context = tls(address)
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
        await asyncio.sleep(0)  # asyncio lets go of sockets in the next tick of the loop


async def _ask(host: Host, address: Address, tag: str, context: ssl.SSLContext | None) -> Slots:
    try:
        _, wire = await asyncio.get_running_loop().create_connection(Wire, *host, ssl=context)
        try:
            *_, reply = await asyncio.gather(*[wire.send(command) for command in questions(address)])
        finally:
            wire.abort()
    except (RedisError, OSError) as error:
        raise PrimaryUnknown(address, tag, error) from error
    return read_answer(reply, address, tag=tag, asked=host)


class PrimaryUnknown(ConnectionLost):
    """One who should know the primary does not, or does not answer.

    Args:
        error: why.
    """

    def __init__(self, address: Address, tag: str, error: Exception | None = None) -> None:
        who = "node of the cluster knows the primary for " + tag
        if not address.cluster:
            who = f"sentinel knows the primary of {address.service!r}"
        super().__init__(f"no {who}; check the address" + (f" ({error})" if error else ""))


class PrimaryRefused(ConnectionLost):
    """The server that is named is known not to be the primary; `slots` is the answer that names it."""

    def __init__(self, slots: Slots) -> None:
        super().__init__("the server that is named is not the primary (any more)")
        self.slots = slots


def questions(address: Address) -> list[tuple[Argument, ...]]:
    """The commands for one who may know; the last one's reply is the answer."""
    return cluster.questions(address) if address.cluster else sentinel.questions(address)


def read_answer(reply: object, address: Address, *, tag: str, asked: Host) -> Slots:
    """Which primary has which slots; that of a service has all. Raises Unknown when the reply is a refusal."""
    if isinstance(reply, ResponseError):
        raise PrimaryUnknown(address, tag, reply) from reply
    return cluster.read_answer(reply, asked=asked) if address.cluster else sentinel.read_answer(reply)


def named_by(slots: Slots, address: Address, *, tag: str, refused: Host | None) -> Host:
    """The primary that an answer names. Raises Unknown, Refused."""
    named = owner(slots, tag)
    if named is None:
        raise PrimaryUnknown(address, tag)
    if named == refused:
        raise PrimaryRefused(slots)
    return named


def last_resort(troubles: Sequence[Exception], refused: Host | None) -> tuple[Slots, Host]:
    """The refused server, if it was the only one named; raises what is best to know otherwise.

    A server that was reached and failed says more than somebody who knows none.
    """
    for one in troubles:
        if isinstance(one, PrimaryRefused) and refused is not None:
            return one.slots, refused
    raise min(troubles, key=lambda one: isinstance(one, PrimaryUnknown))


def tls(address: Address) -> ssl.SSLContext | None:
    """How to check whom one speaks to; None without TLS. The files are read anew: they may have been renewed."""
    if not address.secure:
        return None
    options = address.options
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    if certificate := options.get("ssl_certfile"):
        context.load_cert_chain(certificate, options.get("ssl_keyfile"))
    return context
