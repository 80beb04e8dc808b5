"""Replies about the account, its pace or one connection: they cost no mail anything, and people are told."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from jobs import Mail, Policy
from jobs.lanes import MAIL_NORMAL
from jobs.mail.account import Account
from jobs.mail.letter import LetterSender
from ops.jobs.operations import cancel_job
from ops.mail.accounts import AccountState, read_accounts
from ops.mail.trace import trace_mail, trace_text
from producers import Producer
from producers.keys import LaneKeys
from producers.limits.limit import LaneLimit
from producers.link import Link
from producers.receipt import Receipt
from tests.counts import count_of
from tests.notes import running
from tests.scripted_smtp import ScriptedSmtp, Talk
from tests.support import eventually
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler
from worker.mail.accounts.gate import PAUSES, GateTimes, Pause
from worker.mail.accounts.setup import AccountSize, ConfiguredAccount, limit_of, run_accounts
from worker.mail.deliver import Mailer, send_mail
from worker.mail.smtp import pool
from worker.mail.smtp.server import Server

KEYS = LaneKeys(MAIL_NORMAL)
SOON = Pause(1, timedelta(milliseconds=30), timedelta(milliseconds=30))
BRISK = GateTimes(
    linger=timedelta(milliseconds=50),
    renew_every=timedelta(milliseconds=30),
    look=timedelta(milliseconds=20),
    aside=timedelta(milliseconds=20),
    pauses=dict.fromkeys(PAUSES, SOON),
)
ACCOUNT = Account(name="main", host="127.0.0.1")


@pytest.fixture(autouse=True)
def _short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_FIRST_REST", 0.01)


@dataclass
class Refusing(ScriptedSmtp):
    """Refuses for as long as it is told to; each command by itself, so that what follows is not said.

    Attributes:
        always: by verb, what it says instead of the usual.
        only: words of a command without which it is not refused.
        session: mails that one connection takes; 0 for any number.
    """

    offers: tuple[str, ...] = ("ENHANCEDSTATUSCODES",)
    always: dict[str, str] = field(default_factory=dict)
    only: str = ""
    session: int = 0

    async def _answer(self, talk: Talk, verb: str, usual: str) -> bool:
        command = talk.commands[-1] if talk.commands else ""
        if verb == "mail" and self.session and sum(line == "." for line in talk.commands) >= self.session:
            self.replies[verb] = ["452 4.5.3 Insufficient system resources: Too many messages sent"]
        elif verb in self.always and self.only in command:
            self.replies[verb] = [self.always[verb]]
        return await super()._answer(talk, verb, usual)


@asynccontextmanager
async def delivering(
    url: str,
    server: ScriptedSmtp,
    *,
    times: GateTimes = BRISK,
    policy: Policy | None = None,
    account: Account = ACCOUNT,
) -> AsyncIterator[None]:
    link = Link(url)
    configured = ConfiguredAccount(account=account, server=Server("127.0.0.1", server.port, "off"))
    async with run_accounts(
        [configured], link, size=AccountSize(connections=3, messages=1000), times=times
    ) as accounts:
        worker = Worker(
            [handler(send_mail, kind=Mail.kind)],
            redis_url=url,
            lanes=[LaneSlots(MAIL_NORMAL, 5)],
            limits=[limit_of(account)],
            lane_limits={MAIL_NORMAL: LaneLimit(["account:main"])},
            policies={Mail.kind: policy or Policy(tries=5, first_wait=timedelta(milliseconds=5))},
            ctx={"mailer": Mailer(accounts, LetterSender("no-reply@momentus.example"))},
            handle_signals=False,
        )
        async with running(worker):
            yield
    await link.close()


def mails(count: int) -> list[Mail]:
    return [Mail(to=f"u{number}@example.com", subject="Hola", text="Buenos días") for number in range(count)]


async def seen(redis: Redis) -> AccountState:
    (one,) = await read_accounts(redis)
    return one


async def closed(redis: Redis) -> AccountState | None:
    found = await read_accounts(redis)
    return found[0] if found and found[0].trouble else None


async def none_is_charged(redis: Redis, receipts: list[Receipt]) -> bool:
    return not await redis.exists(*(f"arq:retry:{one.id}" for one in receipts))


ABOUT_THE_ACCOUNT: Mapping[str, tuple[str, str, str, str]] = {
    "Postfix": ("rcpt", "554 5.7.1 <u0@example.com>: Relay access denied", "relay", "mynetworks"),
    "Postfix for now": ("rcpt", "454 4.7.1 <u0@example.com>: Relay access denied", "relay", "mynetworks"),
    "Exim": ("rcpt", "550 relay not permitted", "relay", "dc_relay_nets"),
    "Microsoft": ("rcpt", "550 5.7.64 TenantAttribution; Relay Access Denied", "relay", "connector"),
    "a login wanted": ("mail", "530 5.7.0 Authentication required", "auth", "requires a login"),
    "an address listed": ("rcpt", "554 5.7.1 Client host [192.0.2.1] blocked using bl.example", "client", "list"),
    "a tenant blocked": (
        "dot",
        "550 5.7.705 Access denied, tenant has exceeded threshold",
        "blocked",
        "resume main",
    ),
    "a greeting refused": ("greeting", "554 mail.example ESMTP not accepting messages", "client", "machine"),
}


@pytest.mark.parametrize("name", ABOUT_THE_ACCOUNT)
async def test_a_refusal_of_the_account_closes_it_with_a_remedy_and_costs_no_mail_anything(
    name: str, valkey_url: str, producer: Producer, redis: Redis
) -> None:
    verb, reply, trouble, remedy = ABOUT_THE_ACCOUNT[name]
    async with Refusing(always={verb: reply}) as server:
        receipts = await producer.send_many(mails(6))
        async with delivering(valkey_url, server):
            await eventually(lambda: closed(redis))
            one = await seen(redis)
            assert one.trouble == trouble
            assert remedy in one.reason
            assert reply[4:40] in one.reason
            await eventually(lambda: redis.exists(*(KEYS.history(receipt.id) for receipt in receipts)))
            assert await none_is_charged(redis, receipts)
            server.always.clear()
            await eventually(lambda: len(server.mails) == 6)
    assert await count_of(redis, MAIL_NORMAL, "dead") == 0


async def test_a_relay_that_refuses_one_domain_stops_no_other_mail_and_loses_none(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Refusing(always={"rcpt": "554 5.7.1 Relay access denied"}, only="elsewhere.example") as server:
        await producer.send_many(mails(4))
        async with delivering(valkey_url, server):
            await eventually(lambda: len(server.mails) == 4)
            receipt = await producer.send(Mail(to="ana@elsewhere.example", subject="Hola", text="Hola"))
            await eventually(lambda: redis.exists(KEYS.history(receipt.id)))
            await producer.send_many(mails(4))
            await eventually(lambda: len(server.mails) == 8)
            assert await none_is_charged(redis, [receipt])
            assert b"Relay access denied" in b"".join(await redis.lrange(KEYS.history(receipt.id), 0, -1))
            server.always.clear()
            await eventually(lambda: len(server.mails) == 9)
    assert await count_of(redis, MAIL_NORMAL, "dead") == 0


async def test_many_mails_to_a_domain_that_the_relay_refuses_stop_no_other_mail(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    pauses = dict.fromkeys(PAUSES, Pause(1, timedelta(milliseconds=100), timedelta(seconds=60)))
    times = replace(BRISK, aside=timedelta(milliseconds=200), pauses=pauses)
    async with Refusing(always={"rcpt": "554 5.7.1 Relay access denied"}, only="elsewhere.example") as server:
        refused = [Mail(to=f"u{n}@elsewhere.example", subject="Hola", text="Hola") for n in range(30)]
        receipts = await producer.send_many([*refused, *mails(10)])  # 30 pauses would be over an hour
        async with delivering(valkey_url, server, times=times):
            await eventually(lambda: len(server.mails) == 10)
            await producer.send_many(mails(10))
            await eventually(lambda: len(server.mails) == 20)
            assert await none_is_charged(redis, receipts)
            server.always.clear()
            await eventually(lambda: len(server.mails) == 50)
    assert await count_of(redis, MAIL_NORMAL, "dead") == 0


@pytest.mark.parametrize(
    ("verb", "reply"),
    [
        ("mail", "450 4.7.1 Rate limit exceeded, try again in 60 seconds"),
        ("rcpt", "550 5.7.1 sending rate exceeded; Retry-After: 60"),
        ("greeting", "421 4.3.2 overloaded, retry in 1 minute"),
    ],
)
async def test_a_pause_that_the_server_names_is_the_accounts_pause(
    verb: str, reply: str, valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Refusing(always={verb: reply}) as server:
        receipts = await producer.send_many(mails(2))
        async with delivering(valkey_url, server):
            await eventually(lambda: closed(redis))
            one = await seen(redis)
            assert one.opens_in is not None
            assert timedelta(seconds=30) < one.opens_in <= timedelta(seconds=60)
            assert await none_is_charged(redis, receipts)


async def test_a_recipient_who_is_sent_too_much_waits_alone_and_uncharged(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    reply = "550 5.2.1 The user you are trying to contact is receiving mail at a rate that is too high"
    async with Refusing(always={"rcpt": reply}, only="u1@") as server:
        receipts = await producer.send_many(mails(3))
        async with delivering(valkey_url, server):
            await eventually(lambda: len(server.mails) == 2)
            await eventually(lambda: redis.exists(KEYS.history(receipts[1].id)))
            assert await none_is_charged(redis, receipts)
            assert (await seen(redis)).state == "open"
            server.always.clear()
            await eventually(lambda: len(server.mails) == 3)
    assert await count_of(redis, MAIL_NORMAL, "dead") == 0


async def test_a_server_that_takes_a_few_mails_a_session_gets_them_by_other_ones_without_a_word(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Refusing(session=2) as server:
        receipts = await producer.send_many(mails(12))
        async with delivering(valkey_url, server):
            await eventually(lambda: len(server.mails) == 12)
            await eventually(lambda: count_of(redis, MAIL_NORMAL, "done"))
        assert all(sum(line == "." for line in talk.commands) <= 2 for talk in server.connections)
        assert await none_is_charged(redis, receipts)
        assert not await redis.exists(*(KEYS.history(one.id) for one in receipts))


async def test_an_account_without_limits_learns_a_pace_when_it_is_told_to_slow_down(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Refusing() as server:
        await producer.send_many(mails(10))
        async with delivering(valkey_url, server):
            await eventually(lambda: len(server.mails) == 10)
            server.always["mail"] = "450 4.7.1 Error: too much mail from 192.0.2.1"
            await producer.send_many(mails(1))
            await eventually(lambda: closed(redis))
            server.always.clear()

            async def learned() -> bool:
                one = await seen(redis)
                return one.state == "slowed" and bool(one.limit and one.limit.rates)

            await eventually(learned)
            await eventually(lambda: len(server.mails) == 11)
            limit = (await seen(redis)).limit
    assert limit is not None
    assert re.fullmatch(r"\d+", str(limit.rates[0].count))


async def test_a_longer_reply_is_told_on_one_line(valkey_url: str, producer: Producer, redis: Redis) -> None:
    reply = "451-4.7.1 Greylisted\n451-4.7.1 Come back\n451 4.7.1 later"
    async with Refusing(always={"rcpt": reply}) as server:
        receipt = await producer.send(mails(1)[0])
        async with delivering(valkey_url, server):
            await eventually(lambda: redis.exists(KEYS.history(receipt.id)))
        text = trace_text(await trace_mail(redis, receipt.id))
    assert "451 4.7.1 Greylisted Come back later" in text
    assert "?" not in text


async def test_a_mail_that_was_cancelled_at_its_dot_can_still_be_traced(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with ScriptedSmtp(before={"dot": asyncio.Event().wait}) as server:
        receipt = await producer.send(mails(1)[0])
        async with delivering(valkey_url, server):
            await eventually(lambda: any("." in talk.commands for talk in server.connections))
            await cancel_job(redis, receipt.id)
            await eventually(lambda: count_of(redis, MAIL_NORMAL, "cancelled"), timeout=20)
        found = await trace_mail(redis, receipt.id)
    assert found.state == "cancelled"
    assert [event.outcome for event in found.journal] == ["uncertain", "cancelled"]
    assert found.account == "main"
    assert await redis.ttl(KEYS.history(receipt.id)) > 0
