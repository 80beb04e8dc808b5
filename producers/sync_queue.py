"""The queue as a producer without asyncio sees it: the same scripts, questions and answers as :mod:`.queue`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError, RedisError, TimeoutError as RedisTimeoutError

from .collapse import Gathering
from .confirm import believed, confirmation
from .deadline import deadline
from .entry import (
    Asked,
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
from .faults import in_our_words, no_answer
from .keys import tag_of
from .link import Argument
from .receipt import Cancelled, Receipt
from .script import Script
from .sync_link import SyncLinks


class SyncQueue:
    """Runs the scripts, each thread on a connection of its own out of a pool.

    Args:
        client: links of our own, or a redis-py client, which keeps its own timeouts.
        budget: seconds until a call gives up.
        confirm_replicas: how many replicas must have what a script wrote.
    """

    def __init__(self, client: SyncLinks | Redis, *, budget: float, confirm_replicas: int = 0) -> None:
        self._links = client if isinstance(client, SyncLinks) else SyncLinks(client)
        self._budget = budget
        self._confirm_replicas = confirm_replicas

    def close(self) -> None:
        """Close the connections."""
        self._links.close()

    @contextmanager
    def within_budget(self) -> Iterator[None]:
        """Redis's answer in time, or a typed error in time. May be nested."""
        try:
            with deadline(self._budget):
                yield
        except (RedisTimeoutError, OSError) as error:
            raise no_answer(self._budget) from error
        except RedisError as error:
            raise in_our_words(error) from error

    def put(self, lane: str, entries: Sequence[Entry]) -> list[Taken]:
        """Queue all entries of one lane, or none.

        Raises:
            ConflictingKey: a key stands for other content; nothing was queued.
            NotEnqueued: Redis did not take them within the budget.
        """
        return put_answer(self._run("enqueue", put_question(lane, entries)), entries)

    def gather(self, gathering: Gathering) -> Receipt:
        """Put an item into a digest: asked again, with what was found, until nothing has come between.

        Raises:
            ConflictingKey: the item's key stands for another one.
            NotEnqueued: Redis did not take it within the budget.
        """
        with self.within_budget():
            found = None
            while True:
                asked = gathering.question(gathering.addition(found))
                answer = gathering.answer(self._run("collapse", asked))
                if isinstance(answer, Receipt):
                    return answer
                found = answer

    def put_latest(self, lane: str, entry: Entry) -> bool:
        """Queue a recompute; True when the id was not waiting yet.

        Raises:
            NotEnqueued: Redis did not take it within the budget.
        """
        return put_latest_answer(self._run("enqueue_latest", put_latest_question(lane, entry)))

    def cancel(self, job_id: str) -> Cancelled:
        """Take a job back, from whichever lane of its group.

        Raises:
            NotEnqueued: Redis did not answer within the budget.
        """
        return cancel_answer(self._run("take_out", cancel_question(job_id)))

    def suppression(self, asked: Asked) -> int:
        """Change who is not written to; how many reasons were added or removed.

        Raises:
            NotEnqueued: Redis did not answer within the budget; asking again does no harm.
        """
        return int(self._run("suppress", asked))

    def field(self, key: str, field: str) -> tuple[bool, bytes | None]:
        """Whether the hash is there at all, and one field of it."""
        link = self._links.of(tag_of(key))
        with self.within_budget():
            value = link.call("HGET", key, field)
            there = value is not None or bool(link.call("EXISTS", key))
        return there, value

    def _run(self, name: str, asked: Asked) -> Any:  # noqa: ANN401  a reply is whatever the script returns
        keys, arguments = asked
        tag = tag_of(keys[0])
        command = Script(script(name)).command(keys, arguments)
        with self.within_budget():
            try:
                return self._call(tag, command)
            except NoScriptError:  # a restart, a failover or SCRIPT FLUSH
                self._links.of(tag).call("SCRIPT", "LOAD", script(name))
                return self._call(tag, command)

    def _call(self, tag: str, command: Sequence[Argument]) -> Any:  # noqa: ANN401  a reply is whatever the script returns
        link = self._links.of(tag)
        if not self._confirm_replicas:
            return link.call(*command)
        replicas, within = self._confirm_replicas, self._budget / 2
        replies = link.call_many([command, *confirmation(tag, replicas=replicas, within=within)])
        return believed(replies, replicas=replicas, within=within)
