"""The three connections of a worker: for commands, for the blocking read, and for the renewal thread.

Behind an address of sentinels, each of them asks for the primary whenever it connects, and gives up a server
that takes no writes. redis-py's own Sentinel client keeps further connections that nobody closes.
"""

import asyncio
from typing import Any

import redis
from arq.connections import ArqRedis, RedisSettings
from redis import Redis as BlockingRedis
from redis.asyncio import Connection, ConnectionPool, Redis
from redis.exceptions import ConnectionError as ConnectionLost, ReadOnlyError, RedisError

from producers.address import Address, read_address
from producers.sentinel import find_primary, questions, read_answer

_CONNECT_SECONDS = 2
_ANSWER_SECONDS = 5
_RENEWAL_SECONDS = 2


def commands(url: str) -> ArqRedis:
    """The pool for everything but blocking reads; what arq calls ``ctx["redis"]``."""
    return ArqRedis(_pool(url, socket_timeout=_ANSWER_SECONDS))


def listener(url: str) -> Redis:
    """One connection for blocking reads: no answer is normal there, so it has no read timeout."""
    client: Redis = Redis(connection_pool=_pool(url), single_connection_client=True)
    client.auto_close_connection_pool = True
    return client


def renewal(url: str) -> BlockingRedis:
    """A synchronous client for the renewal thread, with timeouts well below the lease."""
    options: dict[str, Any] = {"socket_connect_timeout": _RENEWAL_SECONDS, "socket_timeout": _RENEWAL_SECONDS}
    address = read_address(url)
    if not address.sentinels:
        return BlockingRedis.from_url(url, **options)
    pool = redis.ConnectionPool(connection_class=_BlockingPrimary, address=address, **address.options, **options)
    return BlockingRedis(connection_pool=pool)


def arq_settings(url: str) -> RedisSettings:
    """What arq's class keeps of the address; our connections are made above."""
    return RedisSettings() if read_address(url).sentinels else RedisSettings.from_dsn(url)


def _pool(url: str, **options: Any) -> ConnectionPool:  # noqa: ANN401  as redis-py takes them
    options["socket_connect_timeout"] = _CONNECT_SECONDS
    address = read_address(url)
    if not address.sentinels:
        return ConnectionPool.from_url(url, **options)
    return ConnectionPool(connection_class=_Primary, address=address, **address.options, **options)


class _Primary(Connection):
    """A connection to whoever is the primary when it is made."""

    def __init__(self, *, address: Address, **options: Any) -> None:  # noqa: ANN401  redis-py's own
        self._address = address
        super().__init__(**options)

    async def connect(self) -> None:
        if not self.is_connected:
            async with asyncio.timeout(_CONNECT_SECONDS):
                self.host, self.port = await find_primary(self._address)
        await super().connect()  # type: ignore[no-untyped-call]

    async def on_connect(self) -> None:
        await super().on_connect()
        await self.send_command("ROLE")
        _check_role(await self.read_response())

    async def read_response(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401  redis-py's own
        try:
            return await super().read_response(*arguments, **options)
        except ReadOnlyError as error:
            await self.disconnect()
            raise ConnectionLost("the server is no longer the primary") from error


class _BlockingPrimary(redis.Connection):
    """The same for the renewal thread, which gives up its connection at any error."""

    def __init__(self, *, address: Address, **options: Any) -> None:  # noqa: ANN401  redis-py's own
        self._address = address
        super().__init__(**options)  # type: ignore[no-untyped-call]

    def connect(self) -> None:
        if not self._sock:
            self.host, self.port = _find_primary(self._address)
        super().connect()  # type: ignore[no-untyped-call]

    def on_connect(self) -> None:
        super().on_connect()  # type: ignore[no-untyped-call]
        self.send_command("ROLE")  # type: ignore[no-untyped-call]
        _check_role(self.read_response())  # type: ignore[no-untyped-call]


def _find_primary(address: Address) -> tuple[str, int]:
    """As :func:`find_primary`, one sentinel after the other."""
    for host, port in address.sentinels:
        patience = _RENEWAL_SECONDS / len(address.sentinels)
        sentinel = redis.Connection(host=host, port=port, socket_timeout=patience)  # type: ignore[no-untyped-call]
        try:
            if found := _ask(sentinel, address):
                return found
        except (RedisError, OSError):
            continue
        finally:
            sentinel.disconnect()  # type: ignore[no-untyped-call]
    raise ConnectionLost("no sentinel knows the primary")


def _ask(sentinel: redis.Connection, address: Address) -> tuple[str, int] | None:
    reply = None
    for question in questions(address):
        sentinel.send_command(*question)  # type: ignore[no-untyped-call]
        try:
            reply = sentinel.read_response()  # type: ignore[no-untyped-call]
        except redis.ResponseError as error:
            reply = error
    return read_answer(reply)


def _check_role(reply: Any) -> None:  # noqa: ANN401  a reply is whatever Redis says
    if reply[0] != b"master":
        raise ConnectionLost("the server that the sentinels name is not the primary (yet)")
