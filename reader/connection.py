"""The reader's one connection to Redis, with a deadline for each command and a circuit breaker.

All commands of one loop tick leave in one write (`producers.link`). Redis has 50 ms for each. When the oldest is
overdue the connection is dropped, all waiting callers get an error, and for a moment no command is sent (the
breaker), so that a stalled Redis costs a request microseconds and not its deadline. Replies come in the order of
the commands; the reply to a cancelled command is dropped and cannot reach another caller.

With a cache, Redis reports every later change of a key that was read here (CLIENT TRACKING). Between two
changes an entry is current while the connection is alive, which pings prove several times a second. If Redis
refuses CLIENT TRACKING the cache keeps nothing; the log and `untracked` say why, and the reader asks again once
a minute.
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
from producers.link import IDLE_SECONDS, NOT_THE_PRIMARY, Argument, Link, is_error
from producers.link.wire import ReplyWaiter, Wire, pack_command
from reader.clock import RedisClock

DEADLINE = timedelta(milliseconds=50)
_REST_S = 0.1
"""Time after a failure in which no command is sent."""
_READ_FIRST_S = 0.002
_BEAT_S = 0.2
"""Interval of the pings that prove a connection alive."""
_PROVEN_S = 0.5
"""Largest age of the last successful ping for which the connection counts as alive."""
_TRACK_AGAIN_S = 60.0
"""Interval at which a server that refused CLIENT TRACKING is sent it again: an operator may have granted the
right."""

_TIME_S = 5.0
"""Interval of readings of Redis's clock."""
_TIME = pack_command(("TIME",))

log = logging.getLogger(__name__)


class StoreUnavailable(Exception):
    """Redis did not reply in time, or replied with an error."""


class ChangeListener(Protocol):
    """Listener for changes of keys, for example :class:`reader.cache.ReplyCache`."""

    def note_change(self, keys: list[bytes] | None) -> None:
        """Note that these keys have changed; None means that any key may have changed."""

    def set_tracking(self, is_tracked: bool, /) -> None:  # noqa: FBT001  the value itself
        """Note whether Redis reports changes on this connection."""


class Connection:
    """One connection for all requests of one event loop. On a cluster, to the primary of the reports.

    Args:
        url: address of Redis; see `producers.link.address`.
        deadline: timeout of a command.
        copy: cache that is notified of changed keys.
        clock: corrected by readings of Redis's clock.

    Attributes:
        untracked: Redis's reason for not reporting changes; empty if it reports them, or if there is no cache.

    Raises:
        ValueError: url: not an address of Redis.
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
        self._pings: asyncio.Task[None] | None = None
        self._heard_at = -inf

    @property
    def heard_s(self) -> float:
        """Seconds since the connection was last known to be alive: all changes until then were reported."""
        return asyncio.get_running_loop().time() - self._heard_at

    @property
    def proven(self) -> bool:
        """True if entries read here and not reported as changed are current to within half a second."""
        wire = self._wire
        return self._is_tracking and wire is not None and not wire.closed and self.heard_s <= _PROVEN_S

    async def send_command(self, *command: Argument) -> asyncio.Future[Any]:
        """Send a command and return the future of its reply, to be awaited by `reply`.

        Raises:
            StoreUnavailable: Redis cannot be reached.
        """
        wire = self._wire
        if wire is None or wire.closed or wire.silent_for(IDLE_SECONDS):
            wire = await self._open()
        pending: asyncio.Future[Any] = wire.send(command)
        self._expect(pending)
        return pending

    def send_packed(self, commands: bytes, waiting: ReplyWaiter, replies: int) -> bool:
        """Send packed commands now over an open connection. Returns False, and sends nothing, if there is none."""
        wire = self._wire
        if wire is None or wire.closed or wire.silent_for(IDLE_SECONDS):
            return False
        wire.send_packed(commands, waiting, replies)
        self._expect(waiting)
        return True

    def send_unawaited(self, purpose: str, *commands: Sequence[Argument]) -> None:
        """Send commands without waiting for replies, if there is a connection; a refusal is logged.

        Args:
            purpose: what the commands record, for the log.
        """
        waiting = _RefusalWatch(len(commands), partial(self._note_refusal, purpose))
        self.send_packed(b"".join(map(pack_command, commands)), waiting, len(commands))

    async def wait_for_reply(self, pending: asyncio.Future[Any]) -> Any:  # noqa: ANN401  a reply has any type
        """Wait for a reply and return it.

        Raises:
            StoreUnavailable: there was no reply in time, or it is an error.
        """
        try:
            answer = await pending
        except (RedisError, OSError) as error:
            raise StoreUnavailable(f"Redis: no reply within {self._deadline * 1000:.0f} ms ({error})") from error
        if isinstance(answer, ResponseError):
            if self._wire is not None and is_error(answer, *NOT_THE_PRIMARY):
                self._link.leave_server(self._wire)
            raise StoreUnavailable(f"Redis: refused the command ({answer})")
        return answer

    async def call(self, *command: Argument) -> Any:  # noqa: ANN401  as in `reply`
        """Send a command and return its reply. Raises StoreUnavailable."""
        return await self.wait_for_reply(await self.send_command(*command))

    async def close(self) -> None:
        """Close the connection."""
        if self._pings is not None:
            self._pings.cancel()
        await self._link.close()

    async def _open(self) -> Wire:
        loop = asyncio.get_running_loop()
        if loop.time() < self._rest_until:
            raise StoreUnavailable("Redis: did not reply a moment ago; the reader tries again shortly")
        try:
            async with asyncio.timeout(self._deadline):
                wire = await self._link.wire()
        except (RedisError, OSError, TimeoutError) as error:
            self._rest_until = loop.time() + _REST_S
            raise StoreUnavailable(f"Redis: cannot be reached ({error or type(error).__name__})") from error
        if wire is not self._wire:
            self._adopt(wire)
        return wire

    def _adopt(self, wire: Wire) -> None:
        """Start to use a new connection, which reports no changes of keys that were read over the old one."""
        self._wire = wire
        self._heard_at = asyncio.get_running_loop().time()
        self._is_tracking = False
        self._ask_time(wire)
        if self._copy is not None:
            self._copy.note_change(None)
            self._track(wire)
            if self._pings is None or self._pings.done():
                self._pings = background.start_task("beat", self._ping_on)

    def _ask_time(self, wire: Wire) -> None:
        """Ask for Redis's clock: first of all on a new connection, then while it is in use."""
        if wire is self._wire and not wire.closed:
            waiting = _ReplyCallback(partial(self._note_time, wire, running_us()))
            wire.send_packed(_TIME, waiting, 1)
            self._expect(waiting)

    def _note_time(self, wire: Wire, asked_us: int, reply: Any) -> None:  # noqa: ANN401  as in `reply`
        self._note_refusal("its clock (without it, ages are computed by this machine's clock)", reply)
        if isinstance(reply, list):
            seconds, microseconds = map(int, reply)
            self.clock.add_reading(ClockReading(seconds * 1_000_000 + microseconds, asked_us, running_us()))
        asyncio.get_running_loop().call_later(_TIME_S, self._ask_time, wire)

    def _track(self, wire: Wire) -> None:
        """Ask Redis to report changes. Without RESP3 Redis would reply OK and report nothing."""
        self._track_again_at = inf
        wire.send(("CLIENT", "TRACKING", "ON")).add_done_callback(partial(self._note_tracking, wire))

    def _note_tracking(self, wire: Wire, reply: asyncio.Future[Any]) -> None:
        """Note whether Redis reports changes. Nothing is noted of a connection that was lost meanwhile."""
        if reply.cancelled() or reply.exception() is not None or wire is not self._wire or self._copy is None:
            return
        refusal = wire.unpushed or (str(reply.result()) if isinstance(reply.result(), ResponseError) else "")
        if refusal != self.untracked:
            self._log_tracking(refusal)
        self.untracked, self._is_tracking = refusal, not refusal
        if refusal:
            self._track_again_at = asyncio.get_running_loop().time() + _TRACK_AGAIN_S
        self._copy.set_tracking(not refusal)

    def _log_tracking(self, refusal: str) -> None:
        if refusal:
            needed = "grant the right +client|tracking and use RESP3"
            log.warning("CLIENT TRACKING: refused, so no copy is kept (%s); %s", refusal, needed)
        else:
            log.info("CLIENT TRACKING: Redis reports changes again, so the copy is in use")

    def _note_refusal(self, purpose: str, reply: object) -> None:
        """Log a refusal of commands that no caller awaits, once until its text changes."""
        refusal = str(reply) if isinstance(reply, ResponseError) else ""
        if refusal and refusal != self._refused.get(purpose):
            log.warning("Redis refused %s: %s", purpose, refusal)
        self._refused[purpose] = refusal

    def _pushed(self, message: list[Any]) -> None:
        if self._copy is not None and message[0] == b"invalidate":
            self._copy.note_change(message[1])

    def _expect(self, waiting: ReplyWaiter) -> None:
        loop = asyncio.get_running_loop()
        self._waiting.append((loop.time() + self._deadline, waiting))
        if not self._watching:
            self._watching = True
            loop.call_later(self._deadline, self._watch)

    def _watch(self) -> None:
        """Drop the connection if the oldest command is overdue, else check again when it would be."""
        loop, waiting = asyncio.get_running_loop(), self._waiting
        while waiting and waiting[0][1].done():
            waiting.popleft()
        self._watching = bool(waiting)
        if not waiting:
            return
        if waiting[0][0] > loop.time():
            loop.call_at(waiting[0][0], self._watch)
        else:  # this process may have been late itself: replies that have arrived are read first
            loop.call_later(_READ_FIRST_S, self._give_up, waiting[0][1])

    def _give_up(self, oldest: ReplyWaiter) -> None:
        if oldest.done():
            self._watch()
            return
        self._watching = False
        self._waiting.clear()
        self._rest_until = asyncio.get_running_loop().time() + _REST_S
        self._link.drop()

    async def _ping_on(self) -> None:
        """Ping Redis forever, which also opens a lost connection again."""
        while True:
            began = asyncio.get_running_loop().time()
            try:
                await self.call("PING")
                self._heard_at = began
                if began >= self._track_again_at and self._wire is not None:
                    self._track(self._wire)
            except StoreUnavailable:
                pass  # `heard_s` grows, and the next ping tries again
            await asyncio.sleep(_BEAT_S)


class _ReplyCallback:
    """Receiver that passes its reply on at once, before later replies are read."""

    def __init__(self, take: Callable[[Any], None]) -> None:
        self._take: Callable[[Any], None] | None = take

    def done(self) -> bool:
        """Return True if no reply is awaited."""
        return self._take is None

    def set_result(self, reply: Any, /) -> None:  # noqa: ANN401  a reply has any type
        """Pass the reply on."""
        take, self._take = self._take, None
        if take is not None:
            take(reply)

    def set_exception(self, _error: Exception, /) -> None:
        """Stop waiting: there will be no reply."""
        self._take = None


class _RefusalWatch:
    """Receiver of replies that no caller awaits; it reports the first refusal, or None."""

    def __init__(self, replies: int, note: Callable[[object], None]) -> None:
        self._left = replies
        self._note = note
        self._refusal: object = None

    def done(self) -> bool:
        """Return True if no reply is awaited."""
        return not self._left

    def set_result(self, reply: Any, /) -> None:  # noqa: ANN401  a reply has any type
        """Take the next reply."""
        self._left -= 1
        if self._refusal is None and isinstance(reply, ResponseError):
            self._refusal = reply
        if not self._left:
            self._note(self._refusal)

    def set_exception(self, _error: Exception, /) -> None:
        """Stop waiting: the connection is lost, and the callers that wait get the error."""
        self._left = 0
