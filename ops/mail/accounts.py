"""`ops mail accounts`, `pause`, `resume`: the state of the mail accounts, and operators' pauses of them.

    open      workers send through it
    closed    its breaker is open: refused login, used-up day, repeated faults; it opens again after a while
    trying    that time is over, and one connection tests the account
    paused    an operator paused it, until an operator resumes it
    slowed    open, at a part of its pace or at a learned one, because the provider args for less

A worker defines the accounts when it starts; accounts that no worker defines any longer are not shown.
"""

import argparse
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from redis.asyncio import Redis

from ops.arguments import add_reason
from ops.command import Command, CommandRefused, CommandResult, Tools
from ops.language import Language
from ops.mail.budget import BucketBudget, WindowBudget, read_budget
from ops.mail.doubt import RefusalDoubt, doubt_text, read_doubts
from ops.mail.words import ACCOUNT_HEADS, ACCOUNTS
from ops.table import printable, table
from producers.keys import LaneKeys, mail_account, mail_permits
from producers.limits.hold import Hold
from producers.limits.limit import Limit
from producers.limits.limits import Limits, LimitState

State = Literal["open", "slowed", "closed", "trying", "paused"]

PREFIX = "account:"
_TAG = "{mail}"
_WINDOWS = (("day", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1)))
_KEYS = LaneKeys("mail.normal")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """State of one account at an instant.

    Attributes:
        held: the hold that stops sending, with its reason and end.
        trouble, reason: the breaker's, "" while it is closed.
        step: number of consecutive pauses of the breaker.
        pace: the usable part of its budget.
        learned: mails a minute that its provider accepts, as measured, if it has no limits; 0: any number.
        limit: its budget.
        left: the rest of each rate of the budget.
        room: number of mails that may start now; None: any number.
        running: mails being sent through it, if that is counted.
        connections: open connections of all workers.
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
    limits = Limits(redis, _TAG)
    states = {one.key: one for one in await limits.all() if one.key.startswith(PREFIX)}
    bindings = await limits.bindings()
    doubts = {one.name: one for one in await read_doubts(redis) if one.kind == "account"}
    order = [key for binding in bindings.values() for key in binding.keys if key in states]
    seen = [await _seen(redis, states[key]) for key in dict.fromkeys([*order, *states])]
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
    )


async def pause_account(redis: Redis, name: str, *, reason: str) -> bool:
    """Pause an account until it is resumed; return False if it already had this pause.

    Raises:
        RedisError, OSError: Redis did not answer; a second call is harmless.
    """
    return await Limits(redis, _TAG).hold(PREFIX + name, None, reason)


async def resume_account(redis: Redis, name: str) -> bool:
    """Resume an account, whether a hold or its breaker stopped it; return False if neither did.

    Raises:
        RedisError, OSError: Redis did not answer; a second call is harmless.
    """
    breaker = ("step", "until_ms", "trouble", "reason", "faults", "fault_ms")
    stopped = int(await redis.hdel(mail_account(name), *breaker))  # type: ignore[misc]  # typed for both clients
    return await Limits(redis, _TAG).release(PREFIX + name) or stopped > 0


# The commands


async def _accounts(tools: Tools, _args: argparse.Namespace) -> CommandResult:
    found, words = await read_accounts(tools.redis), ACCOUNTS[tools.language]
    if not found:
        return CommandResult(words["none"], {"accounts": []}, done=False)
    rows = [
        [
            one.name,
            one.state,
            words["any"] if one.room is None else str(one.room),
            _rates(one, words),
            str(one.connections),
            f"{one.pace:.0%}",
            printable(_why(one, tools.language)),
        ]
        for one in found
    ]
    heads = ACCOUNT_HEADS[tools.language]
    return CommandResult(table(heads, rows, left={0, 1, 3, 6}), {"accounts": [_facts(one) for one in found]})


def _rates(one: AccountState, words: Mapping[str, str]) -> str:
    if one.limit is None or not (one.limit.rates or one.limit.concurrency):
        return words["any"]
    units = [_unit(rate.per) for rate in one.limit.rates]
    rates = [f"{rate.most}/{words.get(unit, unit)}" for rate, unit in zip(one.limit.rates, units, strict=True)]
    at_once = [words["at_once"].format(count=one.limit.concurrency)] if one.limit.concurrency else []
    return ", ".join(rates + at_once)


def _unit(per: timedelta) -> str:
    """Return the unit of a window, ignoring the few seconds by which it is longer."""
    return next((word for word, length in _WINDOWS if per >= length), "s")


def _why(one: AccountState, language: Language) -> str:
    if one.held is not None:
        words, until = ACCOUNTS[language], one.held.until
        if until is None:
            return words["until_resumed"].format(reason=one.held.reason)
        return words["until"].format(until=f"{until:%H:%M:%S}", reason=one.held.reason)
    return one.reason or (doubt_text(one.doubt, language) if one.doubt else "")


def _facts(one: AccountState) -> dict[str, Any]:
    facts = asdict(one)
    del facts["left"]
    limit = None if one.limit is None else one.limit.to_json().decode()
    return {**facts, "limit": limit, "tokens": [left.tokens for left in one.left], "state": one.state}


async def _pause(tools: Tools, args: argparse.Namespace) -> CommandResult:
    await _known(tools.redis, args.account)
    done = await pause_account(tools.redis, args.account, reason=args.reason or "paused")
    text = ACCOUNTS[tools.language]["paused" if done else "unchanged"].format(account=args.account)
    return CommandResult(text, {"account": args.account, "what": "paused" if done else "unchanged"}, done=done)


async def _resume(tools: Tools, args: argparse.Namespace) -> CommandResult:
    await _known(tools.redis, args.account)
    done = await resume_account(tools.redis, args.account)
    text = ACCOUNTS[tools.language]["resumed" if done else "not_paused"].format(account=args.account)
    return CommandResult(text, {"account": args.account, "what": "resumed" if done else "unchanged"}, done=done)


async def _known(redis: Redis, name: str) -> None:
    names = [one.name for one in await read_accounts(redis)]
    if name not in names:
        raise CommandRefused(f"ACCOUNT: no account is called {name!r}; defined are: {', '.join(names) or 'none'}")


def _add_nothing(_parser: argparse.ArgumentParser) -> None:
    """Add no arguments: the command shows all accounts."""


def _add_account(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("account", metavar="ACCOUNT", help="its name, as ./run ops mail accounts shows it")


def _add_reason(parser: argparse.ArgumentParser) -> None:
    _add_account(parser)
    add_reason(parser)


COMMANDS = (
    Command(
        "accounts",
        "list the mail accounts: state, reason, and the rest of their limits",
        "mail accounts",
        _add_nothing,
        _accounts,
    ),
    Command(
        "pause",
        "stop sending through an account until it is resumed",
        "mail pause main --reason 'new password'",
        _add_reason,
        _pause,
    ),
    Command("resume", "resume a paused or closed account at once", "mail resume main", _add_account, _resume),
)
