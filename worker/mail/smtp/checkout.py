"""A connection on loan to one mail: what it has of the pool while it is handed over.

A loan ends when the mail is done, or, with the next mail in its place, when its final dot is written.
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
    """An open connection, and when it was opened and used last (seconds of the monotonic clock)."""

    connection: SMTPConnection
    opened_at: float
    used_at: float
    worn: bool = False
    """Whether it shall carry no other mail."""
    rested: bool = False
    """Whether it has been idle: only then may it have died unnoticed."""
    priority: int = 1
    """Of the mail that has it, or had it last."""
    left: bool = False
    """Whether the mail that had taken it over has left, before the mail before it was done."""


class Lender(Protocol):
    """A pool, as a loan needs it."""

    async def acquire(self, priority: int, *, alone: bool = False) -> PooledConnection:
        """Wait for a connection; ``alone``: not one on which another mail is not done yet."""

    def give_back(self, kept: PooledConnection) -> None:
        """It is idle, or gone."""

    def pass_on(self, kept: PooledConnection) -> bool:
        """Give it to the next mail, if one waits; the reply to the last is still to come."""

    def caught_up(self) -> None:
        """A mail that had another behind it is done."""

    def follow_no_more(self) -> None:
        """The server did not take a mail right behind another."""

    def drop_idle(self) -> None:
        """One was found dead, and these have been idle for longer."""


class Checkout:
    """A connection of the pool, for one mail: what `Pool.connection` gives.

    Args:
        pool: whose.
        priority: of the mail.
    """

    def __init__(self, pool: Lender, priority: int) -> None:
        self._pool = pool
        self._priority = priority
        self._alone = False
        self._kept: PooledConnection | None = None
        self._passed_on: PooledConnection | None = None

    async def __aenter__(self) -> Self:
        await self._take()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()
        if self._passed_on is not None:
            self._pool.caught_up()

    async def send(self, letter: Letter, begin_effect: Callable[[], Awaitable[bool]]) -> Acceptance:
        """Hand over the mail; on another connection if this one proves to have died before its turn.

        Args:
            begin_effect: makes the durable mark before the dot.

        Raises:
            Refused, Malformed, Broken, Uncertain, LeaseLost: see `worker.mail.smtp.errors`.
            Crowded: other workers hold all permitted connections.
        """
        while True:
            kept = await self._take()
            try:
                return await kept.connection.send(letter, begin_effect, self._pass_on)
            except TurnLost as failure:
                self._alone = True
                if failure.refused:
                    self._pool.follow_no_more()
                self._give_back()
            except (ConnectionBroken, MailRefused) as failure:
                if not _had_died(kept, failure):
                    raise
                self._give_back()
                self._pool.drop_idle()

    def close(self) -> None:
        """It shall carry no other mail, but one that follows already."""
        if self._passed_on is not None:
            self._passed_on.worn = True
        elif self._kept is not None:
            self._kept.connection.retire()

    async def _take(self) -> PooledConnection:
        if self._kept is None:
            self._kept = await self._pool.acquire(self._priority, alone=self._alone)
        return self._kept

    def _give_back(self) -> None:
        if self._kept is not None:
            self._pool.give_back(self._kept)
        self._kept = None

    def _pass_on(self) -> bool:
        if self._kept is None or not self._pool.pass_on(self._kept):
            return False
        self._kept, self._passed_on = None, self._kept
        return True


def _had_died(kept: PooledConnection, failure: ConnectionBroken | MailRefused) -> bool:
    """Whether a kept connection was found dead: nothing came, or only a farewell, to its first command."""
    if not kept.rested or kept.connection.usable:
        return False
    if isinstance(failure, ConnectionBroken):
        return failure.stage == "mail"
    return failure.reply.stage == "mail" and failure.reply.code == _CLOSES
