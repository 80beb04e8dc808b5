"""The doctor on mail accounts that are closed, paused or slowed down, and when they send again."""

from dataclasses import replace
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from producers import Producer
from producers.keys import LaneKeys, mail_account
from tests.acceptance.test_mail_accounts import AN_HOUR, PASSWORD, TIMES, account, fleet, mails
from tests.acceptance.test_mail_replies import Refusing, delivering
from tests.command_line import run_ops
from tests.doctoring import cause, depth_code, findings
from tests.provider import Provider
from tests.support import eventually
from worker.mail.accounts.gate import PAUSES, Pause
from worker.mail.smtp import pool

LONG = replace(TIMES, pauses={**PAUSES, "login": Pause(1, AN_HOUR, 4 * AN_HOUR)})


@pytest.fixture(autouse=True)
def _short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_FIRST_REST", 0.01)


async def says(code: str, severity: str | None, url: str) -> bool:
    """Whether the doctor says so; None: nothing of the kind."""
    return (await findings(REDIS_URL=url)).get(code) == severity


async def test_an_account_is_wrong_once_its_breaker_was_open_for_an_hour_and_well_when_it_sends(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Provider(password="changed") as provider:
        await producer.send_many(mails(3))
        async with fleet(valkey_url, [account(provider)], workers=1, times=LONG):
            await eventually(lambda: says("account.closed", "warning", valkey_url))
            assert await depth_code(REDIS_URL=valkey_url) == 0
            since = int(await redis.hget(mail_account("main"), "since_ms") or 0)
            await redis.hset(mail_account("main"), "since_ms", str(since - AN_HOUR // timedelta(milliseconds=1)))
            assert await says("account.closed", "wrong", valkey_url)
            told = await cause("account.closed", REDIS_URL=valkey_url)
            assert "is closed for 1 h" in told
            assert "password" in told
            assert "./run ops mail resume main" in told
            assert await depth_code(REDIS_URL=valkey_url) == 1
            provider.password = PASSWORD
            assert (await run_ops("mail", "resume", "main", REDIS_URL=valkey_url))[0] == 0
            await eventually(lambda: len(provider.mails) == 3)
            assert await says("account.closed", None, valkey_url)
            assert await depth_code(REDIS_URL=valkey_url) == 0


async def test_the_hour_counts_from_the_first_of_the_pauses_in_a_row(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Provider(password="changed") as provider:
        await producer.send_many(mails(1))
        async with fleet(valkey_url, [account(provider)], workers=1):
            await eventually(lambda: redis.hget(mail_account("main"), "since_ms"))
            first = await redis.hget(mail_account("main"), "since_ms")
            await eventually(lambda: len(provider.logins) >= 3)
            assert await redis.hget(mail_account("main"), "since_ms") == first
            provider.password = PASSWORD
            await eventually(lambda: len(provider.mails) == 1)

            async def is_open() -> bool:
                return await redis.hget(mail_account("main"), "since_ms") is None

            await eventually(is_open)


async def test_a_paused_account_is_told_with_the_reason_until_it_is_resumed(
    valkey_url: str, producer: Producer
) -> None:
    async with Provider() as provider, fleet(valkey_url, [account(provider)], workers=1):
        await eventually(lambda: says("workers.none", None, valkey_url))
        await run_ops("mail", "pause", "main", "--reason", "new password", REDIS_URL=valkey_url)
        assert await says("account.paused", "warning", valkey_url)
        assert "new password" in await cause("account.paused", REDIS_URL=valkey_url)
        await run_ops("mail", "resume", "main", REDIS_URL=valkey_url)
        assert await says("account.paused", None, valkey_url)
        await producer.send_many(mails(1))
        await eventually(lambda: len(provider.mails) == 1)


async def test_an_account_that_its_provider_slows_down_is_told_until_it_is_as_fast_as_before(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Refusing() as server, delivering(valkey_url, server):
        await producer.send_many(mails(10))
        await eventually(lambda: len(server.mails) == 10)
        assert await says("account.slowed", None, valkey_url)
        server.always["mail"] = "450 4.7.1 Error: too much mail from 192.0.2.1"
        await producer.send_many(mails(1))
        await eventually(lambda: redis.hget(mail_account("main"), "step"))
        server.always.clear()
        await eventually(lambda: len(server.mails) == 11)
        await eventually(lambda: says("account.slowed", "warning", valkey_url))
        assert "/min" in await cause("account.slowed", REDIS_URL=valkey_url)
        await redis.hdel(mail_account("main"), "rate", "top", "pace", "pace_ms")  # as when it was eased
        await redis.hdel(LaneKeys("mail.normal").limits, "slow:account:main")
        assert await says("account.slowed", None, valkey_url)
