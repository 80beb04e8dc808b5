"""Queue for threads: runs the same operations as :mod:`.queue`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from typing import Any, Self

from redis import Redis
from redis.exceptions import RedisError, ResponseError, TimeoutError as RedisTimeoutError

from .confirm import NotConfirmed, confirmation_commands, confirmed_reply
from .digest import DigestItem
from .entry import ConflictingKey
from .errors import InvalidRequest, NotEnqueued
from .faults import no_answer, no_connection, translate_error, unreachable_error
from .keys import LaneKeys, tag_of
from .link import Argument
from .link.sync import Calls, SyncLinks, is_unknown_script
from .operation import Operation, Result, script_source
from .receipt import Receipt
from .send_options import check_connection_options


class SyncQueue:
    """Runner of operations, each thread on its own connection of a pool.

    Args:
        client: links, or a redis-py client, whose address and log-in are used on connections of the queue's own.
        budget: seconds until a call gives up.
        confirm_replicas: number of replicas that must have a script's writes.

    Raises:
        InvalidRequest: the client is for asyncio, or for a cluster.
    """

    def __init__(self, client: SyncLinks | Redis, *, budget: float, confirm_replicas: int = 0) -> None:
        check_connection_options(budget, confirm_replicas)
        try:
            self._links = client if isinstance(client, SyncLinks) else SyncLinks(client)
        except ValueError as error:
            raise InvalidRequest(f"client: {error}") from None
        self._budget = budget
        self._confirm_replicas = confirm_replicas

    def close(self) -> None:
        """Close the connections."""
        self._links.close()

    def with_share(self, share: float) -> Self:
        """Return a queue over the same connections with a part of the budget."""
        part = copy(self)
        part._budget = self._budget * share  # noqa: SLF001  a copy of this object
        return part

    @contextmanager
    def within_budget(self, tag: str) -> Iterator[None]:
        """Bound calls for keys of this hash tag by the budget; translates errors of redis-py. May be nested."""
        try:
            with self._links.within(self._budget, tag):
                yield
        except RedisTimeoutError as error:
            connecting = str(error).startswith("Timeout connecting")  # redis-py reports it by text only
            raise (no_connection if connecting else no_answer)(self._budget) from error
        except OSError as error:
            raise unreachable_error(error) from error
        except RedisError as error:
            raise translate_error(error) from error

    def run(self, operation: Operation[Result]) -> Result:
        """Run one operation. Raises NotEnqueued, and the operation's errors."""
        with self.within_budget(operation.tag):
            reply = self._replies([operation])[0]
            if isinstance(reply, Exception):
                raise reply
            return operation.read(reply)

    def run_all(self, operations: Sequence[Operation[Result]]) -> list[Result | Exception]:
        """Run several operations in one round trip; on a cluster one per lane group, each with its own budget.

        Returns:
            For each operation the result of :meth:`run`, or its error.
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

    def add_item(self, gathering: DigestItem) -> Receipt:
        """Add an item to a digest; repeats the operation until no other producer changed the digest in between.

        Raises:
            ConflictingKey: the item's key is in use for another item.
            NotEnqueued: Redis did not take the item within the budget.
        """
        with self.within_budget(LaneKeys(gathering.lane).tag):
            found = None
            while not isinstance(found, Receipt):
                found = self.run(gathering.operation(found))
            return found

    def read_field(self, key: str, field: str) -> tuple[bool, bytes | None]:
        """Return True if the hash exists, and the value of one field."""
        link = self._links.of(tag_of(key))
        with self.within_budget(tag_of(key)):
            value = link.call("HGET", key, field)
            there = value is not None or bool(link.call("EXISTS", key))
        return there, value

    def _replies(self, operations: Sequence[Operation[Any]]) -> list[Any]:
        """Return the replies to operations of one hash tag, in order; errors are returned as values."""
        link = self._links.of(operations[0].tag)
        replies = self._send(link, [one.command for one in operations])
        for place, reply in enumerate(replies):
            if is_unknown_script(reply):  # a restart, a failover or SCRIPT FLUSH
                link.call("SCRIPT", "LOAD", script_source(operations[place].script))
                (replies[place],) = self._send(link, [operations[place].command])
        return replies

    def _send(self, link: Calls, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Send scripts' calls in one round trip; with confirmation in one round trip each."""
        if not self._confirm_replicas:
            return link.call_many(commands)
        return [self._confirmed(link, command) for command in commands]

    def _confirmed(self, link: Calls, command: Sequence[Argument]) -> Any:  # noqa: ANN401  as the script returns it
        replicas, within = self._confirm_replicas, self._budget / 2
        tag = tag_of(str(command[3]))
        replies = link.call_many([command, *confirmation_commands(tag, replicas=replicas, within=within)])
        try:
            return confirmed_reply(replies, replicas=replicas, within=within)
        except (ResponseError, NotConfirmed) as error:
            return error


def _result(operation: Operation[Result], reply: Any) -> Result | Exception:  # noqa: ANN401  as above
    """Return the result of one of several operations, or its translated error."""
    if isinstance(reply, RedisError):
        return translate_error(reply)
    if isinstance(reply, Exception):
        return reply
    try:
        return operation.read(reply)
    except ConflictingKey as conflict:
        return conflict
