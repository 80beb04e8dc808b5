"""Who is the primary? Those who know are asked: the sentinels of a service, or the nodes of a cluster.

With asyncio all are asked at once and the first that names one is believed, so that one that is dead or cut off
costs no time. Without, one after the other, each for its share of the time that is left; whoever answered is asked
first the next time.

What can go wrong: nobody answers, or nobody knows (ConnectionLost). What is named may be out of date; it then
refuses the first command, and is named as refused here, so that somebody else's word is taken for it if there is
one.
"""

import asyncio
import ssl
from contextlib import suppress

from redis.exceptions import ConnectionError as ConnectionLost, RedisError

from . import cluster, sentinel
from .address import Address, Host
from .wire import Argument, Wire


async def find_primary(address: Address, *, tag: str = "", refused: Host | None = None) -> Host:
    """Host and port of the primary.

    Args:
        tag: on a cluster, the hash tag of the keys in question.
        refused: who was named before and is not the primary; believed only if nobody names another.

    Raises:
        ConnectionLost: nobody could say.
    """
    named: Host | None = None
    context = tls(address)
    asking = [asyncio.create_task(_ask(host, address, tag, context)) for host in address.asked]
    try:
        for answer in asyncio.as_completed(asking):
            with suppress(RedisError, OSError):
                named = await answer or named
            if named not in {None, refused}:
                break
    finally:
        for question in asking:
            question.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
        await asyncio.sleep(0)  # asyncio lets go of their sockets in the next tick of the loop
    if named is None:
        raise nobody_knows(address, tag)
    return named


async def _ask(host: Host, address: Address, tag: str, context: ssl.SSLContext | None) -> Host | None:
    _, wire = await asyncio.get_running_loop().create_connection(Wire, *host, ssl=context)
    try:
        *_, reply = await asyncio.gather(*[wire.send(command) for command in questions(address)])
    finally:
        wire.abort()
    return read_answer(reply, address, tag=tag, asked=host)


def questions(address: Address) -> list[tuple[Argument, ...]]:
    """The commands for one who may know; the last one's reply is the answer."""
    return cluster.questions(address) if address.cluster else sentinel.questions(address)


def read_answer(reply: object, address: Address, *, tag: str, asked: Host) -> Host | None:
    """Host and port, or None when this one does not know."""
    return cluster.read_answer(reply, tag=tag, asked=asked) if address.cluster else sentinel.read_answer(reply)


def nobody_knows(address: Address, tag: str) -> ConnectionLost:
    """The error in words."""
    if address.cluster:
        return ConnectionLost(
            f"no node of the cluster knows the primary for {tag}; check the address and the cluster"
        )
    return ConnectionLost(f"no sentinel knows the primary of {address.service!r}; check the address and its name")


def tls(address: Address) -> ssl.SSLContext | None:
    """How to check whom one speaks to; None without TLS. The files are read anew: they may have been renewed."""
    if not address.secure:
        return None
    options = address.options
    context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
    if certificate := options.get("ssl_certfile"):
        context.load_cert_chain(certificate, options.get("ssl_keyfile"))
    return context
