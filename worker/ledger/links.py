"""The ledger's connections to Redis: one for calls, one for the read that waits for a token.

On a cluster each lane group has a primary of its own; there the read waits for tokens of mails only, and jobs of
other groups are found by a check each second.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.exceptions import RedisError

from ledger.groups import LEDGER_GROUPS
from producers.keys import LaneKeys
from producers.link import Link
from producers.link.address import read_address
from producers.operation import Call

LOOK_SECONDS = 1
"""Longest wait for a token; then the relay looks without one."""
_ANSWER_SECONDS = 2.0
_Reply = TypeVar("_Reply")


class RedisSilent(RedisError):
    """Redis did not answer in time. Not a TimeoutError, which would be mistaken for one of Postgres."""


class GroupLinks:
    """Links to the primaries of all lane groups; one and the same link where one server has them all.

    Args:
        url: see :mod:`producers.link.address`.
    """

    def __init__(self, url: str) -> None:
        is_cluster = bool(read_address(url).cluster)
        shared = None if is_cluster else Link(url)
        self._by_group = {one: shared or Link(url, LaneKeys(one).tag) for one in LEDGER_GROUPS}
        self._listener = Link(url, LaneKeys(LEDGER_GROUPS[0]).tag)
        listened = LEDGER_GROUPS[:1] if is_cluster else LEDGER_GROUPS
        self._tokens = [LaneKeys(one).staged for one in listened]

    async def call(self, lane: str, run: Callable[[Call], Awaitable[_Reply]]) -> _Reply:
        """Run a call of a lane's group; a server that does not answer in time counts as down.

        Raises:
            RedisError, OSError: the call may have been carried out or not.
        """
        link = self._by_group[lane.partition(".")[0]]
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                return await run(link.call)
        except TimeoutError:
            link.drop()
            raise RedisSilent(f"Redis did not answer within {_ANSWER_SECONDS:g} s") from None

    def connection(self, group: str) -> int:
        """Return the number of the group's present connection; a server that starts again or changes ends it."""
        return self._by_group[group].connection

    async def wait_for_token(self) -> bool:
        """Wait up to a second until a token says that jobs were staged; False without one, or if Redis is down."""
        try:
            async with asyncio.timeout(LOOK_SECONDS + _ANSWER_SECONDS):
                return bool(await self._listener.call("BLPOP", *self._tokens, LOOK_SECONDS))
        except (RedisError, OSError):
            self._listener.drop()
            await asyncio.sleep(LOOK_SECONDS)
            return False
        except asyncio.CancelledError:
            self._listener.drop()  # or an abandoned read takes a token
            raise

    async def close(self) -> None:
        """Close all connections."""
        await self._listener.close()
        for link in set(self._by_group.values()):
            await link.close()
