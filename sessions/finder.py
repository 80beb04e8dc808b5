"""Connections to a server that others name: the primary of a service, by its sentinels; of a cluster, any node.

redis-py's own client for sentinels keeps connections that nobody closes, and takes no limited pool.

What can go wrong: nobody answers, or what is named is not the primary (yet); that is a lost connection, and the
next one asks again.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from redis.asyncio import Connection
from redis.exceptions import (
    AuthenticationError,
    ConnectionError as ConnectionLost,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from .address import Address, Host


class Finder:
    """Asks all at once and believes the first, so that one that is dead or silent costs no time.

    Args:
        kind, options: of the connections over which to ask.

    Attributes:
        refused: who was named and is not the primary; believed only if nobody names another.

    """

    def __init__(self, address: Address, kind: type[Connection], options: dict[str, Any]) -> None:
        files = {name: value for name, value in address.options.items() if name.startswith("ssl_")}
        self.address = address
        self._kind = kind
        self._options = options | files
        self.refused: Host | None = None

    async def find(self) -> Host:
        """Where to connect to.

        Raises:
            ConnectionLost: nobody could say.

        """
        named: Host | None = None
        asking = [asyncio.create_task(self._ask(host)) for host in self.address.asked]
        try:
            for answer in asyncio.as_completed(asking):
                with suppress(RedisError, OSError):
                    named = await answer or named
                if named not in {None, self.refused}:
                    break
        finally:
            for question in asking:
                question.cancel()
            await asyncio.gather(*asking, return_exceptions=True)
        if named is not None:
            return named
        if self.address.cluster:
            raise ConnectionLost("no node of the cluster answers; check the address and the cluster")
        raise ConnectionLost(f"no sentinel knows the primary of {self.address.service!r}; check the address")

    async def _ask(self, host: Host) -> Host | None:
        asking = self._kind(host=host[0], port=host[1], **self._options)
        try:
            await asking.connect()  # type: ignore[no-untyped-call]
            await self._log_in(asking)
            if self.address.cluster:
                await asking.send_command("CLUSTER", "INFO")
                return host if b"cluster_state:ok" in await asking.read_response() else None
            await asking.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.address.service)
            answer = await asking.read_response()
        finally:
            await asking.disconnect(nowait=True)
        return (answer[0].decode(), int(answer[1])) if answer else None

    async def _log_in(self, asking: Connection) -> None:
        """A sentinel without a password refuses this, which does no harm."""
        password = self.address.options.get("password")
        if not password:
            return
        user = [self.address.options.get("username") or "default"] if self.address.cluster else []
        await asking.send_command("AUTH", *user, password)
        try:
            await asking.read_response()
        except (ResponseError, AuthenticationError):
            return


class Found:
    """A connection to where the finder says when it is made. Stands before one of redis-py's classes."""

    is_connected: bool
    host: str
    port: int

    def __init__(self, *, finder: Finder, **options: Any) -> None:  # noqa: ANN401  redis-py's own
        self._finder = finder
        super().__init__(**options)

    async def connect(self) -> None:
        """Find out where to, and go there."""
        if not self.is_connected:
            self.host, self.port = await self._finder.find()
        await super().connect()  # type: ignore[misc]  # the connection behind this

    async def on_connect(self) -> None:
        """Greet the server, and see whether it is what it was said to be."""
        await super().on_connect()  # type: ignore[misc]  # as above
        if self._finder.address.sentinels:
            await self.send_command("ROLE")  # type: ignore[attr-defined]  # as above
            if (await self.read_response())[0] != b"master":
                self._finder.refused = self.host, self.port
                raise ConnectionLost("the server that the sentinels name is not the primary (yet)")
        self._finder.refused = None

    async def read_response(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401  redis-py's own
        """A reply; a server that is no longer the primary loses its connection."""
        try:
            return await super().read_response(*arguments, **options)  # type: ignore[misc]  # as above
        except ReadOnlyError as error:
            await self.disconnect()  # type: ignore[attr-defined]  # as above
            raise ConnectionLost("the server is no longer the primary") from error
