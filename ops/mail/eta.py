"""`ops mail eta`: estimate when the waiting mails will be sent, from the accounts' budgets. The decision is pure.

A batch takes as long as the providers' limits: 5,000 mails at 30 a minute take 2 h 47 min on any worker. So the
estimate comes from the budgets (the rest of each rate, and its flow), and without budgets from the pace of the
last minute.

It never guesses: it gives no time if only an operator can open the accounts again, or if there is neither a budget
nor a pace. It assumes that no other mail arrives before, and that no mail is refused.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from redis.asyncio import Redis

from jobs.lanes import MAIL_LANES
from ops.command import Command, CommandResult, Tools
from ops.depth.read import Depth, read_depth
from ops.durations import duration_text
from ops.limits.budget import LimitBudget, time_within
from ops.mail.accounts import AccountState, read_accounts
from ops.mail.words import ETA


def time_to_send(mails: int, budgets: Sequence[LimitBudget], *, pace_per_minute: float = 0.0) -> timedelta | None:
    """Return the time that this number of mails takes, or None if it is unknown.

    Args:
        budgets: the budgets of the accounts that share the work.
        pace_per_minute: mails sent in the last minute; used if no budget applies.

    Example:
        >>> minute = LimitBudget(rates=[BucketBudget(rate=Rate(30, timedelta(minutes=1)), tokens=0)])
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
    return time_within(mails, budgets)


@dataclass(frozen=True, slots=True, kw_only=True)
class Eta:
    """Estimate for one lane.

    Attributes:
        lane: the lane; lanes before it are included.
        mails: number of its mails and of those before them; 0 if none of its own wait.
        takes: the time that they take; None if unknown.
    """

    lane: str
    mails: int
    takes: timedelta | None
    at: datetime | None


async def read_eta(redis: Redis, *, lane: str | None) -> list[Eta]:
    """Read an estimate for each mail lane, or for one.

    Raises:
        RedisError, OSError: Redis did not answer.
    """
    depth, accounts = await read_depth(redis, tenant=""), await read_accounts(redis)
    return [_eta(depth, accounts, one) for one in MAIL_LANES if lane in {None, one}]


def _eta(depth: Depth, accounts: Sequence[AccountState], lane: str) -> Eta:
    """Estimate the time for one lane; more urgent lanes go first."""
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


def budget_of(account: AccountState, *, urgent: bool) -> LimitBudget:
    """Return an account's budget for a lane, from its current state."""
    reserve = 0.0 if urgent or account.limit is None else account.limit.reserve
    return LimitBudget(rates=account.left, pace=account.pace, reserve=reserve, opens_in=account.opens_in)


async def _answer(tools: Tools, args: argparse.Namespace) -> CommandResult:
    found = await read_eta(tools.redis, lane=args.lane)
    text = "\n".join(_words(one, ETA[tools.language]) for one in found)
    return CommandResult(
        text, {"eta": [_facts(one) for one in found]}, done=all(one.takes is not None for one in found)
    )


def _words(one: Eta, words: Mapping[str, str]) -> str:
    if one.mails == 0:
        return words["none"].format(lane=one.lane)
    if one.takes is None or one.at is None:
        return words["unknown"].format(lane=one.lane, mails=one.mails)
    takes = duration_text(one.takes.total_seconds())
    return words["takes"].format(lane=one.lane, mails=one.mails, takes=takes, at=f"{one.at:%Y-%m-%d %H:%M}")


def _facts(one: Eta) -> dict[str, Any]:
    takes = None if one.takes is None else one.takes.total_seconds()
    return {**asdict(one), "takes": takes, "at": None if one.at is None else one.at.astimezone(UTC)}


def _add_lane(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lane", choices=MAIL_LANES, help="one lane with those before it (default: each lane)")


COMMANDS = (
    Command(
        "eta", "estimate when the waiting mails will be sent", "mail eta --lane mail.bulk", _add_lane, _answer
    ),
)
