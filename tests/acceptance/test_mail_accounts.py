"""Mail accounts shared by three workers: a provider's limits are kept, its refusals cost no mail anything."""

import argparse
import asyncio
import os
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import orjson
import pytest
from redis.asyncio import Redis

from jobs import Mail, Policy
from jobs.lanes import MAIL_BULK, MAIL_NORMAL, MAIL_URGENT
from jobs.mail.account import Account
from jobs.mail.letter import LetterSender
from jobs.mail.preset import PRESETS
from local.installation import worker_ready
from local.supervisor.process import Process
from local.supervisor.supervisor import Supervisor
from ops.command import CommandRefused, CommandResult, Tools
from ops.mail.accounts import pause_account, read_accounts, resume_account
from ops.mail.commands import MAIL
from producers import Producer
from producers.keys import MAIL_ROUTED, LaneKeys
from producers.limits.limit import LaneLimit, Limit, Rate
from producers.link import Link
from producers.receipt import Receipt
from tests.certificates import make_certificates
from tests.counts import count_of
from tests.notes import running
from tests.provider import TOO_FAST, TOO_MANY, Provider
from tests.scripted_smtp import ScriptedSmtp
from tests.support import eventually
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler
from worker.mail.accounts.gate import PAUSES, GateTimes, Pause, limit_key
from worker.mail.accounts.setup import AccountSize, ConfiguredAccount, limit_of, longest_idle, run_accounts
from worker.mail.deliver import Mailer, send_mail
from worker.mail.smtp import pool
from worker.mail.smtp.server import Server

pytestmark = pytest.mark.on_cluster_too

KEYS = LaneKeys(MAIL_NORMAL)
PASSWORD = "right"  # noqa: S105  made up
LANES = (MAIL_URGENT, MAIL_NORMAL, MAIL_BULK)
AN_HOUR = timedelta(hours=1)


def soon(milliseconds: int = 30) -> Pause:
    return Pause(1, timedelta(milliseconds=milliseconds), timedelta(milliseconds=milliseconds))


TIMES = GateTimes(
    linger=timedelta(milliseconds=50),
    look=timedelta(milliseconds=20),
    pauses={**PAUSES, "login": soon(), "day": soon(), "connections": soon(), "fault": Pause(3, *[AN_HOUR] * 2)},
)
BRISK = replace(TIMES, renew_every=timedelta(milliseconds=30))


@pytest.fixture(autouse=True)
def _short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_FIRST_REST", 0.01)


def account(provider: Provider, name: str = "main", *, unusable: str = "") -> ConfiguredAccount:
    user, password = ("me", PASSWORD) if provider.password else ("", "")
    server = Server("127.0.0.1", provider.port, "off", user, password)
    described = Account(name=name, preset="microsoft365", host="127.0.0.1", connections=provider.connections)
    return ConfiguredAccount(account=described, server=server, unusable=unusable)


@asynccontextmanager
async def fleet(
    url: str,
    accounts: Sequence[ConfiguredAccount],
    *,
    limits: Sequence[Limit] = (),
    workers: int = 3,
    times: GateTimes = TIMES,
    wait: timedelta = timedelta(milliseconds=5),
    connections: int = 5,
) -> AsyncIterator[None]:
    keys = [limit_key(one.account.name) for one in accounts]
    async with AsyncExitStack() as stack:
        for _ in range(workers):
            link = Link(url, KEYS.tag)
            stack.push_async_callback(link.close)
            carriers = await stack.enter_async_context(
                run_accounts(accounts, link, size=AccountSize(connections=connections, messages=100), times=times)
            )
            worker = Worker(
                [handler(send_mail, kind=Mail.kind)],
                redis_url=url,
                lanes=[LaneSlots(lane, 5) for lane in LANES],
                limits=limits or [Limit(key) for key in keys],
                lane_limits={lane: LaneLimit(keys, urgent=lane == MAIL_URGENT) for lane in LANES},
                policies={Mail.kind: Policy(tries=5, first_wait=wait)},
                ctx={"mailer": Mailer(carriers, LetterSender("no-reply@momentus.example"))},
                handle_signals=False,
            )
            await stack.enter_async_context(running(worker))
        yield


def mails(count: int) -> list[Mail]:
    return [Mail(to=f"u{number}@example.com", subject="Hola", text="Buenos días") for number in range(count)]


async def test_three_workers_together_stay_within_the_providers_limits_and_lose_nothing(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Provider(password=PASSWORD, connections=3, rate=30, window=0.5, seconds=0.01) as provider:
        second = timedelta(seconds=0.5)
        limit = Limit("account:main", (Rate.within(30, second, slack=timedelta(seconds=0.2)),), concurrency=3)
        await producer.send_many(mails(60))
        async with fleet(valkey_url, [account(provider)], limits=[limit]):
            await eventually(lambda: len(provider.mails) == 60, timeout=20)
    assert provider.limits_hit == 0
    assert provider.most_at_once <= 3
    assert provider.duplicates == 0
    assert all(provider.logins)
    assert await count_of(redis, MAIL_NORMAL, "dead") == 0


async def test_a_refused_login_is_tried_once_for_each_pause_by_the_whole_fleet(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Provider(password="changed") as provider:
        receipts = await producer.send_many(mails(20))
        async with fleet(valkey_url, [account(provider)]):
            await eventually(lambda: len(provider.logins) >= 4)
            (seen,) = await read_accounts(redis)
            steps = seen.step
            assert "password" in seen.reason
            assert len(provider.logins) - 1 <= steps <= len(provider.logins)
            assert not await redis.exists(*(f"arq:retry:{one.id}" for one in receipts))
            provider.password = PASSWORD
            await eventually(lambda: len(provider.mails) == 20)
            before = provider.logins.index(True)
    assert before <= steps + 2
    assert provider.duplicates == 0
    assert await count_of(redis, MAIL_NORMAL, "dead") == 0


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("expired", "has expired: ask the server"),
        ("untrusted", "is not signed by an authority that is trusted here"),
        ("no starttls", "does not offer STARTTLS"),
        ("refused", "refuses connections: check host and port"),
    ],
)
async def test_a_fault_of_tls_or_of_the_host_closes_the_account_in_words_and_costs_no_mail_an_attempt(
    valkey_url: str, producer: Producer, redis: Redis, tmp_path: Path, case: str, words: str
) -> None:
    certificates = make_certificates(tmp_path, expired=case == "expired")
    offers = () if case == "no starttls" else ("STARTTLS",)
    async with ScriptedSmtp(offers=offers, context=certificates.server) as smtp:
        port, ca_file = smtp.port, "" if case == "untrusted" else certificates.ca_file
        one = ConfiguredAccount(
            account=Account(name="main", host="127.0.0.1", connections=3),
            server=Server("127.0.0.1", port, "required", ca_file=ca_file),
        )
        if case == "refused":
            smtp.refuse()
        times = replace(
            TIMES, pauses={**PAUSES, "tls": Pause(1, AN_HOUR, AN_HOUR), "fault": TIMES.pauses["fault"]}
        )
        receipts = await producer.send_many(mails(20))
        async with fleet(valkey_url, [one], times=times, wait=AN_HOUR):
            await eventually(lambda: redis.hget("momentus:{mail}:account:main", "step"))
            (seen,) = await read_accounts(redis)
            assert words in seen.reason
            assert "Error" not in seen.reason
            await eventually(lambda: nothing_runs_by(redis, "main"))
        assert not await redis.exists(*(f"arq:retry:{receipt.id}" for receipt in receipts)), (
            "an attempt was charged"
        )
        reasons = [
            orjson.loads(line)["reason"]
            for receipt in receipts
            for line in await redis.lrange(KEYS.history(receipt.id), 0, -1)
        ]
        assert any(reason.startswith("main account: ") and words in reason for reason in reasons)
        assert await count_of(redis, MAIL_NORMAL, "dead") == 0


async def nothing_runs_by(redis: Redis, name: str) -> bool:
    return not any(one.running for one in await read_accounts(redis) if one.name == name)


async def test_a_log_in_that_the_server_does_not_have_is_told_with_what_it_has(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with ScriptedSmtp(offers=("AUTH GSSAPI NTLM",)) as smtp:
        server = Server("127.0.0.1", smtp.port, "off", "me", PASSWORD)
        one = ConfiguredAccount(account=Account(name="main", host="127.0.0.1", connections=3), server=server)
        times = replace(TIMES, pauses={**PAUSES, "login": Pause(1, AN_HOUR, AN_HOUR)})
        (receipt,) = await producer.send_many(mails(1))
        async with fleet(valkey_url, [one], times=times):
            await eventually(lambda: redis.hget("momentus:{mail}:account:main", "step"))
            (seen,) = await read_accounts(redis)
        assert "does not offer PLAIN or LOGIN (it offers: GSSAPI, NTLM)" in seen.reason
        assert not await redis.exists(f"arq:retry:{receipt.id}")


async def test_a_used_up_day_keeps_the_mails_and_costs_them_no_attempt(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Provider(day=12, connections=3) as provider:
        receipts = await producer.send_many(mails(30))
        async with fleet(valkey_url, [account(provider)]):
            await eventually(lambda: provider.limits_hit)
            await eventually(lambda: redis.hget("momentus:{mail}:account:main", "trouble"))
            assert provider.accepted == 12
            assert not await redis.exists(*(f"arq:retry:{one.id}" for one in receipts))
            provider.day = 0
            await eventually(lambda: len(provider.mails) == 30)
    assert provider.duplicates == 0
    assert await count_of(redis, MAIL_NORMAL, "dead") == 0


async def test_an_account_without_its_password_stands_still_alone_and_says_which_setting(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Provider() as broken, Provider() as good:
        missing = "[accounts.main] password_file: No such file"
        accounts = [account(broken, unusable=missing), account(good, "spare")]
        await producer.send_many(mails(10))
        times = replace(TIMES, pauses={**PAUSES, "login": Pause(1, AN_HOUR, AN_HOUR)})
        async with fleet(valkey_url, accounts, times=times):
            await eventually(lambda: len(good.mails) == 10)
            main, spare = await read_accounts(redis)
        assert (main.state, spare.state) == ("closed", "open")
        assert missing in main.reason
        assert broken.accepted == 0


async def test_a_refused_login_makes_the_mails_go_by_the_next_account_at_once(
    valkey_url: str, producer: Producer
) -> None:
    async with Provider(password="changed") as first, Provider() as second:
        times = replace(TIMES, pauses={**PAUSES, "login": Pause(1, AN_HOUR, AN_HOUR)})
        await producer.send_many(mails(20))
        async with fleet(valkey_url, [account(first), account(second, "spare")], times=times):
            await eventually(lambda: len(second.mails) == 20)
        assert len(first.logins) == 1
        assert second.duplicates == 0


async def test_a_mail_that_one_account_may_have_delivered_is_never_sent_by_another(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Provider(silent=5) as first, Provider() as second:
        await producer.send_many(mails(20))
        async with fleet(valkey_url, [account(first), account(second, "spare")]):
            await eventually(lambda: len(first.mails) + len(second.mails) == 20)

            async def all_done() -> bool:
                return await count_of(redis, MAIL_NORMAL, "done") == 20

            await eventually(all_done)
        assert not set(first.mails) & set(second.mails)
        assert first.duplicates == 5 == await count_of(redis, MAIL_NORMAL, "uncertain")
        assert first.accepted + second.accepted == 25


async def test_a_mail_may_name_its_account_and_waits_for_it(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Provider() as first, Provider() as second:
        async with fleet(valkey_url, [account(first), account(second, "spare")]):
            await producer.send(Mail(to="a@example.com", subject="x", text="y", account="spare"))
            await eventually(lambda: second.accepted)
            receipt = await producer.send(Mail(to="a@example.com", subject="x", text="y", account="gone"))
            await eventually(lambda: redis.hget(KEYS.parked, receipt.id))
        assert first.accepted == 0


def sends_for(one: ConfiguredAccount, *domains: str) -> ConfiguredAccount:
    return replace(one, account=replace(one.account, sender_domains=domains))


def mails_from(domain: str, count: int) -> list[Mail]:
    return [replace(mail, sender=f"tasks@{domain}") for mail in mails(count)]


async def test_a_mail_goes_by_an_account_that_may_send_for_its_sender_and_by_no_other(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Provider() as first, Provider() as second, Provider() as any_sender:
        await producer.send_many([*mails_from("one.example.com", 5), *mails_from("two.example.com", 5)])
        await producer.send_many(mails(5))  # from the worker's own sender
        accounts = [
            sends_for(account(first), "one.example.com"),
            sends_for(account(second, "second"), "two.example.com"),
            account(any_sender, "third"),
        ]
        async with fleet(valkey_url, accounts, times=BRISK):
            await eventually(lambda: first.accepted + second.accepted + any_sender.accepted == 15)
            await eventually(lambda: forgotten(redis))
    assert [senders_of(one) for one in (first, second, any_sender)] == [
        {"one.example.com"},
        {"two.example.com"},
        {"momentus.example"},
    ]
    assert await count_of(redis, MAIL_NORMAL, "dead") == 0


async def forgotten(redis: Redis) -> bool:
    return not await redis.exists(MAIL_ROUTED)


def senders_of(provider: Provider) -> set[str]:
    """The domains that the mails it took are from."""
    return {found[1] for head in provider.headers if (found := re.search(r"(?m)^From:.*@([\w.]+)", head))}


async def test_when_an_account_is_closed_its_mails_go_by_another_one_that_may_send_them(
    valkey_url: str, producer: Producer
) -> None:
    async with Provider() as stranger, Provider(password="changed") as first, Provider() as second:
        times = replace(BRISK, pauses={**PAUSES, "login": Pause(1, AN_HOUR, AN_HOUR)})
        accounts = [
            sends_for(account(stranger, "stranger"), "other.example.com"),
            sends_for(account(first), "one.example.com"),
            sends_for(account(second, "spare"), "one.example.com", "two.example.com"),
        ]
        await producer.send_many(mails_from("one.example.com", 20))
        async with fleet(valkey_url, accounts, times=times):
            await eventually(lambda: second.accepted == 20)
        assert stranger.accepted == 0
        assert second.duplicates == 0


async def test_mails_that_wait_for_an_account_are_given_to_another_one_when_people_pause_it(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    """The account that may send them gives one in an hour; the others wait for it, until it is paused."""
    async with Provider() as stranger, Provider() as first, Provider() as second:
        accounts = [
            sends_for(account(stranger, "stranger"), "other.example.com"),
            sends_for(account(first), "one.example.com"),
            sends_for(account(second, "spare"), "one.example.com"),
        ]
        slow = Rate(1, timedelta(hours=1))
        limits = [Limit("account:stranger"), Limit("account:main", (slow,)), Limit("account:spare", (slow,))]
        await pause_account(redis, "spare", reason="not yet")
        await producer.send_many(mails_from("one.example.com", 3))
        async with fleet(valkey_url, accounts, limits=limits, times=BRISK, workers=1):
            await eventually(lambda: first.accepted == 1)
            await eventually(lambda: redis.zcard(KEYS.blocked("account:main")))
            await pause_account(redis, "main", reason="new password")
            await resume_account(redis, "spare")
            await eventually(lambda: second.accepted == 1)
        assert (stranger.accepted, first.accepted) == (0, 1)


async def test_a_mail_that_one_of_them_may_have_delivered_is_not_given_to_the_other_when_that_one_is_closed(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Provider() as stranger, Provider(silent=3) as first, Provider() as second:
        accounts = [
            sends_for(account(stranger, "stranger"), "other.example.com"),
            sends_for(account(first), "one.example.com"),
            sends_for(account(second, "spare"), "one.example.com"),
        ]
        await pause_account(redis, "spare", reason="not yet")
        receipts = await producer.send_many(mails_from("one.example.com", 3))
        async with fleet(valkey_url, accounts, times=BRISK, wait=timedelta(seconds=1)):
            await eventually(lambda: len(first.dropped) == 3)
            await pause_account(redis, "main", reason="new password")
            await resume_account(redis, "spare")
            await eventually(lambda: all_wait_for(redis, "account:main", receipts))
            assert second.accepted == 0
            await resume_account(redis, "main")
            await eventually(lambda: first.duplicates == 3)
        assert (stranger.accepted, second.accepted) == (0, 0)


async def all_wait_for(redis: Redis, limit: str, receipts: Sequence[Receipt]) -> bool:
    """They are bound to it for good: found, by another account, to be for this one alone."""
    waiting = {member.decode().partition(" ")[2] for member in await redis.zrange(KEYS.blocked(limit), 0, -1)}
    return waiting == {one.id for one in receipts} and await forgotten(redis)


async def test_a_mail_for_whose_sender_no_account_may_send_is_dead_and_says_which_setting(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Provider() as first, Provider() as second:
        accounts = [sends_for(account(first), "one.example.com"), account(second, "spare")]
        alone = sends_for(account(second, "spare"), "two.example.com")
        (named,) = await producer.send_many([replace(mails_from("two.example.com", 1)[0], account="main")])
        async with fleet(valkey_url, accounts):
            assert await death_of(named.id, redis) == (
                "main: is the only account for this mail, and may not send for two.example.com; "
                "if it may, add the domain to sender_domains of [accounts.main]"
            )
        (stray,) = await producer.send_many(mails_from("three.example.com", 1))
        async with fleet(valkey_url, [accounts[0], alone]):
            assert await death_of(stray.id, redis) == (
                "no account may send for three.example.com; add it to sender_domains of one that may, "
                "in MOMENTUS_MAIL__ACCOUNTS"
            )
        assert first.accepted == second.accepted == 0


async def death_of(job_id: str, redis: Redis) -> str:
    await eventually(lambda: redis.zscore(KEYS.dead, job_id))
    (*_, last) = await redis.lrange(KEYS.history(job_id), 0, -1)
    assert orjson.loads(last)["outcome"] == "dead"
    return str(orjson.loads(last)["reason"])


async def test_a_paused_account_sends_nothing_until_people_resume_it(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Provider() as provider:
        await pause_account(redis, "main", reason="new password")
        await producer.send_many(mails(3))
        async with fleet(valkey_url, [account(provider)]):
            (seen,) = await eventually(lambda: read_accounts(redis))
            assert (seen.state, seen.opens_in) == ("paused", None)
            assert provider.accepted == 0
            assert await resume_account(redis, "main")
            await eventually(lambda: provider.accepted == 3)
            assert not await resume_account(redis, "main")


async def test_people_open_a_closed_account_at_once(valkey_url: str, producer: Producer, redis: Redis) -> None:
    async with Provider(password="changed") as provider:
        times = replace(TIMES, pauses={**PAUSES, "login": Pause(1, AN_HOUR, AN_HOUR)})
        await producer.send_many(mails(3))
        async with fleet(valkey_url, [account(provider)], times=times, workers=1):
            await eventually(lambda: redis.hget("momentus:{mail}:account:main", "step"))
            provider.password = PASSWORD
            assert await resume_account(redis, "main")
            await eventually(lambda: provider.accepted == 3)
        assert provider.logins[0:1] == [False]
        assert all(provider.logins[1:])


async def test_an_urgent_mail_goes_before_bulk_by_a_bounded_account(valkey_url: str, producer: Producer) -> None:
    """By three workers that share one connection: at most the mail in hand goes before it."""
    async with Provider(connections=1, seconds=0.02) as provider:
        bulk = [Mail(to=f"b{number}@example.com", subject="x", text="y", urgency="bulk") for number in range(200)]
        limit = Limit("account:main", concurrency=1)
        await producer.send_many(bulk)
        async with fleet(valkey_url, [account(provider)], limits=[limit]):
            await eventually(lambda: provider.accepted >= 5)
            for number in range(4):
                to = f"urgent{number}@example.com"
                await producer.send(Mail(to=to, subject="x", text="y", urgency="urgent"))
                before = provider.accepted
                await eventually(lambda to=to: provider.recipients[to])
                assert [*provider.recipients].index(to) - before <= 1
        assert provider.most_at_once == 1
        assert provider.limits_hit == 0


async def test_no_lane_starves_while_the_others_want_all_of_a_workers_connections(
    valkey_url: str, producer: Producer
) -> None:
    async with Provider(seconds=0.01) as provider:
        floods = [
            Mail(to=f"{urgency}-{number}@example.com", subject="x", text="y", urgency=urgency)
            for number in range(60)
            for urgency in ("urgent", "normal", "bulk")
        ]
        await producer.send_many(floods)
        one = account(provider)
        free = replace(one, account=replace(one.account, connections=0))
        async with fleet(valkey_url, [free], workers=1, connections=3):
            await eventually(lambda: len(provider.mails) >= 120)
            all_wait = [*provider.recipients][30:120]  # at the start not every lane has been claimed from
        shares = Counter(to.partition("-")[0] for to in all_wait)
        assert min(shares.values()) >= 20, shares
        assert provider.duplicates == 0


async def test_at_a_providers_pace_an_account_logs_in_once_and_not_for_each_mail(
    valkey_url: str, producer: Producer
) -> None:
    """At half of the real pause between two mails."""
    described = Account(name="main", preset="microsoft365", host="127.0.0.1", per_minute=30, connections=3)
    async with Provider(password=PASSWORD) as provider:
        one = replace(account(provider), account=described)
        await producer.send_many(mails(3))
        limit = Limit("account:main", (Rate(1, timedelta(seconds=1.1)),), concurrency=3)
        async with fleet(valkey_url, [one], limits=[limit], workers=1):
            await eventually(lambda: len(provider.mails) == 3)
        assert provider.logins == [True]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_connection_is_kept_for_longer_than_the_pause_between_two_mails_of_its_account(preset: str) -> None:
    names = ("per_second", "per_minute", "connections")
    described = Account(name="main", **{one: getattr(PRESETS[preset], one) for one in names})
    seconds = max(60 / (described.per_minute or 600), 1 / (described.per_second or 600))
    assert 30 <= longest_idle(described) < 300
    assert longest_idle(described) > seconds * max(1, described.connections)


async def ask(redis: Redis, *words: str) -> CommandResult:
    """What `ops mail` answers."""
    command = next(one for one in MAIL.commands if one.word == words[0])
    parser = argparse.ArgumentParser()
    command.arguments(parser)
    return await command.act(Tools(redis=redis, redis_url=""), parser.parse_args(words[1:]))


async def test_people_and_scripts_are_told_of_accounts_times_and_single_mails(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    assert not (await ask(redis, "accounts")).done
    async with Provider(seconds=0.01) as provider:
        limit = Limit("account:main", (Rate.within(10, timedelta(hours=1)),), concurrency=3)
        receipts = await producer.send_many(mails(30))
        async with fleet(valkey_url, [account(provider)], limits=[limit], workers=1):
            await eventually(lambda: provider.accepted)
            accounts = await ask(redis, "accounts")
            assert "10/h, 3 at once" in accounts.text
            assert accounts.facts["accounts"][0]["state"] == "open"
            eta = await ask(redis, "eta", "--lane", MAIL_NORMAL)
            assert eta.done
            assert 2.5 * 3600 < eta.facts["eta"][0]["takes"] < 3.2 * 3600
            assert (await ask(redis, "pause", "main", "--reason", "rotation")).done
            assert "rotation" in (await ask(redis, "accounts")).text
            assert not (await ask(redis, "eta", "--lane", MAIL_NORMAL)).done
            assert (await ask(redis, "resume", "main")).done
            with pytest.raises(CommandRefused, match="defined: main"):
                await ask(redis, "pause", "mian")
    assert "queued" in (await ask(redis, "trace", receipts[-1].id)).text
    assert not (await ask(redis, "trace", "{mail}nothing")).done
    assert (await ask(redis, "uncertain")).facts["total"] == 0
    assert not (await ask(redis, "resolve", receipts[-1].id, "accepted")).done


async def test_all_of_a_day_goes_at_once_but_for_the_urgent_share_and_people_are_told_when_the_rest_will(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Provider() as provider:
        configured = account(provider)
        limit = limit_of(replace(configured.account, per_day=50))
        await producer.send_many(mails(52))
        async with fleet(valkey_url, [configured], limits=[limit]):
            await eventually(lambda: provider.accepted == 40)
            (eta,) = (await ask(redis, "eta", "--lane", MAIL_NORMAL)).facts["eta"]
            assert eta["mails"] == 12
            assert 24 * 3600 <= eta["takes"] <= 24.6 * 3600
            accounts = await ask(redis, "accounts")
            assert "50/day" in accounts.text
            assert accounts.facts["accounts"][0]["tokens"] == [10]
            await producer.send_many([replace(mail, urgency="urgent") for mail in mails(11)])
            await eventually(lambda: provider.accepted == 50)
            await eventually(lambda: nothing_runs(redis))
            assert (await ask(redis, "accounts")).facts["accounts"][0]["room"] == 0


async def nothing_runs(redis: Redis) -> bool:
    (seen,) = await read_accounts(redis)
    return seen.running == 0 and seen.room == 0


# The same with processes, the real preset and real minutes


def worker_process(url: str, folder: Path, name: str) -> Process:
    return Process(
        name=name,
        argv=[sys.executable, "-m", "worker"],
        environment={
            "MOMENTUS_REDIS_URL": url,
            "MOMENTUS_MAIL__ACCOUNTS": str(folder / "accounts.toml"),
            "MOMENTUS_LOG_LEVEL": "error",
        },
        ready=worker_ready(url),
        drain=timedelta(seconds=20),
    )


def write_accounts(folder: Path, provider: Provider) -> None:
    secret = folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    (folder / "accounts.toml").write_text(
        f"""
        [accounts.main]
        preset = "microsoft365"
        host = "127.0.0.1"
        port = {provider.port}
        tls = "off"
        username = "me"
        password_file = "{secret}"
        """
    )


async def run_ops(url: str, *words: str) -> int:
    ops = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ops", "mail", *words),
        env={**os.environ, "MOMENTUS_REDIS_URL": url},
        stdout=asyncio.subprocess.DEVNULL,
    )
    return await ops.wait()


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_a_microsoft_365_mailbox_is_never_overrun_by_three_worker_processes(
    valkey_url: str, producer: Producer, redis: Redis, tmp_path: Path
) -> None:
    async with Provider(password="changed", connections=3, rate=30, window=60, day=40, seconds=1) as provider:
        write_accounts(tmp_path, provider)
        processes = [worker_process(valkey_url, tmp_path, f"worker{number}") for number in range(3)]
        await producer.send_many(mails(50))
        async with Supervisor(processes):
            await eventually(lambda: redis.hget("momentus:{mail}:account:main", "step"), timeout=30)
            provider.password = PASSWORD
            await eventually(lambda: provider.accepted == 40, timeout=300)
            assert provider.logins.count(False) == 1
            assert provider.limits_hit == 0
            await eventually(lambda: provider.limits_hit, timeout=60)
            provider.day = 0
            assert await run_ops(valkey_url, "resume", "main") == 0
            await eventually(lambda: len(provider.mails) == 50, timeout=120)
    assert provider.refusals[TOO_MANY] == provider.refusals[TOO_FAST] == 0
    assert provider.logins.count(True) <= 12, "three workers, and the pauses in between; not one for each mail"
    assert provider.most_at_once <= 3
    assert provider.duplicates == 0
    assert await count_of(redis, MAIL_NORMAL, "dead") == 0
