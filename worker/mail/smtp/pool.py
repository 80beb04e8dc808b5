"""Pool of open SMTP connections, so that greeting, TLS and login are not repeated for every mail.

    requested ──> waiting ──> in use ──> idle ──> gone
                     ^           │         │
                  opening        └─────────┴─ worn, broken, or closed by the server

Whenever a connection becomes idle or ends, `_serve_waiting` hands idle connections to waiting mails, lane by lane
as `worker.mail.smtp.shares` decides, and opens connections for the rest.

- **No stampede.** At a time the pool opens as many connections as are known to work, and at least one: 1, 2, 4 and
  so on. So a server that is down, or a wrong password, is tried once and not fifty times, and all waiting mails
  get that failure. If other connections work, the failure is the server's limit: waiting mails get the connections
  that come back, and the pool tries to open more only after a rest.
- **Each lane has its share**, and urgent mails have a reserve of connections for themselves.
- **A dead connection costs no attempt.** A connection that the server closed while it was idle is dropped at once;
  if one proves dead at its first command, `Checkout` takes another.
- **No gap between two mails.** A waiting mail takes over a fast connection when the mail before it writes its
  final dot, see `worker.mail.smtp.connection`. If a server rejects that, the pool stops doing it.
- A connection is closed after a number of mails, an age, or an idle time, because servers count mails and drop
  silent clients.
- **Permits** bound the connections of all workers together. The pool takes one before it connects and returns it
  when the connection has ended. It ends an idle connection when another worker waits for a permit, and a
  connection that comes back if that worker's mail is more important than those that wait here.
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
_PERMIT_INTERVAL = 0.25
_LEFT_FREE = 1
"""Connections without a second mail in the pipeline, so that an urgent mail waits for at most one mail."""


class Permits(Protocol):
    """Connections to one account that several workers share."""

    @property
    def bounded(self) -> bool:
        """True if the number of connections is limited."""

    async def take_permit(self, priority: int = NORMAL) -> bool:
        """Take a permit for a mail of this priority; False if none is free or a more important mail waits."""

    async def count_waiting(self, priority: int | None = None) -> int:
        """Count the other workers that found no permit; with a priority, only those with a more important mail."""

    async def return_permit(self) -> None:
        """Return a permit whose connection has ended."""


class ConnectionsExhausted(Exception):
    """No connection is open here, and other workers hold all permits; it is not the mail's fault."""


@dataclass(slots=True)
class _Rest:
    """Pause before the next connection is opened after failures; its length doubles with each.

    Attributes:
        until: end of the pause, in seconds of the monotonic clock.
        failures: failures in a row.
        refused: the refusal of the login, if that was the failure; then the pause holds even if none is open.
    """

    until: float = 0.0
    failures: int = 0
    refused: MailRefused | None = None

    def begin(self, refused: MailRefused | None) -> float:
        seconds = min(_LONGEST_REST, _FIRST_REST * (1 << min(self.failures, 10)))
        self.until, self.failures, self.refused = time.monotonic() + seconds, self.failures + 1, refused
        return seconds


class SMTPPool:
    """Pool with a limited number of connections to one server.

    Args:
        connections: connections at a time.
        messages: mails per connection.
        reserve: connections that only urgent mails may use; less than ``connections``.
        permits: the limit that all workers share.
        patience: seconds that a mail waits for a permit while no connection is open here.
        on_failure: called for each connection that could not be opened.
        on_open: called for each connection that was opened.
        longest_idle: seconds after which an idle connection is closed.
        weights: weights of the lanes, the urgent one first, by which they share the connections.

    Raises:
        ValueError: the reserve leaves no connection for other mails.

    Example:
        pool = SMTPPool(Server("127.0.0.1", 25, "off"), connections=20, messages=100)
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
            raise ValueError(
                f"reserve: must be at least 0 and less than connections ({connections}), not {reserve}"
            )
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
        self._may_overlap = True
        self._overlaps = 0
        self._rest = _Rest()
        self._opening: dict[asyncio.Task[None], bool] = {}
        """True for a task that started while another connection was open: it may fail by the server's limit."""
        self._background: set[asyncio.Task[None]] = set()
        self._permit_watch: asyncio.Task[None] | None = None
        """Watches for other workers that wait for the permit of an idle connection."""
        self._idle_timer: asyncio.TimerHandle | None = None
        self._rest_timer: asyncio.TimerHandle | None = None

    def connection(self, *, priority: int = NORMAL) -> Checkout:
        """Return a checkout for one mail; its ``async with`` waits for a free connection.

        Args:
            priority: `URGENT`, `NORMAL` or `BULK`.

        Raises (on entering):
            MailRefused, ConnectionBroken: none is open, and a new one could not be opened.
            ConnectionsExhausted: other workers hold all permits.
        """
        return Checkout(self, priority)

    async def close(self) -> None:
        """Quit every idle connection; call it when no mail waits any more."""
        for timer in filter(None, (self._idle_timer, self._rest_timer)):
            timer.cancel()
        for task in filter(None, (*self._opening, self._permit_watch)):
            task.cancel()
        while self._idle or self._opening or self._background:
            while self._idle:
                self._quit(self._idle.pop())
            await asyncio.gather(*self._opening, *self._background, return_exceptions=True)

    # Handing out

    async def acquire(self, priority: int, *, alone: bool = False) -> PooledConnection:
        """See `CheckoutPool`."""
        if self._idle and self._idle[-1].connection.usable and self._may_use(priority):
            pooled = self._idle.pop()  # this overtakes no mail: those that wait now may not have it
            pooled.rested, pooled.priority = True, priority
            self._shares.in_use[priority] += 1
            return pooled
        waiter = self._waiting.add(priority, alone=alone)
        self._serve_waiting()
        try:
            return await waiter
        except asyncio.CancelledError:
            if given := self._waiting.remove(waiter, priority):
                self.return_connection(given)
            raise

    def return_connection(self, pooled: PooledConnection) -> None:
        """See `CheckoutPool`."""
        pooled.used_at = time.monotonic()
        connection = pooled.connection
        if connection.awaited:  # by the mail before, which still has it
            pooled.left = True
            connection.close_after_reply()
            return
        self._shares.in_use[pooled.priority] -= 1
        if not connection.usable:
            connection.close()
        elif self._is_worn(pooled, mails=connection.sent):
            self._quit(pooled)
        elif self._bounded and self._waiting.first_priority not in {None, URGENT}:
            self._in_background(self._keep_or_end(pooled))
        else:
            pooled.rested = True
            self._idle.append(pooled)
        self._serve_waiting()

    def hand_to_next(self, pooled: PooledConnection) -> bool:
        """See `CheckoutPool`. The next mail also takes this mail's place in the lanes' shares."""
        if not self._may_overlap or self._is_worn(pooled, mails=pooled.connection.sent + 1):
            return False
        self._shares.in_use[pooled.priority] -= 1
        urgent_only = self._bounded or (self._overlaps + _LEFT_FREE >= self._open and not self._reserve)
        found = self._waiting.take_next(urgent_only=urgent_only or not self._may_use(NORMAL), alone=False)
        if found is None:
            self._shares.in_use[pooled.priority] += 1
            return False
        self._overlaps += 1
        waiter, pooled.priority = found
        waiter.set_result(pooled)
        self._open_more()
        return True

    def end_overlap(self) -> None:
        """See `CheckoutPool`."""
        self._overlaps -= 1

    def stop_overlapping(self) -> None:
        """See `CheckoutPool`."""
        self._may_overlap = False

    def _serve_waiting(self) -> None:
        """Hand idle connections to waiting mails; then open more for the rest."""
        if not self._idle and self._open + len(self._opening) >= self._limit:
            return
        while self._idle:
            if not self._idle[-1].connection.usable:
                self._idle.pop().connection.close()
                continue
            found = self._waiting.take_next(urgent_only=not self._may_use(NORMAL))
            if found is None:
                break
            pooled = self._idle.pop()  # the most recently used: the others grow old and are closed
            waiter, pooled.priority = found
            waiter.set_result(pooled)
        if self._idle and self._idle_timer is None:
            self._quit_idle()
        if self._bounded:
            self._watch_permits()
        self._open_more()

    def _is_worn(self, pooled: PooledConnection, *, mails: int) -> bool:
        return pooled.worn or mails >= self._messages or time.monotonic() - pooled.opened_at > _LONGEST_AGE

    def _may_use(self, priority: int) -> bool:
        return priority == URGENT or not self._reserve or self._shares.total < self._limit - self._reserve

    # Handing on to other workers

    async def _keep_or_end(self, pooled: PooledConnection) -> None:
        """Keep a returned connection for the mails here, unless another worker has a more important one."""
        priority = self._waiting.first_priority
        if self._permits is not None and priority and await self._permits.count_waiting(priority):
            self._quit(pooled)
        else:
            pooled.rested = True
            self._idle.append(pooled)
        self._serve_waiting()

    def _watch_permits(self) -> None:
        if self._idle and self._bounded and self._permit_watch is None:
            self._permit_watch = background.start_task("permits that others want", self._end_wanted)
            self._permit_watch.add_done_callback(self._on_watch_end)

    async def _end_wanted(self) -> None:
        """End idle connections, the oldest first, while other workers wait for their permits."""
        while self._idle and self._permits is not None:
            for _ in range(await self._permits.count_waiting()):
                if self._idle:
                    self._quit(self._idle.pop(0))
            await asyncio.sleep(_PERMIT_INTERVAL)

    def _on_watch_end(self, _: "asyncio.Task[None]") -> None:
        self._permit_watch = None

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
                self._waiting.fail_all(self._rest.refused)
                return
        abreast = max(1, min(_MOST_OPENING, self._open)) - len(self._opening)
        for _ in range(min(missing - len(self._opening), room, abreast)):
            task = asyncio.create_task(self._open_one())
            self._opening[task] = self._open > 0
            task.add_done_callback(self._on_opened)

    async def _open_one(self) -> None:
        if self._permits is not None and not await self._take_permit(self._permits):
            return
        pooled: PooledConnection | None = None

        def ended() -> None:
            if pooled is not None:
                self._on_ended(pooled)

        connection = SMTPConnection(self._server, on_end=ended)
        try:
            await connection.open()
        except BaseException:
            self._return_permit()
            raise
        now = time.monotonic()
        pooled = PooledConnection(connection, now, now)
        self._open += 1
        self._idle.append(pooled)
        self._rest = _Rest()
        self._on_open()

    async def _take_permit(self, permits: Permits) -> bool:
        """Wait for a permit while a mail waits for a connection; False if no mail waits any more.

        Raises:
            ConnectionsExhausted: no permit within the patience, and no connection is open.
        """
        deadline = time.monotonic() + self._patience
        while self._waiting.count(others=1):
            if await permits.take_permit(
                NORMAL if self._waiting.first_priority is None else self._waiting.first_priority
            ):
                return True
            if self._open == 0 and time.monotonic() > deadline:
                raise ConnectionsExhausted(
                    f"no permit for a connection within {self._patience:g} s; other workers hold them all"
                )
            await asyncio.sleep(_PERMIT_INTERVAL)
        return False

    def _on_opened(self, task: "asyncio.Task[None]") -> None:
        one_more = self._opening.pop(task)
        if task.cancelled():
            return
        if failure := task.exception():
            self._on_failed(failure, one_more=one_more)
        self._serve_waiting()

    def _on_failed(self, failure: BaseException, *, one_more: bool) -> None:
        """Fail all waiting mails if no connection works, else rest before opening more.

        Args:
            one_more: True if others were open when it started; if they have ended since, the pool tries once more.
        """
        if self._on_failure is not None and isinstance(failure, MailRefused | ConnectionBroken):
            self._on_failure(failure)
        reason = failure if isinstance(failure, Exception) else ConnectionError(repr(failure))
        if self._open == 0 and not one_more:
            self._waiting.fail_all(reason)
        refused = reason if isinstance(reason, MailRefused) and reason.reply.stage == "login" else None
        if self._open or refused:
            seconds = self._rest.begin(refused)  # a wrong password shown again and again locks the account
            if self._rest_timer is not None:
                self._rest_timer.cancel()
            self._rest_timer = asyncio.get_running_loop().call_later(seconds, self._serve_waiting)

    # Ending

    def _on_ended(self, pooled: PooledConnection) -> None:
        """Account for a connection that has ended, at either end."""
        self._open -= 1
        self._shares.in_use[pooled.priority] -= pooled.left
        if pooled in self._idle:
            self._idle.remove(pooled)
        self._return_permit()
        self._serve_waiting()

    def _return_permit(self) -> None:
        if self._permits is not None:
            self._in_background(self._permits.return_permit())

    def _quit(self, pooled: PooledConnection) -> None:
        self._in_background(pooled.connection.quit())  # it counts until it has ended, as the server counts it too

    def drop_idle(self) -> None:
        """See `CheckoutPool`."""
        while self._idle:
            self._idle.pop().connection.close()

    def _quit_idle(self) -> None:
        """Quit connections that have been idle for too long, and set the timer for the next one."""
        now = time.monotonic()
        while self._idle and now - self._idle[0].used_at >= self._longest_idle:
            self._quit(self._idle.pop(0))
        self._idle_timer = None
        if self._idle:
            wait = self._longest_idle - (now - self._idle[0].used_at)
            self._idle_timer = asyncio.get_running_loop().call_later(wait, self._quit_idle)

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
