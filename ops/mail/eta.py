"""`ops mail eta`: when the mails that wait now will be gone, from the accounts' budgets. The decision is pure.

A batch is as slow as what the providers allow: 5,000 mails at 30 a minute take 2 h 47 min whatever the worker
does. So the answer comes from the budgets (what is left of each rate, and what flows in), and where there are none
from the pace of the last minute.

What it refuses to do: guess. With an account that only people can open again there is no time, and with neither
a budget nor a pace there is none either. It reckons that nothing else comes in before, and that nobody is refused.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from redis.asyncio import Redis

from jobs.lanes import MAIL_LANES
from ops.command import Command, CommandResult, Tools
from ops.depth.read import Depth, read_depth
from ops.durations import duration_text
from ops.mail.accounts import AccountState, read_accounts
from ops.mail.budget import BucketBudget, WindowBudget

_LONGEST = timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What one account gives.

    Attributes:
        rates: each of them bounds it; none: without bounds.
        pace: the share that counts, after a throttle.
        reserve: the share that is left to others.
        opens_in: until it gives anything; None: when people say so.
    """

    rates: Sequence[BucketBudget | WindowBudget] = ()
    pace: float = 1.0
    reserve: float = 0.0
    opens_in: timedelta | None = timedelta(0)

    def within(self, time: timedelta) -> float:
        """How many mails it lets through in a time from now."""
        if self.opens_in is None or time < self.opens_in:
            return 0
        given = (one.within(time, pace=self.pace, reserve=self.reserve) for one in self.rates)
        return min(given, default=math.inf)


def time_to_send(mails: int, budgets: Sequence[Budget], *, pace_per_minute: float = 0.0) -> timedelta | None:
    """How long so many mails take; None when nobody can say.

    Args:
        budgets: of the accounts that share the work.
        pace_per_minute: how many went out in the last minute; it counts where no budget does.

    Example:
        >>> minute = Budget(rates=[BucketBudget(rate=Rate(30, timedelta(minutes=1)), tokens=0)])
        >>> time_to_send(5000, [minute])
        datetime.timedelta(seconds=10000)
    """
    if mails <= 0:
        return timedelta(0)
    unbounded = [one.opens_in for one in budgets if not one.rates and one.opens_in is not None]
    if unbounded or not budgets:
        if pace_per_minute <= 0:
            return None
        return min(unbounded, default=timedelta(0)) + timedelta(minutes=mails / pace_per_minute)
    return _first_time(mails, budgets)


def _first_time(mails: int, budgets: Sequence[Budget]) -> timedelta | None:
    """The shortest time, to the second: what is let through never shrinks as time goes on."""

    def enough(seconds: int) -> bool:
        return sum(one.within(timedelta(seconds=seconds)) for one in budgets) >= mails - 1e-6

    lowest, highest = 0, round(_LONGEST.total_seconds())
    if not enough(highest):
        return None
    while lowest < highest:
        middle = (lowest + highest) // 2
        lowest, highest = (lowest, middle) if enough(middle) else (middle + 1, highest)
    return timedelta(seconds=lowest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Eta:
    """An answer.

    Attributes:
        lane: up to and with which lane.
        mails: that go before, and these; 0 when none of these wait.
        takes: None when nobody can say.
    """

    lane: str
    mails: int
    takes: timedelta | None
    at: datetime | None


async def read_eta(redis: Redis, *, lane: str | None) -> list[Eta]:
    """One answer for each mail lane, or for one.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    depth, accounts = await read_depth(redis, tenant=""), await read_accounts(redis)
    return [_eta(depth, accounts, one) for one in MAIL_LANES if lane in {None, one}]


def _eta(depth: Depth, accounts: Sequence[AccountState], lane: str) -> Eta:
    """Lanes before it in order of urgency go first."""
    before = MAIL_LANES[: MAIL_LANES.index(lane) + 1]
    lanes = [one for one in depth.lanes if one.lane in before]
    here = next((one for one in lanes if one.lane == lane), None)
    mails = sum(one.ready + one.leased for one in lanes) if here and here.ready + here.leased else 0
    held = here.held if here else None
    if held is not None and held.until is None:
        return Eta(lane=lane, mails=mails, takes=None, at=None)
    pace = sum(one.out_per_minute for one in lanes)
    budgets = [budget_of(one, urgent=lane == MAIL_LANES[0]) for one in accounts]
    takes = time_to_send(mails, budgets, pace_per_minute=pace)
    if takes is not None and held is not None and held.until is not None:
        takes = max(takes, held.until - depth.at)
    return Eta(lane=lane, mails=mails, takes=takes, at=None if takes is None else depth.at + takes)


def budget_of(account: AccountState, *, urgent: bool) -> Budget:
    """What an account gives to a lane, from what was seen of it."""
    reserve = 0.0 if urgent or account.limit is None else account.limit.reserve
    return Budget(rates=account.left, pace=account.pace, reserve=reserve, opens_in=account.opens_in)


async def _answer(tools: Tools, asked: argparse.Namespace) -> CommandResult:
    found = await read_eta(tools.redis, lane=asked.lane)
    text = "\n".join(_words(one) for one in found)
    return CommandResult(
        text, {"eta": [_facts(one) for one in found]}, done=all(one.takes is not None for one in found)
    )


def _words(one: Eta) -> str:
    if one.mails == 0:
        return f"{one.lane}: nothing waits"
    if one.takes is None or one.at is None:
        return (
            f"{one.lane}: {one.mails} mails, and nobody can say when; see ./run ops mail accounts, ./run ops depth"
        )
    takes = duration_text(one.takes.total_seconds())
    return f"{one.lane}: {one.mails} mails are gone in {takes}, at {one.at:%Y-%m-%d %H:%M} UTC"


def _facts(one: Eta) -> dict[str, Any]:
    takes = None if one.takes is None else one.takes.total_seconds()
    return {**asdict(one), "takes": takes, "at": None if one.at is None else one.at.astimezone(UTC)}


def _takes_lane(it: argparse.ArgumentParser) -> None:
    it.add_argument("--lane", choices=MAIL_LANES, help="one lane, with those that go before it; left out, each")


COMMANDS = (
    Command("eta", "when the mails that wait now will be gone", "mail eta --lane mail.bulk", _takes_lane, _answer),
)
