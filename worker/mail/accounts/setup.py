"""Setup of the configured accounts at a worker's start, and their shutdown at its end.

Each account gets a pool of connections, a gate that all workers share, and a budget, which is the engine's limit
of its name. An account whose secret cannot be read gets all of them too, so that operators see it held, with a
message that names the setting.
"""

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
"""Seconds for which an idle connection is kept; servers wait for the next command for at least 300 (RFC 5321,
4.5.3.2.7)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredAccount:
    """Configured account and its server.

    Attributes:
        account: the account as the file describes it.
        server: the mail server with credentials.
        unusable: reason why the account cannot be used, naming the setting; "" if it can.
    """

    account: Account
    server: Server
    unusable: str = ""


@dataclass(frozen=True, slots=True)
class AccountConfiguration:
    """Configuration of all accounts, in the order in which they are tried, and of the streams."""

    configured: Sequence[ConfiguredAccount]
    streams: Mapping[str, Stream]

    @classmethod
    def of_one(cls, server: Server) -> "AccountConfiguration":
        """Return the configuration with one account, without limits of its own."""
        account = Account(name="default", host=server.host, port=server.port, tls=server.tls)
        return cls([ConfiguredAccount(account=account, server=server)], STREAMS)


def read_configuration(
    path: Path, link: Link, *, here_only: bool, read_secret: Callable[[Path], str], ehlo_name: str = ""
) -> AccountConfiguration:
    """Read an accounts file. An account whose secret cannot be read is unusable; the others are not affected.

    Args:
        link: connection to Redis, where bearer tokens are shared.
        here_only: refuse accounts on other machines.
        ehlo_name: name in EHLO for accounts without their own.
        read_secret: reads a file that holds a secret; raises OSError or ValueError.

    Raises:
        OSError, ValueError: the file cannot be read, or is wrong.
    """
    file = read_accounts(path.read_text(encoding="utf-8"), read_duration)
    for one in file.accounts:
        if here_only and not is_loopback(one.host):
            raise ValueError(
                f"[accounts.{one.name}] host: is another machine ({one.host}), but MOMENTUS_MAIL__MODE keeps mail "
                "on this one; set MOMENTUS_MAIL__MODE or a host on this machine"
            )
    accounts = [replace(one, ehlo_name=one.ehlo_name or ehlo_name) for one in file.accounts]
    return AccountConfiguration([_configure(one, link, read_secret) for one in accounts], file.streams)


def _configure(account: Account, link: Link, read_secret: Callable[[Path], str]) -> ConfiguredAccount:
    described = Server(
        account.host,
        account.port,
        account.tls,
        account.username,
        ca_file=account.ca_file,
        ehlo_name=account.ehlo_name,
    )
    try:
        secret = _read_secret(account, read_secret)
        tokens = _make_tokens(account, secret, link)
    except (OSError, ValueError, ImportError) as error:
        return ConfiguredAccount(account=account, server=described, unusable=f"[accounts.{account.name}] {error}")
    return ConfiguredAccount(
        account=account, server=replace(described, password="" if tokens else secret, tokens=tokens)
    )


def _read_secret(account: Account, read_secret: Callable[[Path], str]) -> str:
    if not account.password_file:
        if account.username:
            raise ValueError(
                "password_file: is not set, and the account has a username; set it to the secret's file"
            )
        return ""
    try:
        return read_secret(Path(account.password_file).expanduser())
    except (OSError, ValueError) as error:
        raise ValueError(f"password_file: {error}") from None


def _make_tokens(account: Account, secret: str, link: Link) -> Tokens | None:
    """Return the source of the account's bearer tokens, or None if it uses none.

    Raises:
        ImportError: the provider's library is not installed; it is an extra.
        ValueError: the secret is not a key of the provider.
    """
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
    """Size of a worker's part of an account without limits of its own.

    Attributes:
        connections: connections of this worker.
        messages: mails per connection.
        weights: weights of the urgent, the normal and the bulk lane, by which they share the connections.
    """

    connections: int
    messages: int
    weights: Sequence[int] = (1, 1, 1)


@asynccontextmanager
async def run_accounts(
    configured: Iterable[ConfiguredAccount], link: Link, *, size: AccountSize, times: GateTimes | None = None
) -> AsyncIterator[Accounts]:
    """Run the accounts while the block lasts.

    Args:
        configured: the accounts, in the order in which they are tried.
        size: this worker's part of accounts without limits.
        times: times of the gates.
    """
    entries = list(configured)
    gates = [_make_gate(one.account, link, times) for one in entries]
    senders = [_make_sender(one, gate, link, size) for one, gate in zip(entries, gates, strict=True)]
    keeping = [
        background.start_task(f"permits of {one.account.name}", gate.keep_permits)
        for one, gate in zip(entries, gates, strict=True)
    ]
    if any(one.account.sender_domains for one in entries):
        every = (times or GateTimes()).renew_every
        keeping.append(background.start_task("rerouting", partial(keep_rerouting, link, every)))
    try:
        yield Accounts(senders, {one.account.name: one.account.sender_domains for one in entries})
    finally:
        for sender in senders:
            await sender.pool.close()
        await background.stop_tasks(*keeping)


def limit_of(account: Account) -> Limit:
    """Return the account's budget as the engine's limit.

    The provider counts mails on arrival, and some mails take longer than others; so the windows of a minute and of
    a day are a little longer here. The mails of a second or a minute are spread over it; those of a day may all go
    at once. The day comes first because Redis identifies a rate by its position: adding a pace to an account with
    a daily quota must not reset the quota.
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
    """Return the seconds for which an idle connection is kept; longer if the account's pace is slow.

    At that pace each of n connections carries every n-th mail, at irregular times; so it is twice the mean
    interval.

    >>> [longest_idle(Account(name="a", per_minute=count)) for count in (0, 30, 2)]
    [30.0, 30.0, 60.0]
    """
    pauses = [seconds / count for seconds, count in ((1, account.per_second), (60, account.per_minute)) if count]
    between = max(pauses, default=0) * max(1, account.connections)
    return min(_LONGEST_IDLE, max(_IDLE, 2 * between))


def _make_gate(account: Account, link: Link, times: GateTimes | None) -> Gate:
    limit = limit_of(account)
    unlimited = None if limit.rates else limit
    return Gate(link, account.name, connections=account.connections, times=times, unlimited=unlimited)


def _make_sender(one: ConfiguredAccount, gate: Gate, link: Link, size: AccountSize) -> AccountSender:
    account = one.account

    def failed(failure: MailRefused | ConnectionBroken) -> None:
        sender.report_opening_failure(failure)

    connections = account.connections or size.connections
    pool = SMTPPool(
        one.server,
        connections=connections,
        messages=account.messages or size.messages,
        reserve=account.connections * account.urgent_share // _PERCENT,  # none without a limit: urgent goes first
        permits=gate,
        on_failure=failed,
        on_open=gate.report_opening,
        longest_idle=longest_idle(account),
        weights=size.weights,
    )
    sender = AccountSender(
        account.name,
        pool,
        provider=account.preset,
        gate=gate,
        link=link,
        idempotency_header=account.idempotency_header,
        unusable=one.unusable,
    )
    return sender
