"""The queue as an asyncio producer sees it: two scripts in Redis, each call answered within its budget."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast
from weakref import WeakValueDictionary

from redis.asyncio import Redis
from redis.exceptions import RedisError

from .collapse import Gathering
from .confirm import Call, confirmed
from .entry import (
    Asked,
    Chunk,
    Entry,
    Taken,
    cancel_answer,
    cancel_question,
    put_answer,
    put_latest_answer,
    put_latest_question,
    put_question,
    script,
)
from .errors import InvalidRequest
from .faults import in_our_words, no_answer, no_connection, unreachable
from .keys import LaneKeys, tag_of
from .link.budget import Late
from .link.links import Links, open_links
from .link.script import Script
from .receipt import Cancelled, Receipt

_TURN = 1.05
"""Budgets for an item of a digest: a little more than Redis has, so that its silence is told as such."""


class Queue:
    """Runs the scripts. One round trip a call, whatever the number of entries.

    Args:
        client: links of our own, or a redis-py client, which is slower and may be shared with other uses.
        budget: seconds until a call gives up.
        confirm_replicas: how many replicas must have what a script wrote; needs links.

    Raises:
        InvalidRequest: a confirmation is asked for without links.
    """

    def __init__(self, client: Links | Redis, *, budget: float, confirm_replicas: int = 0) -> None:
        if confirm_replicas and not isinstance(client, Links):
            raise InvalidRequest("confirm_replicas: needs connections of the producer's own; use Producer.connect")
        self._links = open_links(client)
        self._budget = budget
        self._confirm_replicas = confirm_replicas
        self._enqueue = Script(script("enqueue"))
        self._enqueue_latest = Script(script("enqueue_latest"))
        self._take_out = Script(script("take_out"))
        self._collapse = Script(script("collapse"))
        self._turns = WeakValueDictionary[tuple[int, str], asyncio.Lock]()

    async def close(self) -> None:
        """Close the connections."""
        await self._links.close()

    @asynccontextmanager
    async def within_budget(self, tag: str) -> AsyncIterator[None]:
        """Redis's answer about keys of this hash tag in time, or a typed error in time: never a hang.

        May be nested, to give several round trips one budget.
        """
        try:
            async with self._links.within(self._budget, tag):
                yield
        except Late as late:
            raise (no_answer if late.is_connected else no_connection)(self._budget) from late
        except RedisError as error:
            raise in_our_words(error) from error
        except OSError as error:
            raise unreachable(error) from error

    async def put(self, lane: str, entries: Sequence[Entry]) -> list[Taken]:
        """Queue all entries of one lane, or none.

        Raises:
            ConflictingKey: a key stands for other content; nothing was queued.
            NotEnqueued: Redis did not take them within the budget.
        """
        return put_answer(await self._run(self._enqueue, put_question(lane, entries)), entries)

    async def put_many(self, chunks: Sequence[Chunk]) -> list[list[Taken] | Exception]:
        """Queue the entries of several lanes in one round trip, within one budget; of each lane all or none.

        Returns:
            For each lane what :meth:`put` returns, or the error that it raises.
        """
        answers = await asyncio.gather(*(self.put(*chunk) for chunk in chunks), return_exceptions=True)
        return [answer if isinstance(answer, Exception) else cast("list[Taken]", answer) for answer in answers]

    async def gather(self, gathering: Gathering) -> Receipt:
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
                while True:
                    asked = gathering.question(gathering.addition(found))
                    answer = gathering.answer(await self._run(self._collapse, asked))
                    if isinstance(answer, Receipt):
                        return answer
                    found = answer
        except TimeoutError as error:
            raise no_answer(self._budget) from error

    async def put_latest(self, lane: str, entry: Entry) -> bool:
        """Queue a recompute; True when the id was not waiting yet.

        Raises:
            NotEnqueued: Redis did not take it within the budget.
        """
        return put_latest_answer(await self._run(self._enqueue_latest, put_latest_question(lane, entry)))

    async def cancel(self, job_id: str) -> Cancelled:
        """Take a job back, from whichever lane of its group.

        Raises:
            NotEnqueued: Redis did not answer within the budget.
        """
        return cancel_answer(await self._run(self._take_out, cancel_question(job_id)))

    async def field(self, key: str, field: str) -> tuple[bool, bytes | None]:
        """Whether the hash is there at all, and one field of it."""
        tag = tag_of(key)
        call = self._call(tag)
        async with self.within_budget(tag):
            value = await call("HGET", key, field)
            there = value is not None or bool(await call("EXISTS", key))
        return there, value

    async def _run(self, one: Script, asked: Asked) -> Any:  # noqa: ANN401  a reply is whatever the script returns
        keys, arguments = asked
        tag = tag_of(keys[0])
        async with self.within_budget(tag):
            return await one.run(self._call(tag), keys, arguments)

    def _call(self, tag: str) -> Call:
        link = self._links.of(tag)
        if not self._confirm_replicas:
            return cast("Call", link.call)
        return confirmed(link, tag, replicas=self._confirm_replicas, within=self._budget / 2)
