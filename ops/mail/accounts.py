"""`ops mail accounts`, `pause`, `resume`: the state of the mail accounts, and operators' pauses of them."""

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from redis.asyncio import Redis

from ops.arguments import add_reason
from ops.command import Command, CommandRefused, CommandResult, Tools
from ops.language import Language
from ops.mail.account_state import (
    PREFIX,
    TAG,
    AccountState as AccountState,
    State as State,
    read_accounts as read_accounts,
)
from ops.mail.doubt import doubt_text
from ops.mail.words import ACCOUNT_HEADS, ACCOUNTS
from ops.table import printable, table
from producers.keys import mail_account
from producers.limits.limits import Limits

_WINDOWS = (("day", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1)))


async def pause_account(redis: Redis, name: str, *, reason: str) -> bool:
    """Pause an account until it is resumed; return False if it already had this pause.

    Raises:
        RedisError, OSError: Redis did not answer; a second call is harmless.
    """
    return await Limits(redis, TAG).hold(PREFIX + name, None, reason)


async def resume_account(redis: Redis, name: str) -> bool:
    """Resume an account, whether a hold or its breaker stopped it; return False if neither did.

    Raises:
        RedisError, OSError: Redis did not answer; a second call is harmless.
    """
    breaker = ("step", "until_ms", "trouble", "reason", "since_ms", "faults", "fault_ms")
    stopped = int(await redis.hdel(mail_account(name), *breaker))  # type: ignore[misc]  # typed for both clients
    return await Limits(redis, TAG).release(PREFIX + name) or stopped > 0


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
        raise CommandRefused(f"ACCOUNT: no account is called {name!r}; defined: {', '.join(names) or 'none'}")


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
