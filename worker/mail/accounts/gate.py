"""Gate of one account, shared by all workers: permits for its connections, and the breaker that closes it.

Permits: a connection needs one for as long as it lives. Permits are leases in Redis, renewed while the pool holds
them, so that those of a killed worker expire. A returned permit lingers for a moment, because a server notices the
end of a connection later than the client. A worker that finds none registers its need with its mail's priority: a
worker with an idle connection then ends it, and a free permit goes to the most important mail.

Breaker: a refused login or relay, a used-up daily quota, or a few connection faults in a row close the account for
a while, for all workers at once; its limit is held, so that the claim gives its mails to another account or leaves
them waiting. After the pause one connection tries. If it fails, the next pause is longer.

What can go wrong: Redis is down. Then no new connection is opened, and open ones stay open; their mails could not
store a mark anyway.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from redis.exceptions import RedisError

import background
from producers.keys import LaneKeys, mail_account, mail_permits, mail_wanted
from producers.limits.limit import Limit, Rate
from producers.limits.limits import Limits
from producers.link import Argument, Link
from producers.link.script import Script, read_script
from worker.events import emit, event
from worker.mail.accounts.refused_domains import RefusedDomains
from worker.mail.accounts.tempo import Tempo
from worker.mail.smtp.verdict import Trouble

_ACCOUNT_CLOSED = event("account.closed")
_ACCOUNT_OPEN = event("account.open")

_ANSWER_SECONDS = 2.0
_REASON_LIMIT = 500
_ANY_PRIORITY = 9
_SECONDS = 60
DOUBTFUL: set[Trouble] = {"auth", "relay", "blocked", "client"}
"""Troubles whose replies may be about one mail only."""
_IN_A_ROW = 3
_KEYS = LaneKeys("mail.normal")
_LOST = (RedisError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Pause:
    """Pause of an account after trouble.

    Attributes:
        faults: number of faults in a row that close the account.
        first, longest: length of the first pause and the limit; each pause is twice the one before.
    """

    faults: int
    first: timedelta
    longest: timedelta


PAUSES: Mapping[Trouble, Pause] = {
    "fault": Pause(3, timedelta(seconds=5), timedelta(minutes=5)),
    "tls": Pause(1, timedelta(minutes=1), timedelta(hours=1)),
    "login": Pause(1, timedelta(minutes=1), timedelta(hours=1)),
    "auth": Pause(1, timedelta(minutes=1), timedelta(hours=1)),
    "relay": Pause(1, timedelta(minutes=1), timedelta(hours=1)),
    "blocked": Pause(1, timedelta(minutes=1), timedelta(hours=1)),
    "client": Pause(1, timedelta(minutes=1), timedelta(hours=1)),
    "throttle": Pause(1, timedelta(seconds=10), timedelta(minutes=5)),
    "connections": Pause(1, timedelta(seconds=5), timedelta(minutes=1)),
    "day": Pause(1, timedelta(minutes=30), timedelta(hours=4)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GateTimes:
    """Times of a gate; the defaults are for real providers.

    Attributes:
        life, renew_every: lease time of a permit, and the interval of its renewal.
        linger: time in which the server notices that a connection ended.
        row: longest distance between connection faults in a row.
        quiet: time without a complaint after which one more connection is tried again.
        proof: time for which a working connection proves that the account works.
        look: delay of the next attempt of a mail that found no free permit.
        want: time for which a worker's need of a permit is registered.
        aside: first time for which a refused domain is set aside, if the reply may be about the account.
        pauses: pauses by trouble.
    """

    life: timedelta = timedelta(seconds=10)
    renew_every: timedelta = timedelta(seconds=3)
    linger: timedelta = timedelta(milliseconds=250)
    row: timedelta = timedelta(minutes=1)
    quiet: timedelta = timedelta(minutes=5)
    proof: timedelta = timedelta(minutes=1)
    look: timedelta = timedelta(seconds=1)
    want: timedelta = timedelta(seconds=1)
    aside: timedelta = timedelta(seconds=5)
    pauses: Mapping[Trouble, Pause] = field(default_factory=lambda: PAUSES)


class AccountClosed(Exception):
    """No new connection to this account is possible now.

    Attributes:
        after: delay until the mail may be claimed again. It is short: a closed account is held, so the claim gives
            the mail to another account, or leaves it until the pause ends or an operator opens the account.
        bounded: True if other mails go out through the account, so that this one waits no longer than its horizon.
    """

    def __init__(self, account: str, after: timedelta, reason: str, *, bounded: bool = False) -> None:
        super().__init__(f"{account}: {reason}")
        self.after, self.bounded = after, bounded


class Gate:
    """Gate of one account: its permits and breaker; implements the pool's ``Permits``.

    Args:
        link: connection to Redis.
        account: the account's name.
        connections: connections that the account may have, fleet-wide; 0 for any number.
        times: times of the gate.
        unlimited: the account's limit if it has no rates; then a rate is learned from replies that ask to slow
            down.

    Attributes:
        tempo: its mails of the last minute.
        aside: the domains that its server refuses.
    """

    def __init__(
        self,
        link: Link,
        account: str,
        *,
        connections: int = 0,
        times: GateTimes | None = None,
        unlimited: Limit | None = None,
    ) -> None:
        self._link = link
        self._account = account
        self._connections = connections
        self._times = times or GateTimes()
        self._unlimited = unlimited
        self.tempo = Tempo()
        self.aside = RefusedDomains(self._times.aside)
        self._permits: list[str] = []
        self._worker = uuid.uuid4().hex[:16]
        self._numbers = count(1)
        self._suspect = False
        self._reports: set[asyncio.Task[None]] = set()

    @property
    def retry_delay(self) -> timedelta:
        """Delay of the next attempt of a mail that found the account closed."""
        return self._times.look

    @property
    def bounded(self) -> bool:
        """True if the account's number of connections is limited."""
        return self._connections > 0

    async def take_permit(self, priority: int = 1) -> bool:
        """Take a permit; False if all are in use, or another connection is testing the account.

        If all are in use, the need is registered, and other workers see it (`count_waiting`).

        Args:
            priority: priority of the mail that waits for it, 0 the most important.

        Raises:
            AccountClosed: the breaker is open, or Redis is down.
        """
        permit = f"{self._worker}-{next(self._numbers)}"
        keys = [mail_permits(self._account), mail_account(self._account), mail_wanted(self._account)]
        times = [_ms(one) for one in (self._times.life, self._times.quiet, self._times.proof)]
        try:
            arguments = [permit, self._connections, *times, priority, self._worker, _ms(self._times.want)]
            granted, wait, trying = await self._run("take_permit", keys, arguments)
        except _LOST as error:
            raise AccountClosed(
                self._account, self._times.look, f"Redis did not grant a permit: {type(error).__name__}"
            ) from error
        if granted:
            self._permits.append(permit)
            self._suspect = self._suspect or bool(trying)
        elif wait:
            reason = "the account is closed for now; see ./run ops mail accounts"
            raise AccountClosed(self._account, self.retry_delay, reason)
        return bool(granted)

    async def count_waiting(self, priority: int | None = None) -> int:
        """Count the other workers that found no permit; with a priority, only those with a more important mail.

        The count is 0 while Redis is down, so that open connections stay in use.
        """
        below = _ANY_PRIORITY if priority is None else priority
        with contextlib.suppress(*_LOST):
            return int(await self._run("wanted", [mail_wanted(self._account)], [self._worker, below]))
        return 0

    async def return_permit(self) -> None:
        """Return a permit whose connection has ended."""
        if not self._permits:
            return
        permit = self._permits.pop()
        with contextlib.suppress(*_LOST):  # the permit expires anyway
            await self._run("keep_permits", [mail_permits(self._account)], [_ms(self._times.linger), permit])

    async def keep_permits(self) -> None:
        """Renew the permits, and let a slowed account recover, until cancelled."""
        while True:
            await asyncio.sleep(self._times.renew_every.total_seconds())
            with contextlib.suppress(*_LOST):  # retried after the next interval
                if permits := list(self._permits):
                    keys = [mail_permits(self._account)]
                    await self._run("keep_permits", keys, [_ms(self._times.life), *permits])
                pace, rate = await self._run("ease", [mail_account(self._account)], [_ms(self._times.quiet)])
                await self._set_pace(pace)
                await self._set_rate(rate)

    async def report_trouble(
        self, trouble: Trouble, reason: str, *, asked: timedelta | None = None, of_a_mail: bool = False
    ) -> timedelta | None:
        """Report trouble to the breaker; return how long the account is closed for it, or None if it stays open.

        Args:
            asked: the pause that the server named.
            of_a_mail: True if the reply was to a mail. If others went out lately, it may be about that mail only,
                so that several in a row are needed to close the account.
        """
        self._suspect = True
        pause = self._times.pauses[trouble]
        faults = 1 if asked else pause.faults
        if of_a_mail and trouble in DOUBTFUL and self.tempo.lately:
            faults = max(faults, _IN_A_ROW)
        learned = self.tempo.per_minute if self._unlimited else 0
        arguments: list[Argument] = [limit_key(self._account), trouble, faults, _ms(pause.first)]
        arguments += [_ms(pause.longest), _ms(self._times.row), reason[:_REASON_LIMIT]]
        arguments += [_ms(asked or timedelta(0)), learned]
        keys = [mail_account(self._account), _KEYS.holds, mail_permits(self._account)]
        try:
            wait, step, opened, pace, rate = await self._run("fault", keys, arguments)
            await self._set_pace(pace)
            await self._set_rate(rate)
        except _LOST:
            return self._times.look
        if opened:
            said = {} if of_a_mail else {"reason": reason}  # a reply to a mail may quote it
            emit(_ACCOUNT_CLOSED, account=self._account, trouble=trouble, step=step, seconds=wait / 1000, **said)
        return timedelta(milliseconds=wait) if wait else None

    def report_opening(self) -> None:
        """Report that a connection is open and logged in."""
        if self._suspect:
            task = background.start_once("report of an open account", self._report_working("opened"))
            self._reports.add(task)
            task.add_done_callback(self._reports.discard)

    async def report_success(self) -> None:
        """Report that a connection got as far as a mail; it costs a call of Redis only after trouble."""
        if self._suspect:
            await self._report_working("mail")

    async def _report_working(self, what: str) -> None:
        with contextlib.suppress(*_LOST):  # the account stays suspect
            closed = await self._run("worked", [mail_account(self._account)], [what])
            self._suspect = what != "mail"
            if closed:
                emit(_ACCOUNT_OPEN, account=self._account)

    async def _set_pace(self, pace: bytes) -> None:
        if pace:
            await Limits(self._link, _KEYS.tag).slow(limit_key(self._account), float(pace))

    async def _set_rate(self, rate: bytes) -> None:
        """Limit an account without limits to the learned rate; "0" removes that limit."""
        if not rate or self._unlimited is None:
            return
        count = round(float(rate))
        learned = (Rate(count, timedelta(minutes=1), max(1, count // _SECONDS)),) if count else ()
        await Limits(self._link, _KEYS.tag).define(replace(self._unlimited, rates=learned))

    async def _run(self, name: str, keys: list[str], arguments: list[Any]) -> Any:  # noqa: ANN401  a reply is whatever the script returns
        return await run_script(self._link, name, keys, arguments)


async def run_script(link: Link, name: str, keys: list[str], arguments: list[Any]) -> Any:  # noqa: ANN401  a reply is whatever the script returns
    """Run a script of this folder.

    Raises:
        RedisError, OSError, TimeoutError: the script may or may not have run.
    """
    async with asyncio.timeout(_ANSWER_SECONDS):
        return await _script(name).run(link.call, keys, arguments)


def limit_key(account: str) -> str:
    """Return the key of the engine's limit that is the account's budget."""
    return f"account:{account}"


@cache
def _script(name: str) -> Script:
    return Script(read_script(Path(__file__).parent / "scripts", name))


def _ms(duration: timedelta) -> int:
    return round(duration / timedelta(milliseconds=1))
