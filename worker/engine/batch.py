"""Batching of queries that many mails send to Redis at about the same time.

Queries that arrive while a call is under way wait for its reply and then leave as one call. So a single mail pays
a round trip, and a thousand concurrent ones share a few; a command for each costs more than the rest of sending a
mail. A query that finds no call under way leaves at once; those that came during a call may wait for some rounds
of the event loop, since a fast server replies before the others of a busy worker come.

Failures: the call fails, or returns a wrong number of replies; all its callers get that error. A failed call does
not cancel its callers, and a cancelled caller does not affect the others of its batch.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from worker.engine.gathering import wait_while_busy

ANSWER_SECONDS = 2.0
"""Timeout after which the server counts as down (a TimeoutError, which is an OSError)."""

BatchQuery = TypeVar("BatchQuery")
BatchReply = TypeVar("BatchReply")


class WrongReplyCount(Exception):
    """A bug of the call: its replies cannot be assigned to the queries."""

    def __init__(self, *, queries: int, replies: int) -> None:
        super().__init__(
            f"replies: the call returned {replies} for {queries} queries; it must return one for each"
        )


class CallDropped(Exception):
    """The event loop ended before the query had its reply."""


class CallBatcher(Generic[BatchQuery, BatchReply]):
    """A queue of queries that leave together, one call at a time.

    Args:
        call: returns the replies to some queries, in their order.
        most: the largest number of queries in one call.
        rounds: the largest number of rounds of a busy event loop for which queries that came during a call wait.
    """

    def __init__(
        self,
        call: Callable[[Sequence[BatchQuery]], Awaitable[Sequence[BatchReply]]],
        *,
        most: int = 500,
        rounds: int = 0,
    ) -> None:
        self._call = call
        self._most = most
        self._rounds = rounds
        self._waiting: list[tuple[BatchQuery, asyncio.Future[BatchReply]]] = []
        self._calling: asyncio.Task[None] | None = None

    def submit(self, query: BatchQuery) -> "asyncio.Future[BatchReply]":
        """Add a query to the next call and return the future of its reply, which raises the call's exception."""
        future: asyncio.Future[BatchReply] = asyncio.get_running_loop().create_future()
        self._waiting.append((query, future))
        if self._calling is None:
            self._calling = asyncio.create_task(self._run())
        return future

    async def _run(self) -> None:
        batch: list[tuple[BatchQuery, asyncio.Future[BatchReply]]] = []
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._settle(batch)
                batch = []
                if self._waiting:
                    await wait_while_busy(rounds=self._rounds)
        finally:
            self._calling = None
            left, self._waiting = [*batch, *self._waiting], []
            _fail(left, CallDropped("the event loop ended before the reply came"))  # empty unless the loop ends

    async def _settle(self, batch: Sequence[tuple[BatchQuery, asyncio.Future[BatchReply]]]) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                replies = await self._call([query for query, _ in batch])
            if len(replies) != len(batch):
                raise WrongReplyCount(queries=len(batch), replies=len(replies))
        except Exception as error:  # noqa: BLE001  every failure of the call belongs to its callers
            _fail(batch, error)
            return
        for (_, future), reply in zip(batch, replies, strict=True):
            if not future.done():
                future.set_result(reply)


def _fail(batch: Sequence[tuple[BatchQuery, "asyncio.Future[BatchReply]"]], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
