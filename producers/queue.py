"""The queue as an asyncio producer sees it: two scripts in Redis, each call answered within its budget."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from .confirm import confirmed
from .entry import Entry, Taken, put_answer, put_latest_answer, put_latest_question, put_question, script
from .errors import InvalidRequest
from .faults import in_our_words, no_answer
from .link import Link
from .script import Script


class Queue:
    """Runs the scripts. One round trip a call, whatever the number of entries.

    Args:
        client: a link of our own, or a redis-py client, which is slower and may be shared with other uses.
        budget: seconds until a call gives up.
        confirm_replicas: how many replicas must have what a script wrote; needs a link.

    Raises:
        InvalidRequest: a confirmation is asked for without a link.
    """

    def __init__(self, client: Link | Redis, *, budget: float, confirm_replicas: int = 0) -> None:
        self._client = client
        self._call = _caller(client, budget=budget, confirm_replicas=confirm_replicas)
        self._budget = budget
        self._enqueue = Script(script("enqueue"))
        self._enqueue_latest = Script(script("enqueue_latest"))

    async def close(self) -> None:
        """Close the connections."""
        await (self._client.close() if isinstance(self._client, Link) else self._client.aclose())

    @asynccontextmanager
    async def within_budget(self) -> AsyncIterator[None]:
        """Redis's answer in time, or a typed error in time: never a hang.

        May be nested, to give several round trips one budget.
        """
        try:
            async with asyncio.timeout(self._budget):
                yield
        except RedisError as error:
            raise in_our_words(error) from error
        except (TimeoutError, OSError) as error:
            if isinstance(self._client, Link):
                self._client.drop()  # nobody else shall wait behind a server that does not answer
            raise no_answer(self._budget) from error

    async def put(self, lane: str, entries: Sequence[Entry]) -> list[Taken]:
        """Queue all entries of one lane, or none.

        Raises:
            ConflictingKey: a key stands for other content; nothing was queued.
            NotEnqueued: Redis did not take them within the budget.
        """
        keys, arguments = put_question(lane, entries)
        async with self.within_budget():
            return put_answer(await self._enqueue.run(self._call, keys, arguments))

    async def put_latest(self, lane: str, entry: Entry) -> bool:
        """Queue a recompute; True when the id was not waiting yet.

        Raises:
            NotEnqueued: Redis did not take it within the budget.
        """
        keys, arguments = put_latest_question(lane, entry)
        async with self.within_budget():
            return put_latest_answer(await self._enqueue_latest.run(self._call, keys, arguments))

    async def field(self, key: str, field: str) -> tuple[bool, bytes | None]:
        """Whether the hash is there at all, and one field of it."""
        async with self.within_budget():
            value = await self._call("HGET", key, field)
            there = value is not None or bool(await self._call("EXISTS", key))
        return there, value


def _caller(client: Link | Redis, *, budget: float, confirm_replicas: int) -> Callable[..., Awaitable[Any]]:
    if isinstance(client, Link):
        return confirmed(client, replicas=confirm_replicas, within=budget / 2) if confirm_replicas else client.call
    if confirm_replicas:
        raise InvalidRequest("confirm_replicas: needs a connection of the producer's own; use Producer.connect")
    return client.execute_command
