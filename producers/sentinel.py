"""Who is the primary? The sentinels know.

All are asked at once and the first that names one is believed, so that a sentinel that is dead or cut off
costs no time. What it names may be an old primary for a moment; the caller asks the server for its role
(https://redis.io/docs/latest/develop/reference/sentinel-clients/).

What can go wrong: no sentinel answers, or none knows the service (ConnectionLost). A primary that the network
has cut off together with a sentinel and the client still takes writes, which are lost when the rest has
elected another; only a confirmation by its replicas tells the difference.
"""

import asyncio
from contextlib import suppress

from redis.exceptions import ConnectionError as ConnectionLost, RedisError, ResponseError

from .address import Address
from .wire import Argument, Wire


async def find_primary(address: Address) -> tuple[str, int]:
    """Host and port of the primary.

    Raises:
        ConnectionLost: no sentinel could say.
    """
    asking = [asyncio.create_task(_ask(host, port, address)) for host, port in address.sentinels]
    try:
        for answer in asyncio.as_completed(asking):
            with suppress(RedisError, OSError):
                if found := await answer:
                    return found
    finally:
        for question in asking:
            question.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    raise ConnectionLost(f"no sentinel knows the primary of {address.service!r}; check the address and its name")


async def _ask(host: str, port: int, address: Address) -> tuple[str, int] | None:
    _, wire = await asyncio.get_running_loop().create_connection(Wire, host, port)
    try:
        *_, reply = await asyncio.gather(*[wire.send(command) for command in questions(address)])
    finally:
        wire.abort()
    return read_answer(reply)


def questions(address: Address) -> list[tuple[Argument, ...]]:
    """The commands for a sentinel; the last one's reply is the answer."""
    question: tuple[Argument, ...] = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", address.service)
    if password := address.options.get("password"):
        return [("AUTH", password), question]  # refused by one without a password, which does no harm
    return [question]


def read_answer(reply: object) -> tuple[str, int] | None:
    """Host and port, or None when this sentinel does not know the service.

    Raises:
        ResponseError: it refused the question.
    """
    if isinstance(reply, ResponseError):
        raise reply
    if not isinstance(reply, list):
        return None
    host, port = reply
    return host.decode(), int(port)
