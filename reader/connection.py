"""The reader's one connection to Redis: bounded in time, and quick to give up.

All requests of one loop tick leave in one write (`producers.link`). Redis has 50 ms for each; when the oldest is
overdue the connection is given up, everybody who waits is told, and for a moment nobody tries again (the
breaker), so that a stalled Redis costs a request microseconds and not its deadline. Replies come in the order of
the commands, and one whose asker has gone is dropped: it can reach nobody else.

With a copy, Redis tells of every key read here that changes later (CLIENT TRACKING). Between two changes what was
read is current for as long as the connection lives, of which it gives a sign several times a second. Where Redis
refuses to tell, the copy keeps nothing; the log and `untracked` say why, and it is asked again once a minute.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from math import inf
from typing import Any, Protocol

from redis.exceptions import RedisError, ResponseError

import background
from clocks import ClockReading, running_us
from producers.link import IDLE_SECONDS, NOT_THE_PRIMARY, Argument, Link, says
from producers.link.wire import ReplyWaiter, Wire, pack
from reader.clock import RedisClock

DEADLINE = timedelta(milliseconds=50)
_REST_S = 0.1
"""How long nobody tries after a failure."""
_READ_FIRST_S = 0.002
_BEAT_S = 0.2
"""How often a connection that is to prove something is asked for a sign of life."""
_PROVEN_S = 0.5
"""How old the last sign of life may be."""
_TRACK_AGAIN_S = 60.0
"""How often a server that refused CLIENT TRACKING is asked again: somebody may have granted the right."""

_TIME_S = 5.0
"""How often a connection in use is asked for Redis's clock."""
_TIME = pack(("TIME",))

log = logging.getLogger(__name__)


class StoreUnavailable(Exception):
    """Redis did not answer in time, or not as it should."""


class ChangeListener(Protocol):
    """Whoever is told of changes; :class:`reader.cache.Copy` is."""

    def changed(self, keys: list[bytes] | None) -> None:
        """These keys have changed; None: nothing that was read before may be believed any longer."""

    def told(self, is_told: bool, /) -> None:  # noqa: FBT001  the fact itself
        """Take note whether Redis tells of changes on this connection."""


class Connection:
    """One connection for all requests of one event loop. On a cluster, to the primary of the reports.

    Args:
        url: where Redis is; see `producers.link.address`.
        copy: told of changed keys.
        clock: told what time Redis has.

    Attributes:
        untracked: why Redis tells of no changes, in its words; empty when it does, or when nobody wants to know.

    Raises:
        ValueError: an address of another form.
    """

    def __init__(
        self,
        url: str,
        *,
        deadline: timedelta = DEADLINE,
        copy: ChangeListener | None = None,
        clock: RedisClock | None = None,
    ) -> None:
        self.clock = clock or RedisClock()
        self._link = Link(url, "{reports}", on_push=self._pushed if copy is not None else None)
        self._copy = copy
        self._is_tracking = False
        self._track_again_at = inf
        self.untracked = ""
        self._refused: dict[str, str] = {}
        self._deadline = deadline.total_seconds()
        self._rest_until = 0.0
        self._wire: Wire | None = None
        self._waiting: deque[tuple[float, ReplyWaiter]] = deque()
        self._watching = False
        self._beating: asyncio.Task[None] | None = None
        self._heard_at = -inf

    @property
    def heard_s(self) -> float:
        """How long ago the connection was last known to live, in seconds: all changes until then were told."""
        return asyncio.get_running_loop().time() - self._heard_at

    @property
    def proven(self) -> bool:
        """Whether what was read over this connection and not told to have changed is current, to half a second."""
        wire = self._wire
        return self._is_tracking and wire is not None and not wire.closed and self.heard_s <= _PROVEN_S

    async def send(self, *command: Argument) -> asyncio.Future[Any]:
        """Send a command; its reply is for `reply`.

        Raises:
            StoreUnavailable: there is no connection.
        """
        wire = self._wire
        if wire is None or wire.closed or wire.silent_for(IDLE_SECONDS):
            wire = await self._open()
        asked: asyncio.Future[Any] = wire.send(command)
        self._expect(asked)
        return asked

    def send_packed(self, commands: bytes, waiting: ReplyWaiter, replies: int) -> bool:
        """Send commands at once, if there is a connection in use: whether there was. None is made for them."""
        wire = self._wire
        if wire is None or wire.closed or wire.silent_for(IDLE_SECONDS):
            return False
        wire.send_packed(commands, waiting, replies)
        self._expect(waiting)
        return True

    def tell(self, what: str, *commands: Sequence[Argument]) -> None:
        """Send commands whose replies nobody waits for, if there is a connection; a refusal is logged.

        Args:
            what: what does not happen when Redis refuses.
        """
        waiting = _Noted(len(commands), partial(self._note, what))
        self.send_packed(b"".join(map(pack, commands)), waiting, len(commands))

    async def reply(self, asked: asyncio.Future[Any]) -> Any:  # noqa: ANN401  a reply is whatever Redis says
        """What Redis answered.

        Raises:
            StoreUnavailable: nothing in time, or a refusal.
        """
        try:
            answer = await asked
        except (RedisError, OSError) as error:
            raise StoreUnavailable(
                f"Redis did not answer within {self._deadline * 1000:.0f} ms: {error}"
            ) from error
        if isinstance(answer, ResponseError):
            if self._wire is not None and says(answer, *NOT_THE_PRIMARY):
                self._link.leave(self._wire)
            raise StoreUnavailable(f"Redis refused: {answer}")
        return answer

    async def ask(self, *command: Argument) -> Any:  # noqa: ANN401  as in `reply`
        """Send a command and wait for its reply. Raises StoreUnavailable."""
        return await self.reply(await self.send(*command))

    async def close(self) -> None:
        """Close the connection."""
        if self._beating is not None:
            self._beating.cancel()
        await self._link.close()

    async def _open(self) -> Wire:
        loop = asyncio.get_running_loop()
        if loop.time() < self._rest_until:
            raise StoreUnavailable("Redis did not answer a moment ago")
        try:
            async with asyncio.timeout(self._deadline):
                wire = await self._link.wire()
        except (RedisError, OSError, TimeoutError) as error:
            self._rest_until = loop.time() + _REST_S
            raise StoreUnavailable(f"Redis cannot be reached: {error or type(error).__name__}") from error
        if wire is not self._wire:
            self._begin(wire)
        return wire

    def _begin(self, wire: Wire) -> None:
        """A new connection knows of no key that was read over the old one."""
        self._wire = wire
        self._heard_at = asyncio.get_running_loop().time()
        self._is_tracking = False
        self._ask_time(wire)
        if self._copy is not None:
            self._copy.changed(None)
            self._track(wire)
            if self._beating is None or self._beating.done():
                self._beating = background.start("beat", self._beat)

    def _ask_time(self, wire: Wire) -> None:
        """Before anything else is asked over a new connection, and for as long as it is in use."""
        if wire is self._wire and not wire.closed:
            waiting = _One(partial(self._told_time, wire, running_us()))
            wire.send_packed(_TIME, waiting, 1)
            self._expect(waiting)

    def _told_time(self, wire: Wire, asked_us: int, said: Any) -> None:  # noqa: ANN401  as in `reply`
        self._note("the question for its clock, without which this machine's tells ages", said)
        if isinstance(said, list):
            seconds, microseconds = map(int, said)
            self.clock.note(ClockReading(seconds * 1_000_000 + microseconds, asked_us, running_us()))
        asyncio.get_running_loop().call_later(_TIME_S, self._ask_time, wire)

    def _track(self, wire: Wire) -> None:
        """Ask to be told of changes. Without RESP3 Redis would say OK to that, and tell nothing."""
        self._track_again_at = inf
        wire.send(("CLIENT", "TRACKING", "ON")).add_done_callback(partial(self._tracked, wire))

    def _tracked(self, wire: Wire, said: asyncio.Future[Any]) -> None:
        """Whether Redis will tell of changes. A connection lost meanwhile has told everybody else."""
        if said.cancelled() or said.exception() is not None or wire is not self._wire or self._copy is None:
            return
        refusal = wire.unpushed or (str(said.result()) if isinstance(said.result(), ResponseError) else "")
        if refusal != self.untracked:
            self._say_tracking(refusal)
        self.untracked, self._is_tracking = refusal, not refusal
        if refusal:
            self._track_again_at = asyncio.get_running_loop().time() + _TRACK_AGAIN_S
        self._copy.told(not refusal)

    def _say_tracking(self, refusal: str) -> None:
        if refusal:
            needed = "it takes the right +client|tracking, and RESP3"
            log.warning("CLIENT TRACKING: refused, so no copy is kept (%s); %s", refusal, needed)
        else:
            log.info("CLIENT TRACKING: Redis tells of changes again; the copy is in use")

    def _note(self, what: str, reply: object) -> None:
        """Log a refusal of something nobody waits for, once until its words change."""
        refusal = str(reply) if isinstance(reply, ResponseError) else ""
        if refusal and refusal != self._refused.get(what):
            log.warning("Redis does not take note of %s: %s", what, refusal)
        self._refused[what] = refusal

    def _pushed(self, message: list[Any]) -> None:
        if self._copy is not None and message[0] == b"invalidate":
            self._copy.changed(message[1])

    def _expect(self, waiting: ReplyWaiter) -> None:
        loop = asyncio.get_running_loop()
        self._waiting.append((loop.time() + self._deadline, waiting))
        if not self._watching:
            self._watching = True
            loop.call_later(self._deadline, self._watch)

    def _watch(self) -> None:
        """Look again when the oldest command is overdue."""
        loop, waiting = asyncio.get_running_loop(), self._waiting
        while waiting and waiting[0][1].done():
            waiting.popleft()
        self._watching = bool(waiting)
        if not waiting:
            return
        if waiting[0][0] > loop.time():
            loop.call_at(waiting[0][0], self._watch)
        else:  # this process may have been the one that was late: what has arrived is read first
            loop.call_later(_READ_FIRST_S, self._give_up, waiting[0][1])

    def _give_up(self, oldest: ReplyWaiter) -> None:
        if oldest.done():
            self._watch()
            return
        self._watching = False
        self._waiting.clear()
        self._rest_until = asyncio.get_running_loop().time() + _REST_S
        self._link.drop()

    async def _beat(self) -> None:
        """Signs of life, for as long as there is a connection; it is opened again when it is lost."""
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await self.ask("PING")
                self._heard_at = began
                if began >= self._track_again_at and self._wire is not None:
                    self._track(self._wire)
            except StoreUnavailable:
                pass  # `heard_s` says so, and the next beat tries again
            await asyncio.sleep(_BEAT_S)


class _One:
    """Hands a reply on in the very moment in which it comes, before those that come after it."""

    def __init__(self, take: Callable[[Any], None]) -> None:
        self._take: Callable[[Any], None] | None = take

    def done(self) -> bool:
        """Whether nothing more is waited for."""
        return self._take is None

    def set_result(self, reply: Any, /) -> None:  # noqa: ANN401  a reply is whatever Redis says
        """The reply."""
        take, self._take = self._take, None
        if take is not None:
            take(reply)

    def set_exception(self, _error: Exception, /) -> None:
        """There will be none."""
        self._take = None


class _Noted:
    """Takes replies that nobody waits for, and tells of the first refusal, or of none."""

    def __init__(self, replies: int, note: Callable[[object], None]) -> None:
        self._left = replies
        self._note = note
        self._refusal: object = None

    def done(self) -> bool:
        """Whether nothing more is waited for."""
        return not self._left

    def set_result(self, reply: Any, /) -> None:  # noqa: ANN401  a reply is whatever Redis says
        """The next reply."""
        self._left -= 1
        if self._refusal is None and isinstance(reply, ResponseError):
            self._refusal = reply
        if not self._left:
            self._note(self._refusal)

    def set_exception(self, _error: Exception, /) -> None:
        """There will be none: the connection is lost, which whoever waits for something is told."""
        self._left = 0
