"""The queue as a producer without asyncio sees it: the same operations as :mod:`.queue`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError, RedisError, ResponseError, TimeoutError as RedisTimeoutError

from .confirm import NotConfirmed, believed, confirmation
from .digest import DigestItem
from .entry import ConflictingKey
from .errors import NotEnqueued
from .faults import in_our_words, no_answer, no_connection
from .keys import LaneKeys, tag_of
from .link import Argument
from .link.sync import Calls, SyncLinks
from .operation import Operation, Result, script
from .receipt import Receipt


class SyncQueue:
    """Carries operations, each thread on a connection of its own out of a pool.

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
    def within_budget(self, tag: str) -> Iterator[None]:
        """Redis's answer in time, or a typed error in time. May be nested."""
        try:
            with self._links.within(self._budget, tag):
                yield
        except (RedisTimeoutError, OSError) as error:
            connecting = str(error).startswith("Timeout connecting")  # redis-py tells it in words alone
            raise (no_connection if connecting else no_answer)(self._budget) from error
        except RedisError as error:
            raise in_our_words(error) from error

    def carry(self, operation: Operation[Result]) -> Result:
        """Run one operation. Raises NotEnqueued, and what the operation raises."""
        with self.within_budget(operation.tag):
            reply = self._replies([operation])[0]
            if isinstance(reply, Exception):
                raise reply
            return operation.read(reply)

    def carry_all(self, operations: Sequence[Operation[Result]]) -> list[Result | Exception]:
        """Run several operations in one round trip; on a cluster one, and one budget, for each lane group.

        Returns:
            For each what :meth:`carry` returns, or the error that it raises.
        """
        results: dict[int, Result | Exception] = {}
        for tag in dict.fromkeys(one.tag for one in operations):
            places = [place for place, one in enumerate(operations) if one.tag == tag]
            together = [operations[place] for place in places]
            try:
                with self.within_budget(tag):
                    replies = self._replies(together)
            except NotEnqueued as error:
                replies = [error] * len(together)
            results |= zip(places, map(_result, together, replies), strict=True)
        return [results[place] for place in range(len(operations))]

    def gather(self, gathering: DigestItem) -> Receipt:
        """Put an item into a digest: asked again, with what was found, until nothing has come between.

        Raises:
            ConflictingKey: the item's key stands for another one.
            NotEnqueued: Redis did not take it within the budget.
        """
        with self.within_budget(LaneKeys(gathering.lane).tag):
            found = None
            while not isinstance(found, Receipt):
                found = self.carry(gathering.operation(found))
            return found

    def field(self, key: str, field: str) -> tuple[bool, bytes | None]:
        """Whether the hash is there at all, and one field of it."""
        link = self._links.of(tag_of(key))
        with self.within_budget(tag_of(key)):
            value = link.call("HGET", key, field)
            there = value is not None or bool(link.call("EXISTS", key))
        return there, value

    def _replies(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        """Replies to operations of one hash tag in their order; refusals are among them as values."""
        link = self._links.of(operations[0].tag)
        replies = self._send(link, [one.command for one in operations])
        for place, reply in enumerate(replies):
            if isinstance(reply, NoScriptError):  # a restart, a failover or SCRIPT FLUSH
                link.call("SCRIPT", "LOAD", script(operations[place].script))
                (replies[place],) = self._send(link, [operations[place].command])
        return replies

    def _send(self, link: Calls, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Send scripts' calls in one round trip; with confirmation in one for each."""
        if not self._confirm_replicas:
            return link.call_many(commands)
        return [self._confirmed(link, command) for command in commands]

    def _confirmed(self, link: Calls, command: Sequence[Argument]) -> Any:  # noqa: ANN401  as the script returns it
        replicas, within = self._confirm_replicas, self._budget / 2
        tag = tag_of(str(command[3]))
        replies = link.call_many([command, *confirmation(tag, replicas=replicas, within=within)])
        try:
            return believed(replies, replicas=replicas, within=within)
        except (ResponseError, NotConfirmed) as error:
            return error


def _result(operation: Operation[Result], reply: Any) -> Result | Exception:  # noqa: ANN401  as above
    """What became of one of several operations, with errors in this room's words."""
    if isinstance(reply, RedisError):
        return in_our_words(reply)
    if isinstance(reply, Exception):
        return reply
    try:
        return operation.read(reply)
    except ConflictingKey as conflict:
        return conflict
