"""The queue as a producer without asyncio sees it: the same scripts, questions and answers as :mod:`.queue`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError, RedisError, ResponseError, TimeoutError as RedisTimeoutError

from .collapse import Gathering
from .confirm import NotConfirmed, believed, confirmation
from .entry import (
    Asked,
    Chunk,
    ConflictingKey,
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
from .errors import NotEnqueued
from .faults import in_our_words, no_answer, no_connection
from .keys import tag_of
from .link import Argument
from .link.deadline import deadline
from .link.script import Script
from .link.sync import SyncLinks
from .receipt import Cancelled, Receipt


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
            connecting = str(error).startswith("Timeout connecting")  # redis-py tells it in words alone
            raise (no_connection if connecting else no_answer)(self._budget) from error
        except RedisError as error:
            raise in_our_words(error) from error

    def put(self, lane: str, entries: Sequence[Entry]) -> list[Taken]:
        """Queue all entries of one lane, or none.

        Raises:
            ConflictingKey: a key stands for other content; nothing was queued.
            NotEnqueued: Redis did not take them within the budget.
        """
        return put_answer(self._run("enqueue", put_question(lane, entries)), entries)

    def put_many(self, chunks: Sequence[Chunk]) -> list[list[Taken] | Exception]:
        """Queue the entries of several lanes in one round trip; of each lane all or none.

        On a cluster one round trip, and one budget, for each lane group.

        Returns:
            For each lane what :meth:`put` returns, or the error that it raises.
        """
        asked = [put_question(*chunk) for chunk in chunks]
        replies: dict[int, Any] = {}
        for tag in dict.fromkeys(tag_of(keys[0]) for keys, _ in asked):
            places = [place for place, (keys, _) in enumerate(asked) if tag_of(keys[0]) == tag]
            replies |= zip(places, self._put_together(tag, [asked[place] for place in places]), strict=True)
        return [_put_result(replies[place], entries) for place, (_, entries) in enumerate(chunks)]

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

    def _put_together(self, tag: str, asked: Sequence[Asked]) -> list[Any]:
        """Replies of ``enqueue.lua`` in the order of the questions; errors are among them as values."""
        enqueue, link = Script(script("enqueue")), self._links.of(tag)
        commands = [enqueue.command(*one) for one in asked]
        try:
            with self.within_budget():
                replies = self._send(tag, commands)
                unknown = [place for place, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
                if unknown:  # a restart, a failover or SCRIPT FLUSH
                    link.call("SCRIPT", "LOAD", script("enqueue"))
                    again = self._send(tag, [commands[place] for place in unknown])
                    for place, reply in zip(unknown, again, strict=True):
                        replies[place] = reply
                return replies
        except NotEnqueued as error:
            return [error] * len(asked)

    def _send(self, tag: str, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Send scripts' calls in one round trip; with confirmation in one for each."""
        if not self._confirm_replicas:
            return self._links.of(tag).call_many(commands)
        return [self._call_or_error(tag, command) for command in commands]

    def _call_or_error(self, tag: str, command: Sequence[Argument]) -> Any:  # noqa: ANN401  as below
        try:
            return self._call(tag, command)
        except (ResponseError, NotConfirmed) as error:
            return error

    def _call(self, tag: str, command: Sequence[Argument]) -> Any:  # noqa: ANN401  a reply is whatever the script returns
        link = self._links.of(tag)
        if not self._confirm_replicas:
            return link.call(*command)
        replicas, within = self._confirm_replicas, self._budget / 2
        replies = link.call_many([command, *confirmation(tag, replicas=replicas, within=within)])
        return believed(replies, replicas=replicas, within=within)


def _put_result(reply: Any, entries: Sequence[Entry]) -> list[Taken] | Exception:  # noqa: ANN401  as above
    """What became of one lane's entries, with errors in this room's words."""
    if isinstance(reply, RedisError):
        return in_our_words(reply)
    if isinstance(reply, Exception):
        return reply
    try:
        return put_answer(reply, entries)
    except ConflictingKey as conflict:
        return conflict
