"""Reads of Redis that share round trips: concurrent queries leave together.

A query like the depth reads some thirty small things for several rooms. One by one, most of its time would go into
round trips, each with the work of the client and of two kernels; so the parts run at once
(:func:`read_together`), and their commands go in one pipeline (:func:`share_reads`), without a transaction, which
the console's user may not use. Each part keeps its own replies and errors: a command that Redis refuses fails its
part alone; if the connection is lost, all parts fail.

On a cluster each command goes to the node of its key, as it does without sharing.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError

Commands = Sequence[tuple[Any, Any]]
"""Arguments and options of each command, as redis-py has them."""


@asynccontextmanager
async def share_reads(redis: Redis) -> AsyncIterator[Redis]:
    """Yield a client whose concurrent commands share round trips; on a cluster, the client itself.

    A call that is under way when the block ends, since its part failed or was cancelled, ends with it.
    """
    reads = SharedReads(redis) if isinstance(redis, Redis) else None
    try:
        yield redis if reads is None else reads
    finally:
        if reads is not None:
            await reads.end_calls()


async def read_together(*parts: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401  a value of each part
    """Run the parts at once and return their values; the first error ends the others."""
    if len(parts) == 1:
        return [await parts[0]]
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


_TURNS: Final = 4
"""Turns of the event loop until commands leave: parts that begin or continue in tasks of their own add theirs."""


class _Question(NamedTuple):
    """Commands of one part, and the future of their replies; for a command that Redis refused, its error."""

    commands: Commands
    replies: "asyncio.Future[list[Any]]"


class SharedReads(Redis):
    """Client whose concurrent commands go in one pipeline. For reads; nothing is repeated."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(connection_pool=redis.connection_pool)
        self._waiting: list[_Question] = []
        self._sending: set[asyncio.Task[None]] = set()

    async def execute_command(self, *command: Any, **options: Any) -> Any:  # noqa: ANN401  redis-py's own
        """Send a command with the others and return its reply. Raises RedisError, OSError."""
        (reply,) = await self.send_commands([(command, options)])
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def send_commands(self, commands: Commands) -> list[Any]:
        """Send commands with those of others and return their replies; for a refused one, its error.

        Raises:
            RedisError, OSError: Redis did not answer.
        """
        if not self._waiting:
            sending = asyncio.create_task(self._send())
            self._sending.add(sending)
            sending.add_done_callback(self._sending.discard)
        self._waiting.append(_Question(commands, asyncio.get_running_loop().create_future()))
        return await self._waiting[-1].replies

    def pipeline(self, transaction: bool = True, shard_hint: object = None) -> Pipeline:  # noqa: FBT001, FBT002  redis-py's own
        """Return a pipeline whose commands leave with those of others."""
        del transaction, shard_hint
        return _SharedPipeline(self)

    async def end_calls(self) -> None:
        """Cancel the calls that are under way, so that their connections are given back."""
        calls = tuple(self._sending)
        for one in calls:
            one.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    async def _send(self) -> None:
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        waiting, self._waiting = self._waiting, []
        pipeline = Pipeline(self.connection_pool, self.response_callbacks, False, None)  # noqa: FBT003  redis-py's own
        pipeline.command_stack = [command for question in waiting for command in question.commands]
        try:
            replies = iter(await pipeline.execute(raise_on_error=False))
        except (RedisError, OSError) as error:
            for question in waiting:
                if not question.replies.done():  # else its part was ended
                    question.replies.set_exception(error)
            return
        for question in waiting:
            some = [next(replies) for _ in question.commands]
            if not question.replies.done():
                question.replies.set_result(some)


class _SharedPipeline(Pipeline):
    """Pipeline whose commands go with those of others."""

    def __init__(self, reads: SharedReads) -> None:
        super().__init__(reads.connection_pool, reads.response_callbacks, False, None)  # noqa: FBT003  redis-py's own
        self._reads = reads

    async def execute(self, raise_on_error: bool = True) -> list[Any]:  # noqa: FBT001, FBT002  redis-py's own
        """Send the commands and return their replies in order. Raises RedisError, OSError."""
        commands, self.command_stack = self.command_stack, []
        replies = await self._reads.send_commands(commands) if commands else []
        for reply in replies if raise_on_error else ():
            if isinstance(reply, Exception):
                raise reply
        return replies
