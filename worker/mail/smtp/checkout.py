"""Checkout of a pooled connection for one mail.

It ends when the mail is done, or, if the next mail takes over the connection, when its final dot is written.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from jobs.mail.letter import Letter
from worker.mail.smtp.connection import SMTPConnection
from worker.mail.smtp.envelope import Acceptance
from worker.mail.smtp.errors import ConnectionBroken, MailRefused, TurnLost

_CLOSES = 421


@dataclass(slots=True, eq=False)
class PooledConnection:
    """Open connection of a pool.

    Attributes:
        opened_at: time of opening, in seconds of the monotonic clock.
        used_at: time of the last use, in seconds of the monotonic clock.
        worn: True if it must carry no other mail.
        rested: True if it has been idle; only then may it have died unnoticed.
        priority: priority of the mail that uses it or used it last.
        left: True if the mail that took it over has left before the previous mail was done.
    """

    connection: SMTPConnection
    opened_at: float
    used_at: float
    worn: bool = False
    rested: bool = False
    priority: int = 1
    left: bool = False


class CheckoutPool(Protocol):
    """Part of a pool that a checkout uses."""

    async def acquire(self, priority: int, *, alone: bool = False) -> PooledConnection:
        """Wait for a connection; with ``alone``, for one on which no other mail awaits its reply."""

    def return_connection(self, pooled: PooledConnection) -> None:
        """Return a connection, idle or ended, to the pool."""

    def hand_to_next(self, pooled: PooledConnection) -> bool:
        """Hand the connection to the next waiting mail before the reply to this one; False if no mail waits."""

    def end_overlap(self) -> None:
        """Record that a mail with another behind it is done."""

    def stop_overlapping(self) -> None:
        """Stop sending mails behind others, because the server rejected one."""

    def drop_idle(self) -> None:
        """Close all idle connections, because one that was idle for less time was found dead."""


class Checkout:
    """Checkout of a connection for one mail, as `SMTPPool.connection` returns it.

    Args:
        pool: the pool that owns the connection.
        priority: the mail's priority.
    """

    def __init__(self, pool: CheckoutPool, priority: int) -> None:
        self._pool = pool
        self._priority = priority
        self._alone = False
        self._pooled: PooledConnection | None = None
        self._passed_on: PooledConnection | None = None

    async def __aenter__(self) -> Self:
        await self._take()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()
        if self._passed_on is not None:
            self._pool.end_overlap()

    async def send_letter(self, letter: Letter, begin_effect: Callable[[], Awaitable[bool]]) -> Acceptance:
        """Send the mail, on another connection if this one proves dead before the mail's turn.

        Args:
            begin_effect: stores the durable mark before the final dot.

        Raises:
            MailRefused, MalformedMail, ConnectionBroken, DeliveryUncertain, LeaseLost: see
                `worker.mail.smtp.errors`.
            ConnectionsExhausted: other workers hold all permits.
        """
        while True:
            pooled = self._pooled or await self._take()
            try:
                return await pooled.connection.send_letter(letter, begin_effect, self._pass_on)
            except TurnLost as failure:
                self._alone = True
                if failure.refused:
                    self._pool.stop_overlapping()
                self._give_back()
            except (ConnectionBroken, MailRefused) as failure:
                if not _had_died(pooled, failure):
                    raise
                self._give_back()
                self._pool.drop_idle()

    def close(self) -> None:
        """Let the connection carry no further mail, except one that follows already."""
        if self._passed_on is not None:
            self._passed_on.worn = True
        elif self._pooled is not None:
            self._pooled.connection.close_after_reply()

    async def _take(self) -> PooledConnection:
        if self._pooled is None:
            self._pooled = await self._pool.acquire(self._priority, alone=self._alone)
        return self._pooled

    def _give_back(self) -> None:
        if self._pooled is not None:
            self._pool.return_connection(self._pooled)
        self._pooled = None

    def _pass_on(self) -> bool:
        if self._pooled is None or not self._pool.hand_to_next(self._pooled):
            return False
        self._pooled, self._passed_on = None, self._pooled
        return True


def _had_died(pooled: PooledConnection, failure: ConnectionBroken | MailRefused) -> bool:
    """True if an idle connection was found dead: its first command got no reply, or only a 421."""
    if not pooled.rested or pooled.connection.usable:
        return False
    if isinstance(failure, ConnectionBroken):
        return failure.stage == "mail"
    return failure.reply.stage == "mail" and failure.reply.code == _CLOSES
