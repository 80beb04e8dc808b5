"""A pool of kept SMTP connections: the greeting, TLS and login are paid once, not for every mail.

    asked for ──> waiting ──> in use ──> idle ──> gone
                     ^           │         │
                  opening        └─────────┴─ worn, broken, or closed by the server

Whenever a connection becomes idle or is gone, `_serve` hands idle ones to those who wait, lane by lane as
`worker.mail.smtp.shares` says, and begins to open as many as are still missing.

- **No stampede.** As many connections are opened at a time as are known to work, and one at least: 1, 2, 4 and so
  on. So a server that is down, or a wrong password, is tried once and not fifty times. That failure is everybody's
  who waits. If other connections work it is the server's limit: those who wait get what comes back, and more are
  tried only after a rest.
- **Each lane has its share**, and urgent mails a reserve of connections that only they use.
- **No attempt is lost to a dead connection.** One that the server closed while it was idle is gone at once; one
  that proves dead at its first command costs the mail nothing, `Checkout` takes another.
- **No gap between two mails.** A mail that waits takes over a quick connection when the one before writes its
  final dot, see `worker.mail.smtp.connection`. A server that does not take it so is not asked to any more.
- A connection is given up after a number of mails, an age, or an idle time: servers count, and drop the silent.
- **Permits** bound the connections of many workers together. One is taken before connecting and given back when
  the connection has ended. An idle connection ends when another worker wants its permit; one that comes back does
  when that worker's mail is more important than those that wait here.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Protocol

import background
from worker.mail.smtp.checkout import Checkout, PooledConnection
from worker.mail.smtp.connection import SMTPConnection
from worker.mail.smtp.errors import ConnectionBroken, MailRefused
from worker.mail.smtp.server import Server
from worker.mail.smtp.shares import BULK as BULK, NORMAL as NORMAL, URGENT as URGENT, Shares
from worker.mail.smtp.waiting import WaitingMails

_LONGEST_AGE = 300.0
_LONGEST_IDLE = 30.0
_MOST_OPENING = 10
_FIRST_REST, _LONGEST_REST = 5.0, 300.0
_PERMIT_LOOK = 0.25
_LEFT_FREE = 1
"""Connections on which no mail is put behind another: an urgent one is to wait for the end of one mail at most."""


class Permits(Protocol):
    """A number of connections that several workers share."""

    @property
    def bounded(self) -> bool:
        """Whether there is such a number."""

    async def take(self, priority: int = NORMAL) -> bool:
        """Take one for a mail of this priority, if there is one and nobody more important waits for it."""

    async def wanted(self, priority: int | None = None) -> int:
        """For how many others none is left; with a priority, only those that are more important."""

    async def give_back(self) -> None:
        """One that was taken is free again."""


class ConnectionsExhausted(Exception):
    """No connection is open here, and other workers hold all that are permitted. It is not the mail's fault."""


@dataclass(slots=True)
class _Rest:
    """After a failure no connection is opened for a while, twice as long after each."""

    until: float = 0.0
    failures: int = 0
    refused: MailRefused | None = None
    """The login was: then nobody tries before it is over, also while none is open."""

    def begin(self, refused: MailRefused | None) -> float:
        seconds = min(_LONGEST_REST, _FIRST_REST * (1 << min(self.failures, 10)))
        self.until, self.failures, self.refused = time.monotonic() + seconds, self.failures + 1, refused
        return seconds


class SMTPPool:
    """At most so many connections to one server.

    Args:
        connections: how many at a time.
        messages: mails per connection.
        reserve: how many of the connections only urgent mails may use; fewer than all.
        permits: what bounds them together with other workers'.
        patience: seconds that a mail waits for a permit while no connection is open here.
        on_failure: told of each connection that could not be opened.
        on_open: told of each connection that was.
        longest_idle: seconds after which an idle one is closed.
        weights: of the lanes, the urgent one first: how the connections are shared when all of them want more.

    Example:
        pool = Pool(Server("127.0.0.1", 25, "off"), connections=20, messages=100)
        async with pool.connection(priority=URGENT) as connection:
            receipt = await connection.send(letter, begin_effect)
    """

    def __init__(  # noqa: PLR0913  keyword-only, and each has a default
        self,
        server: Server,
        *,
        connections: int,
        messages: int,
        reserve: int = 0,
        permits: Permits | None = None,
        patience: float = 10.0,
        on_failure: Callable[[MailRefused | ConnectionBroken], None] | None = None,
        on_open: Callable[[], None] = lambda: None,
        longest_idle: float = _LONGEST_IDLE,
        weights: Sequence[int] = (1, 1, 1),
    ) -> None:
        if not 0 <= reserve < connections:
            raise ValueError(f"a reserve of {reserve} leaves nothing of {connections} connections")
        self._server = server
        self._limit, self._reserve, self._messages = connections, reserve, messages
        self._permits, self._patience, self._on_failure = permits, patience, on_failure
        self._on_open = on_open
        self._longest_idle = longest_idle
        self._bounded = permits is not None and permits.bounded
        self._shares = Shares(weights)
        self._waiting: WaitingMails[PooledConnection] = WaitingMails(self._shares)
        self._idle: list[PooledConnection] = []
        self._open = 0
        self._follow = True
        self._behind = 0
        self._rest = _Rest()
        self._opening: dict[asyncio.Task[None], bool] = {}
        """And whether another connection was open when it began: then its failure may be that of one too many."""
        self._leaving: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Task[None] | None = None
        """For others who want an idle one's permit."""
        self._idle_timer: asyncio.TimerHandle | None = None
        self._rest_timer: asyncio.TimerHandle | None = None

    def connection(self, *, priority: int = NORMAL) -> Checkout:
        """A connection for one mail, to be used with ``async with``, which waits for a free one.

        Args:
            priority: `URGENT`, `NORMAL` or `BULK`.

        Raises (on entering):
            Refused, Broken: none is open, and a new one could not be opened.
            Crowded: other workers hold all permitted connections.
        """
        return Checkout(self, priority)

    async def close(self) -> None:
        """Take leave of every idle connection. Nobody may be waiting for one any more."""
        for timer in filter(None, (self._idle_timer, self._rest_timer)):
            timer.cancel()
        for task in filter(None, (*self._opening, self._listening)):
            task.cancel()
        while self._idle or self._opening or self._leaving:
            while self._idle:
                self._take_leave(self._idle.pop())
            await asyncio.gather(*self._opening, *self._leaving, return_exceptions=True)

    # Handing out

    async def acquire(self, priority: int, *, alone: bool = False) -> PooledConnection:
        """See `Lender`."""
        if self._idle and self._idle[-1].connection.usable and self._may_have(priority):
            kept = self._idle.pop()  # nobody is overtaken: who waits now may not have it
            kept.rested, kept.priority = True, priority
            self._shares.in_use[priority] += 1
            return kept
        waiter = self._waiting.add(priority, alone=alone)
        self._serve()
        try:
            return await waiter
        except asyncio.CancelledError:
            if given := self._waiting.leave(waiter, priority):
                self.give_back(given)
            raise

    def give_back(self, kept: PooledConnection) -> None:
        """See `Lender`."""
        kept.used_at = time.monotonic()
        connection = kept.connection
        if connection.awaited:  # by the mail before, which still has it
            kept.left = True
            connection.retire()
            return
        self._shares.in_use[kept.priority] -= 1
        if not connection.usable:
            connection.close()
        elif self._is_worn(kept, mails=connection.sent):
            self._take_leave(kept)
        elif self._bounded and self._waiting.first not in {None, URGENT}:
            self._in_background(self._offer(kept))
        else:
            kept.rested = True
            self._idle.append(kept)
        self._serve()

    def pass_on(self, kept: PooledConnection) -> bool:
        """See `Lender`. The next mail has its place among those in use, too."""
        if not self._follow or self._is_worn(kept, mails=kept.connection.sent + 1):
            return False
        self._shares.in_use[kept.priority] -= 1
        urgent_only = self._bounded or (self._behind + _LEFT_FREE >= self._open and not self._reserve)
        found = self._waiting.next(urgent_only=urgent_only or not self._may_have(NORMAL), alone=False)
        if found is None:
            self._shares.in_use[kept.priority] += 1
            return False
        self._behind += 1
        waiter, kept.priority = found
        waiter.set_result(kept)
        self._open_more()
        return True

    def caught_up(self) -> None:
        """See `Lender`."""
        self._behind -= 1

    def follow_no_more(self) -> None:
        """See `Lender`."""
        self._follow = False

    def _serve(self) -> None:
        """Idle connections to those who wait; then open what is missing."""
        while self._idle:
            if not self._idle[-1].connection.usable:
                self._idle.pop().connection.close()
                continue
            found = self._waiting.next(urgent_only=not self._may_have(NORMAL))
            if found is None:
                break
            kept = self._idle.pop()  # the most recently used: the others grow old and are closed
            waiter, kept.priority = found
            waiter.set_result(kept)
        if self._idle and self._idle_timer is None:
            self._look_at_idle()
        if self._bounded:
            self._listen()
        self._open_more()

    def _is_worn(self, kept: PooledConnection, *, mails: int) -> bool:
        return kept.worn or mails >= self._messages or time.monotonic() - kept.opened_at > _LONGEST_AGE

    def _may_have(self, priority: int) -> bool:
        return priority == URGENT or not self._reserve or self._shares.total < self._limit - self._reserve

    # Handing on to other workers

    async def _offer(self, kept: PooledConnection) -> None:
        """Keep a connection that comes back for the mails here, unless a more important one waits elsewhere."""
        priority = self._waiting.first
        if self._permits is not None and priority and await self._permits.wanted(priority):
            self._take_leave(kept)
        else:
            kept.rested = True
            self._idle.append(kept)
        self._serve()

    def _listen(self) -> None:
        if self._idle and self._bounded and self._listening is None:
            self._listening = background.start("permits that others want", self._hand_on)
            self._listening.add_done_callback(self._listened)

    async def _hand_on(self) -> None:
        """End idle connections whose permits others want, the oldest first, for as long as there are any."""
        while self._idle and self._permits is not None:
            for _ in range(await self._permits.wanted()):
                if self._idle:
                    self._take_leave(self._idle.pop(0))
            await asyncio.sleep(_PERMIT_LOOK)

    def _listened(self, _: "asyncio.Task[None]") -> None:
        self._listening = None

    # Opening

    def _open_more(self) -> None:
        room = self._limit - self._open - len(self._opening)
        missing = (
            self._waiting.count(others=max(0, self._limit - self._reserve - self._shares.total)) if room > 0 else 0
        )
        if not missing:
            return
        if time.monotonic() < self._rest.until:
            if self._open:
                return
            if self._rest.refused is not None:
                self._waiting.fail(self._rest.refused)
                return
        abreast = max(1, min(_MOST_OPENING, self._open)) - len(self._opening)
        for _ in range(min(missing - len(self._opening), room, abreast)):
            task = asyncio.create_task(self._open_one())
            self._opening[task] = self._open > 0
            task.add_done_callback(self._opened)

    async def _open_one(self) -> None:
        if self._permits is not None and not await self._permitted(self._permits):
            return
        kept: PooledConnection | None = None

        def ended() -> None:
            if kept is not None:
                self._ended(kept)

        connection = SMTPConnection(self._server, on_end=ended)
        try:
            await connection.open()
        except BaseException:
            self._give_permit_back()
            raise
        now = time.monotonic()
        kept = PooledConnection(connection, now, now)
        self._open += 1
        self._idle.append(kept)
        self._rest = _Rest()
        self._on_open()

    async def _permitted(self, permits: Permits) -> bool:
        """Wait for a permit for as long as somebody waits for a connection.

        Raises:
            Crowded: those who wait have been patient enough.
        """
        deadline = time.monotonic() + self._patience
        while self._waiting.count(others=1):
            if await permits.take(NORMAL if self._waiting.first is None else self._waiting.first):
                return True
            if self._open == 0 and time.monotonic() > deadline:
                raise ConnectionsExhausted(f"no permit for a connection within {self._patience:g} s")
            await asyncio.sleep(_PERMIT_LOOK)
        return False

    def _opened(self, task: "asyncio.Task[None]") -> None:
        one_more = self._opening.pop(task)
        if task.cancelled():
            return
        if failure := task.exception():
            self._failed(failure, one_more=one_more)
        self._serve()

    def _failed(self, failure: BaseException, *, one_more: bool) -> None:
        """Everybody's who waits; but if other connections work, those who wait get what comes back.

        Args:
            one_more: others worked when it began to open; if they have ended since, it is tried once more.
        """
        if self._on_failure is not None and isinstance(failure, MailRefused | ConnectionBroken):
            self._on_failure(failure)
        reason = failure if isinstance(failure, Exception) else ConnectionError(repr(failure))
        if self._open == 0 and not one_more:
            self._waiting.fail(reason)
        refused = reason if isinstance(reason, MailRefused) and reason.reply.stage == "login" else None
        if self._open or refused:
            seconds = self._rest.begin(refused)  # a wrong password shown again and again locks the account
            if self._rest_timer is not None:
                self._rest_timer.cancel()
            self._rest_timer = asyncio.get_running_loop().call_later(seconds, self._serve)

    # Ending

    def _ended(self, kept: PooledConnection) -> None:
        """It is gone, whoever ended it."""
        self._open -= 1
        self._shares.in_use[kept.priority] -= kept.left
        if kept in self._idle:
            self._idle.remove(kept)
        self._give_permit_back()
        self._serve()

    def _give_permit_back(self) -> None:
        if self._permits is not None:
            self._in_background(self._permits.give_back())

    def _take_leave(self, kept: PooledConnection) -> None:
        self._in_background(kept.connection.quit())  # until it is gone it counts: the server counts it too

    def drop_idle(self) -> None:
        """See `Lender`."""
        while self._idle:
            self._idle.pop().connection.close()

    def _look_at_idle(self) -> None:
        """Take leave of what has been idle for too long; look again when the next one will have been."""
        now = time.monotonic()
        while self._idle and now - self._idle[0].used_at >= self._longest_idle:
            self._take_leave(self._idle.pop(0))
        self._idle_timer = None
        if self._idle:
            wait = self._longest_idle - (now - self._idle[0].used_at)
            self._idle_timer = asyncio.get_running_loop().call_later(wait, self._look_at_idle)

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
