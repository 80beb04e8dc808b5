"""The queue as a producer without asyncio sees it: the same scripts, questions and answers as :mod:`.queue`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError, RedisError, TimeoutError as RedisTimeoutError

from .deadline import deadline
from .entry import (
    Asked,
    Entry,
    Taken,
    put_answer,
    put_latest_answer,
    put_latest_question,
    put_question,
    script,
)
from .faults import in_our_words, no_answer
from .script import Script


class SyncQueue:
    """Runs the scripts, each thread on a connection of its own out of the client's pool.

    Args:
        client: see :meth:`.sync.SyncProducer.connect`; one of another origin keeps its own timeouts.
        budget: seconds until a call gives up.
    """

    def __init__(self, client: Redis, *, budget: float) -> None:
        self._client = client
        self._budget = budget

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

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
        return put_answer(self._run("enqueue", put_question(lane, entries)))

    def put_latest(self, lane: str, entry: Entry) -> bool:
        """Queue a recompute; True when the id was not waiting yet.

        Raises:
            NotEnqueued: Redis did not take it within the budget.
        """
        return put_latest_answer(self._run("enqueue_latest", put_latest_question(lane, entry)))

    def field(self, key: str, field: str) -> tuple[bool, bytes | None]:
        """Whether the hash is there at all, and one field of it."""
        with self.within_budget():
            value = self._call("HGET", key, field)
            there = value is not None or bool(self._call("EXISTS", key))
        return there, value

    def _run(self, name: str, asked: Asked) -> Any:  # noqa: ANN401  a reply is whatever the script returns
        command = Script(script(name)).command(*asked)
        with self.within_budget():
            try:
                return self._call(*command)
            except NoScriptError:  # a restart, a failover or SCRIPT FLUSH
                self._call("SCRIPT", "LOAD", script(name))
                return self._call(*command)

    def _call(self, *command: str | bytes | int) -> Any:  # noqa: ANN401  a reply is whatever Redis says
        return self._client.execute_command(*command)  # type: ignore[no-untyped-call]
