"""State of the mail accounts: their breakers, limits and connections in Redis. It only reads.

    open      workers send through it
    closed    its breaker is open: refused login, used-up day, repeated faults; it opens again after a while
    trying    that time has passed, and one connection tests the account
    paused    an operator paused it, until an operator resumes it
    slowed    open, at a fraction of its pace or at a learned one, because the provider asks for less

A worker defines the accounts when it starts; accounts that no worker defines any longer are not shown.
"""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from redis.asyncio import Redis

from ops.limits.budget import BucketBudget, WindowBudget, read_budget
from ops.mail.doubt import RefusalDoubt, read_doubts
from ops.shared_reads import read_together
from producers.keys import LaneKeys, mail_account, mail_permits
from producers.limits.hold import Hold
from producers.limits.limit import Limit
from producers.limits.limits import Limits, LimitState

State = Literal["open", "slowed", "closed", "trying", "paused"]

PREFIX = "account:"
TAG = "{mail}"
_KEYS = LaneKeys("mail.normal")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """State of one account at an instant.

    Attributes:
        held: the hold that stops sending, with its reason and end.
        trouble, reason: the breaker's, "" while it is closed.
        step: number of consecutive pauses of the breaker.
        pace: the usable share of its budget.
        learned: mails a minute that its provider accepts, as measured, if it has no limits; 0: any number.
        limit: its budget.
        left: the rest of each rate of the budget.
        room: number of mails that may start now; None: any number.
        running: mails being sent through it, if that is counted.
        connections: open connections of all workers.
        since: the instant at which the breaker opened, after it was closed; None: it is closed.
        doubt: the last day's refusal of many recipients at once, if there was one.
    """

    name: str
    held: Hold | None
    trouble: str
    reason: str
    step: int
    pace: float
    learned: int
    limit: Limit | None
    left: tuple[BucketBudget | WindowBudget, ...]
    room: int | None
    running: int
    connections: int
    at: datetime
    since: datetime | None = None
    doubt: RefusalDoubt | None = None

    @property
    def state(self) -> State:
        """The state in one word; see the module."""
        if self.held is not None:
            return "paused" if self.held.until is None else "closed"
        if self.step:
            return "trying"
        return "slowed" if self.pace < 1 or self.learned else "open"

    @property
    def opens_in(self) -> timedelta | None:
        """Time until it sends again; None: until an operator resumes it."""
        if self.held is None:
            return timedelta(0)
        return None if self.held.until is None else max(timedelta(0), self.held.until - self.at)


async def read_accounts(redis: Redis) -> list[AccountState]:
    """Read all accounts, in the order in which the mail lanes try them.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    limits = Limits(redis, TAG)
    found, bindings, noted = await read_together(limits.all(), limits.bindings(), read_doubts(redis))
    states = {one.key: one for one in found if one.key.startswith(PREFIX)}
    doubts = {one.name: one for one in noted if one.kind == "account"}
    order = [key for binding in bindings.values() for key in binding.keys if key in states]
    seen = await read_together(*(_seen(redis, states[key]) for key in dict.fromkeys([*order, *states])))
    return [replace(one, doubt=doubts.get(one.name)) for one in seen]


async def _seen(redis: Redis, state: LimitState) -> AccountState:
    name = state.key.removeprefix(PREFIX)
    rates = state.limit.rates if state.limit else ()
    async with redis.pipeline(transaction=False) as pipeline:  # the console may not send MULTI
        pipeline.time()
        pipeline.hgetall(mail_account(name))
        pipeline.zrange(mail_permits(name), 0, -1, withscores=True)
        for number in range(1, len(rates) + 1):
            pipeline.hget(_KEYS.buckets, f"{state.key}#{number}")
        (seconds, microseconds), breaker, permits, *texts = await pipeline.execute()
    now_ms = seconds * 1000 + microseconds / 1000
    stored = {field.decode(): value.decode(errors="replace") for field, value in breaker.items()}
    return AccountState(
        name=name,
        held=state.held,
        trouble=stored.get("trouble", ""),
        reason=stored.get("reason", ""),
        step=int(stored.get("step", 0)),
        pace=state.pace,
        learned=round(float(stored.get("rate", 0))),
        limit=state.limit,
        left=tuple(read_budget(rate, text, now_ms) for rate, text in zip(rates, texts, strict=True)),
        room=state.room,
        running=state.running,
        connections=sum(1 for _, lapses in permits if lapses > now_ms),
        at=datetime.fromtimestamp(now_ms / 1000, UTC),
        since=_moment(stored.get("since_ms", "")),
    )


def _moment(text: str) -> datetime | None:
    return datetime.fromtimestamp(int(text) / 1000, UTC) if text.isdigit() else None
