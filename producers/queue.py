"""Queue for asyncio: runs operations on Redis, each within its budget."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from copy import copy
from typing import Self, cast
from weakref import WeakValueDictionary

from redis.asyncio import Redis
from redis.exceptions import RedisError

from .confirm import confirmed_call
from .digest import DigestItem
from .errors import InvalidRequest, NotEnqueued
from .faults import no_answer, no_connection, translate_error, unreachable_error
from .keys import LaneKeys, tag_of
from .link.application_client import check_decoding
from .link.budget import DeadlineMissed
from .link.links import Caller, Links, open_links
from .operation import Call, Operation, Result
from .receipt import Receipt
from .send_options import check_connection_options

_TURN = 1.05
"""Budgets for an item of a digest: a little over one, so that a missing reply is reported as such."""


class Queue:
    """Runner of operations, with one round trip per call.

    Args:
        client: links, or a redis-py client, which is slower and may be shared with other uses.
        budget: seconds until a call gives up.
        confirm_replicas: number of replicas that must have a script's writes; needs links.

    Raises:
        InvalidRequest: confirmation is requested without links, or the client cannot be used.
    """

    def __init__(self, client: Caller | Redis, *, budget: float, confirm_replicas: int = 0) -> None:
        check_connection_options(budget, confirm_replicas)
        if confirm_replicas and not isinstance(client, Links):
            raise InvalidRequest("confirm_replicas: needs the producer's own connections; use Producer.connect")
        try:
            check_decoding(client)
            self._links = open_links(client)
        except ValueError as error:
            raise InvalidRequest(f"client: {error}") from None
        self._budget = budget
        self._confirm_replicas = confirm_replicas
        self._turns = WeakValueDictionary[tuple[int, str], asyncio.Lock]()

    async def close(self) -> None:
        """Close the connections."""
        await self._links.close()

    def with_share(self, share: float) -> Self:
        """Return a queue over the same connections with a part of the budget."""
        part = copy(self)
        part._budget = self._budget * share  # noqa: SLF001  a copy of this object
        return part

    def within_budget(self, tag: str) -> AbstractAsyncContextManager[None]:
        """Bound calls for keys of this hash tag by the budget; translates errors of redis-py.

        May be nested, to give several round trips one budget.
        """
        return self._links.within(self._budget, tag, self._words)

    def _words(self, error: Exception) -> NotEnqueued:
        if isinstance(error, DeadlineMissed):
            return (no_answer if error.is_connected else no_connection)(self._budget)
        return (
            translate_error(error) if isinstance(error, RedisError) else unreachable_error(cast("OSError", error))
        )

    async def run(self, operation: Operation[Result]) -> Result:
        """Run one operation. Raises NotEnqueued, and the operation's errors."""
        tag = operation.tag
        async with self.within_budget(tag):
            return await operation.run(self._call(tag))

    async def run_all(self, operations: Sequence[Operation[Result]]) -> list[Result | Exception]:
        """Run several operations in one round trip, within one budget.

        Returns:
            For each operation the result of :meth:`run`, or its error.
        """
        results = await asyncio.gather(*map(self.run, operations), return_exceptions=True)
        return cast("list[Result | Exception]", results)

    async def add_item(self, gathering: DigestItem) -> Receipt:
        """Add an item to a digest; repeats the operation until no other producer changed the digest in between.

        Items of one digest take turns here, because concurrent attempts would conflict; waiting for the turn
        counts against the budget.

        Raises:
            ConflictingKey: the item's key is in use for another item.
            NotEnqueued: Redis did not take the item within the budget.
        """
        turn = self._turns.setdefault((id(asyncio.get_running_loop()), gathering.name), asyncio.Lock())
        tag = LaneKeys(gathering.lane).tag
        try:
            async with asyncio.timeout(self._budget * _TURN), turn, self.within_budget(tag):
                found = None
                while not isinstance(found, Receipt):
                    found = await gathering.operation(found).run(self._call(tag))
                return found
        except TimeoutError as error:
            raise no_answer(self._budget) from error

    async def read_field(self, key: str, field: str) -> tuple[bool, bytes | None]:
        """Return True if the hash exists, and the value of one field."""
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
        return confirmed_call(link, tag, replicas=self._confirm_replicas, within=self._budget / 2)
