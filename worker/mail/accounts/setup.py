"""From the accounts as they are configured to accounts at work, and back to nothing at the end.

Each account gets a pool of connections, a gate that all workers share, and a budget: the engine's limit of its
name. An account whose secret cannot be read gets all of it too, so that it stands still in plain sight: held,
with the message that names the setting.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import background
from durations import read_duration
from jobs.mail.account import Account, read_accounts
from jobs.mail.stream import STREAMS, Stream
from producers.limits.limit import Limit, Rate, Window
from producers.link import Link
from worker.mail.accounts.accounts import Accounts, AccountSender
from worker.mail.accounts.gate import Gate, GateTimes, limit_key
from worker.mail.accounts.routing import keep_rerouting
from worker.mail.accounts.shared_token import SharedTokens
from worker.mail.smtp.errors import ConnectionBroken, MailRefused
from worker.mail.smtp.pool import SMTPPool
from worker.mail.smtp.server import Server, is_loopback
from worker.mail.smtp.token import Tokens, TokenSource

_PERCENT = 100
_IDLE, _LONGEST_IDLE = 30.0, 240.0
"""Seconds; servers wait for the next command for at least 300 (RFC 5321, 4.5.3.2.7)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredAccount:
    """An account, where it hands in mail, and why it cannot ("" when it can)."""

    account: Account
    server: Server
    unusable: str = ""


@dataclass(frozen=True, slots=True)
class AccountConfiguration:
    """All accounts, in the order in which they are tried, and the streams."""

    configured: Sequence[ConfiguredAccount]
    streams: Mapping[str, Stream]

    @classmethod
    def of_one(cls, server: Server) -> "AccountConfiguration":
        """One account without limits of its own."""
        account = Account(name="default", host=server.host, port=server.port, tls=server.tls)
        return cls([ConfiguredAccount(account=account, server=server)], STREAMS)


def read_configuration(
    path: Path, link: Link, *, here_only: bool, read_secret: Callable[[Path], str], ehlo_name: str = ""
) -> AccountConfiguration:
    """What an accounts file says. An account whose secret cannot be read stands still by itself.

    Args:
        link: to Redis, where bearer tokens are shared.
        here_only: refuse accounts on other machines.
        ehlo_name: how the servers of accounts that name none are greeted.
        read_secret: reads a file that holds a secret; raises OSError or ValueError.

    Raises:
        OSError, ValueError: the file cannot be read, or is wrong.
    """
    file = read_accounts(path.read_text(encoding="utf-8"), read_duration)
    for one in file.accounts:
        if here_only and not is_loopback(one.host):
            raise ValueError(
                f"[accounts.{one.name}] host: is another machine, but mail is kept here; set MOMENTUS_MAIL__MODE"
            )
    accounts = [replace(one, ehlo_name=one.ehlo_name or ehlo_name) for one in file.accounts]
    return AccountConfiguration([_configured(one, link, read_secret) for one in accounts], file.streams)


def _configured(account: Account, link: Link, read_secret: Callable[[Path], str]) -> ConfiguredAccount:
    described = Server(
        account.host,
        account.port,
        account.tls,
        account.username,
        ca_file=account.ca_file,
        ehlo_name=account.ehlo_name,
    )
    try:
        secret = _secret(account, read_secret)
        tokens = _tokens(account, secret, link)
    except (OSError, ValueError, ImportError) as error:
        return ConfiguredAccount(account=account, server=described, unusable=f"[accounts.{account.name}] {error}")
    return ConfiguredAccount(
        account=account, server=replace(described, password="" if tokens else secret, tokens=tokens)
    )


def _secret(account: Account, read_secret: Callable[[Path], str]) -> str:
    if not account.password_file:
        if account.username:
            raise ValueError("password_file: is not set, and the account has a user name")
        return ""
    try:
        return read_secret(Path(account.password_file).expanduser())
    except (OSError, ValueError) as error:
        raise ValueError(f"password_file: {error}") from None


def _tokens(account: Account, secret: str, link: Link) -> Tokens | None:
    """Where its bearer tokens come from, if it logs in with such; the providers' libraries are extras."""
    source: TokenSource
    match account.auth:
        case "microsoft":
            from worker.mail.accounts.token_microsoft import MicrosoftTokens  # noqa: PLC0415  an extra

            source = MicrosoftTokens(tenant=account.tenant, client_id=account.client_id, secret=secret)
        case "google":
            from worker.mail.accounts.token_google import GoogleTokens  # noqa: PLC0415  an extra

            source = GoogleTokens(key=secret, mailbox=account.username)
        case _:
            return None
    return SharedTokens(source, link, account=account.name, secret=secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountSize:
    """How much of an account without limits of its own one worker uses.

    Attributes:
        weights: of the urgent, the normal and the bulk lane, when they share the connections.
    """

    connections: int
    messages: int
    weights: Sequence[int] = (1, 1, 1)


@asynccontextmanager
async def at_work(
    configured: Iterable[ConfiguredAccount], link: Link, *, size: AccountSize, times: GateTimes | None = None
) -> AsyncIterator[Accounts]:
    """The accounts, for as long as the block lasts.

    Args:
        configured: in the order in which they are tried.
        times: of the gates.
    """
    entries = list(configured)
    gates = [_gate(one.account, link, times) for one in entries]
    carriers = [_carrier(one, gate, link, size) for one, gate in zip(entries, gates, strict=True)]
    keeping = [
        background.start(f"permits of {one.account.name}", gate.keep)
        for one, gate in zip(entries, gates, strict=True)
    ]
    if any(one.account.sender_domains for one in entries):
        every = (times or GateTimes()).renew_every
        keeping.append(background.start("rerouting", partial(keep_rerouting, link, every)))
    try:
        yield Accounts(carriers, {one.account.name: one.account.sender_domains for one in entries})
    finally:
        for carrier in carriers:
            await carrier.pool.close()
        for task in keeping:
            task.cancel()
        await asyncio.gather(*keeping, return_exceptions=True)


def limit_of(account: Account) -> Limit:
    """The account's budget as the engine's limit.

    The provider counts what arrives, and one mail takes longer than another; so the windows of a minute and of a
    day are reckoned a little longer. What is allowed in a second or a minute is spread over it, to be no flood; a
    day's mails may all go at once. The day stands first, as Redis knows a rate by its place: who adds a pace to an
    account that has a day's quota is not to be given the day once more.
    """
    rates = [
        Rate.within(count, per, slack=slack)
        for count, per, slack in (
            (account.per_second, timedelta(seconds=1), timedelta(0)),
            (account.per_minute, timedelta(minutes=1), timedelta(seconds=3)),
        )
        if count
    ]
    day = [Window(account.per_day, timedelta(days=1, minutes=1))] if account.per_day else []
    return Limit(
        limit_key(account.name),
        (*day, *rates),
        concurrency=account.connections or None,
        reserve=account.urgent_share / _PERCENT,
    )


def longest_idle(account: Account) -> float:
    """The seconds for which a connection is kept for the next mail: a slow account's comes later.

    At its pace each connection carries every n-th mail, and not to the second.

    >>> [longest_idle(Account(name="a", per_minute=count)) for count in (0, 30, 2)]
    [30.0, 30.0, 60.0]
    """
    pauses = [seconds / count for seconds, count in ((1, account.per_second), (60, account.per_minute)) if count]
    between = max(pauses, default=0) * max(1, account.connections)
    return min(_LONGEST_IDLE, max(_IDLE, 2 * between))


def _gate(account: Account, link: Link, times: GateTimes | None) -> Gate:
    limit = limit_of(account)
    unlimited = None if limit.rates else limit
    return Gate(link, account.name, connections=account.connections, times=times, unlimited=unlimited)


def _carrier(one: ConfiguredAccount, gate: Gate, link: Link, size: AccountSize) -> AccountSender:
    account = one.account

    def failed(failure: MailRefused | ConnectionBroken) -> None:
        carrier.failed_to_open(failure)

    connections = account.connections or size.connections
    pool = SMTPPool(
        one.server,
        connections=connections,
        messages=account.messages or size.messages,
        reserve=account.connections * account.urgent_share // _PERCENT,  # none without a limit: urgent goes first
        permits=gate,
        on_failure=failed,
        on_open=gate.opened,
        longest_idle=longest_idle(account),
        weights=size.weights,
    )
    carrier = AccountSender(
        account.name,
        pool,
        provider=account.preset,
        gate=gate,
        link=link,
        idempotency_header=account.idempotency_header,
        unusable=one.unusable,
    )
    return carrier
