"""The queue as an asyncio producer sees it: operations carried to Redis, each answered within its budget."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import cast
from weakref import WeakValueDictionary

from redis.asyncio import Redis
from redis.exceptions import RedisError

from .confirm import confirmed
from .digest import DigestItem
from .errors import InvalidRequest, NotEnqueued
from .faults import in_our_words, no_answer, no_connection, unreachable
from .keys import LaneKeys, tag_of
from .link.budget import DeadlineMissed
from .link.links import Caller, Links, open_links
from .operation import Call, Operation, Result
from .receipt import Receipt

_TURN = 1.05
"""Budgets for an item of a digest: a little more than Redis has, so that its silence is told as such."""


class Queue:
    """Carries operations. One round trip a call.

    Args:
        client: links of our own, or a redis-py client, which is slower and may be shared with other uses.
        budget: seconds until a call gives up.
        confirm_replicas: how many replicas must have what a script wrote; needs links.

    Raises:
        InvalidRequest: a confirmation is asked for without links.
    """

    def __init__(self, client: Caller | Redis, *, budget: float, confirm_replicas: int = 0) -> None:
        if confirm_replicas and not isinstance(client, Links):
            raise InvalidRequest("confirm_replicas: needs connections of the producer's own; use Producer.connect")
        self._links = open_links(client)
        self._budget = budget
        self._confirm_replicas = confirm_replicas
        self._turns = WeakValueDictionary[tuple[int, str], asyncio.Lock]()

    async def close(self) -> None:
        """Close the connections."""
        await self._links.close()

    def within_budget(self, tag: str) -> AbstractAsyncContextManager[None]:
        """Redis's answer about keys of this hash tag in time, or a typed error in time: never a hang.

        May be nested, to give several round trips one budget.
        """
        return self._links.within(self._budget, tag, self._words)

    def _words(self, error: Exception) -> NotEnqueued:
        if isinstance(error, DeadlineMissed):
            return (no_answer if error.is_connected else no_connection)(self._budget)
        return in_our_words(error) if isinstance(error, RedisError) else unreachable(cast("OSError", error))

    async def carry(self, operation: Operation[Result]) -> Result:
        """Run one operation. Raises NotEnqueued, and what the operation raises."""
        tag = operation.tag
        async with self.within_budget(tag):
            return await operation.over(self._call(tag))

    async def carry_all(self, operations: Sequence[Operation[Result]]) -> list[Result | Exception]:
        """Run several operations in one round trip, within one budget.

        Returns:
            For each what :meth:`carry` returns, or the error that it raises.
        """
        results = await asyncio.gather(*map(self.carry, operations), return_exceptions=True)
        return cast("list[Result | Exception]", results)

    async def gather(self, gathering: DigestItem) -> Receipt:
        """Put an item into a digest: asked again, with what was found, until nothing has come between.

        Items of one key take turns here, because all but one would have come in vain; a turn is waited for within
        the budget.

        Raises:
            ConflictingKey: the item's key stands for another one.
            NotEnqueued: Redis did not take it within the budget.
        """
        turn = self._turns.setdefault((id(asyncio.get_running_loop()), gathering.name), asyncio.Lock())
        tag = LaneKeys(gathering.lane).tag
        try:
            async with asyncio.timeout(self._budget * _TURN), turn, self.within_budget(tag):
                found = None
                while not isinstance(found, Receipt):
                    found = await gathering.operation(found).over(self._call(tag))
                return found
        except TimeoutError as error:
            raise no_answer(self._budget) from error

    async def field(self, key: str, field: str) -> tuple[bool, bytes | None]:
        """Whether the hash is there at all, and one field of it."""
        tag = tag_of(key)
        call = self._links.of(tag).call
        async with self.within_budget(tag):
            value = await call("HGET", key, field)
            there = value is not None or bool(await call("EXISTS", key))
        return there, value

    def _call(self, tag: str) -> Call:
        link = self._links.of(tag)
        if not self._confirm_replicas:
            return cast("Call", link.call)
        return confirmed(link, tag, replicas=self._confirm_replicas, within=self._budget / 2)
