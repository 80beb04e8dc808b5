"""`ops mail accounts`, `pause`, `resume`: the mail accounts as the fleet sees them, and people's word on them.

    open      mails go out by it
    closed    its breaker is open: refused login, used-up day, faults in a row; it opens again by itself
    trying    the pause is over, and one connection is let through to see
    paused    people said so, until they say otherwise
    slowed    open, and at a share of its pace or at one that was learned, after the provider asked for it

A worker defines the accounts when it starts; one that nobody defines any more is not shown.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from redis.asyncio import Redis

from ops.command import Command, CommandRefused, CommandResult, Tools
from ops.lanes.hold import REASON_LIMIT
from ops.mail.budget import BucketBudget, WindowBudget, read_budget
from ops.mail.doubt import RefusalDoubt, doubt_text, read_doubts
from ops.table import printable, table
from producers.keys import LaneKeys, mail_account, mail_permits
from producers.limits import Limits, LimitState
from producers.limits.hold import Hold
from producers.limits.limit import Limit

State = Literal["open", "slowed", "closed", "trying", "paused"]

PREFIX = "account:"
_TAG = "{mail}"
_WINDOWS = (("day", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1)))
_KEYS = LaneKeys("mail.normal")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """One account at an instant.

    Attributes:
        held: why nothing goes by it, and until when.
        trouble, reason: of the breaker, "" while it is closed.
        step: how many pauses in a row.
        pace: the share of its budget that counts.
        learned: mails a minute that its provider was found to bear, if it has no limits; 0 for any number.
        limit: its budget.
        left: what is left of each rate of the budget.
        room: how many mails may begin now; None for any number.
        running: mails that are being sent by it, where that is counted.
        connections: open ones of all workers.
        doubt: that many recipients were refused at once by it, within the last day.
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
        """In one word; see the top of the file."""
        if self.held is not None:
            return "paused" if self.held.until is None else "closed"
        if self.step:
            return "trying"
        return "slowed" if self.pace < 1 or self.learned else "open"

    @property
    def opens_in(self) -> timedelta | None:
        """Until something goes by it; None: when people say so."""
        if self.held is None:
            return timedelta(0)
        return None if self.held.until is None else max(timedelta(0), self.held.until - self.at)


async def read_accounts(redis: Redis) -> list[AccountState]:
    """All of them, by the order in which the mail lanes try them.

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
    async with redis.pipeline(transaction=True) as pipeline:
        pipeline.time()
        pipeline.hgetall(mail_account(name))
        pipeline.zrange(mail_permits(name), 0, -1, withscores=True)
        for number in range(1, len(rates) + 1):
            pipeline.hget(_KEYS.buckets, f"{state.key}#{number}")
        (seconds, microseconds), breaker, permits, *texts = await pipeline.execute()
    now_ms = seconds * 1000 + microseconds / 1000
    told = {field.decode(): value.decode(errors="replace") for field, value in breaker.items()}
    return AccountState(
        name=name,
        held=state.held,
        trouble=told.get("trouble", ""),
        reason=told.get("reason", ""),
        step=int(told.get("step", 0)),
        pace=state.pace,
        learned=round(float(told.get("rate", 0))),
        limit=state.limit,
        left=tuple(read_budget(rate, text, now_ms) for rate, text in zip(rates, texts, strict=True)),
        room=state.room,
        running=state.running,
        connections=sum(1 for _, lapses in permits if lapses > now_ms),
        at=datetime.fromtimestamp(now_ms / 1000, UTC),
    )


async def pause_account(redis: Redis, name: str, *, reason: str) -> bool:
    """Let nothing go by an account until it is resumed; False when it was paused just so already.

    Raises:
        RedisError, OSError: Redis did not answer; asking again does no harm.
    """
    return await Limits(redis, _TAG).hold(PREFIX + name, None, reason)


async def resume_account(redis: Redis, name: str) -> bool:
    """Let an account go on, whoever stopped it; False when nobody had. Its breaker begins anew.

    Raises:
        RedisError, OSError: Redis did not answer; asking again does no harm.
    """
    breaker = ("step", "until_ms", "trouble", "reason", "faults", "fault_ms")
    stopped = int(await redis.hdel(mail_account(name), *breaker))  # type: ignore[misc]  # typed for both clients
    return await Limits(redis, _TAG).release(PREFIX + name) or stopped > 0


# The commands


async def _accounts(tools: Tools, _asked: argparse.Namespace) -> CommandResult:
    found = await read_accounts(tools.redis)
    if not found:
        return CommandResult(
            "No account is defined: a worker does so when it starts.", {"accounts": []}, done=False
        )
    rows = [
        [
            one.name,
            one.state,
            _number(one.room),
            *(_rates(one)),
            str(one.connections),
            f"{one.pace:.0%}",
            printable(_why(one)),
        ]
        for one in found
    ]
    heads = ("ACCOUNT", "STATE", "ROOM NOW", "ALLOWED", "CONNECTIONS", "PACE", "WHY")
    return CommandResult(table(heads, rows, left={0, 1, 3, 6}), {"accounts": [_facts(one) for one in found]})


def _rates(one: AccountState) -> Sequence[str]:
    if one.limit is None or not (one.limit.rates or one.limit.concurrency):
        return ("any",)
    rates = [f"{rate.most}/{_unit(rate.per)}" for rate in one.limit.rates]
    at_once = [f"{one.limit.concurrency} at once"] if one.limit.concurrency else []
    return (", ".join(rates + at_once),)


def _unit(per: timedelta) -> str:
    """A window, without the few seconds that it is longer."""
    return next((word for word, length in _WINDOWS if per >= length), "s")


def _why(one: AccountState) -> str:
    if one.held is not None:
        until = "until it is resumed" if one.held.until is None else f"until {one.held.until:%H:%M:%S} UTC"
        return f"{until}: {one.held.reason}"
    return one.reason or (doubt_text(one.doubt) if one.doubt else "")


def _number(room: int | None) -> str:
    return "any" if room is None else str(room)


def _facts(one: AccountState) -> dict[str, Any]:
    facts = asdict(one)
    del facts["left"]
    limit = None if one.limit is None else one.limit.to_json().decode()
    return {**facts, "limit": limit, "tokens": [left.tokens for left in one.left], "state": one.state}


async def _pause(tools: Tools, asked: argparse.Namespace) -> CommandResult:
    await _known(tools.redis, asked.account)
    done = await pause_account(tools.redis, asked.account, reason=asked.reason or "paused")
    text = (
        f"Nothing goes by {asked.account} until: ./run ops mail resume {asked.account}"
        if done
        else "It was paused."
    )
    return CommandResult(text, {"account": asked.account, "what": "paused" if done else "unchanged"}, done=done)


async def _resume(tools: Tools, asked: argparse.Namespace) -> CommandResult:
    await _known(tools.redis, asked.account)
    done = await resume_account(tools.redis, asked.account)
    text = f"{asked.account} goes on." if done else f"Nothing stopped {asked.account}."
    return CommandResult(text, {"account": asked.account, "what": "resumed" if done else "unchanged"}, done=done)


async def _known(redis: Redis, name: str) -> None:
    names = [one.name for one in await read_accounts(redis)]
    if name not in names:
        raise CommandRefused(f"ACCOUNT: there is none called {name!r}; there are: {', '.join(names) or 'none'}")


def _takes_nothing(_it: argparse.ArgumentParser) -> None:
    """It shows all."""


def _takes_account(it: argparse.ArgumentParser) -> None:
    it.add_argument("account", metavar="ACCOUNT", help="its name, as ./run ops mail accounts shows it")


def _takes_reason(it: argparse.ArgumentParser) -> None:
    _takes_account(it)
    it.add_argument("--reason", type=_reason, default="", metavar="TEXT", help="what people are told")


def _reason(text: str) -> str:
    if len(text) > REASON_LIMIT or not text.isprintable():
        raise argparse.ArgumentTypeError(f"a reason is one line of at most {REASON_LIMIT} characters")
    return text


COMMANDS = (
    Command(
        "accounts",
        "the mail accounts: open or not, why, and what is left",
        "mail accounts",
        _takes_nothing,
        _accounts,
    ),
    Command(
        "pause",
        "send nothing by an account until it is resumed",
        "mail pause main --reason 'new password'",
        _takes_reason,
        _pause,
    ),
    Command(
        "resume", "let an account go on at once, whatever stopped it", "mail resume main", _takes_account, _resume
    ),
)
