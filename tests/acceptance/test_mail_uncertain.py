"""Mails of which nobody knows whether they were delivered: counted, listed, resent or held, and decided by people.

`Provider(silent=n)` takes n mails in and drops the line without a word, as `smtp-sink -q .` does. Workers are
killed with SIGKILL, which no handler sees.
"""

import asyncio
import random
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import orjson
import pytest
from redis.asyncio import Redis

from jobs import Mail, Policy
from jobs.lanes import MAIL_NORMAL
from jobs.mail.account import Account
from jobs.mail.letter import LetterSender
from jobs.mail.stream import STREAMS, Stream
from jobs.mail.templates import Templates
from local.installation import worker_ready
from local.supervisor.process import Backoff, Process, RestartPolicy
from local.supervisor.supervisor import Supervisor
from ops.mail.trace import trace_mail
from ops.mail.uncertain import list_uncertain, resolve_uncertain
from producers import Producer
from producers.keys import LaneKeys
from producers.limits.limit import LaneLimit, Limit
from producers.link import Link
from tests.counts import count_of
from tests.notes import running
from tests.provider import Provider
from tests.support import OwnValkey, eventually
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler
from worker.mail.accounts.setup import AccountSize, ConfiguredAccount, run_accounts
from worker.mail.deliver import Mailer, send_mail
from worker.mail.smtp.server import Server

pytestmark = pytest.mark.on_cluster_too

KEYS = LaneKeys(MAIL_NORMAL)
HOLDING: Mapping[str, Stream] = {**STREAMS, "transactional": Stream(name="transactional", uncertain="hold")}


@asynccontextmanager
async def delivering(
    url: str, provider: Provider, *, streams: Mapping[str, Stream] = STREAMS, header: str = "", grace: float = 30
) -> AsyncIterator[Worker]:
    account = Account(name="main", host="127.0.0.1", idempotency_header=header)
    link = Link(url, KEYS.tag)
    configured = ConfiguredAccount(account=account, server=Server("127.0.0.1", provider.port, "off"))
    async with run_accounts([configured], link, size=AccountSize(connections=5, messages=100)) as accounts:
        worker = Worker(
            [handler(send_mail, kind=Mail.kind)],
            redis_url=url,
            lanes=[LaneSlots(MAIL_NORMAL, 5)],
            limits=[Limit("account:main")],
            lane_limits={MAIL_NORMAL: LaneLimit(["account:main"])},
            policies={Mail.kind: Policy(tries=5, first_wait=timedelta(milliseconds=5))},
            grace=timedelta(seconds=grace),
            ctx={"mailer": Mailer(accounts, LetterSender("no-reply@momentus.example"), streams)},
            handle_signals=False,
        )
        async with running(worker):
            yield worker
    await link.close()


def mails(count: int) -> list[Mail]:
    return [Mail(to=f"u{number}@example.com", subject="Hola", text="Buenos días") for number in range(count)]


def reached(redis: Redis, event: str, count: int) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        return await count_of(redis, MAIL_NORMAL, event) == count

    return condition


async def test_each_mail_that_was_taken_in_silence_is_counted_listed_and_resent(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Provider(silent=10) as provider:
        receipts = await producer.send_many(mails(30))
        async with delivering(valkey_url, provider):
            await eventually(reached(redis, "done", 30))
        assert await count_of(redis, MAIL_NORMAL, "uncertain") == 10 == provider.duplicates
        listed, total = await list_uncertain(redis, limit=100)
        assert total == 10
        assert {one.state for one in listed} == {"accepted"}
        ids = {one.id.replace("{", "").replace("}", "") for one in listed}
        assert {message_id.strip("<>").partition("@")[0] for message_id in provider.dropped} == ids
        assert {one.id for one in listed} <= {one.id for one in receipts}


async def test_a_stream_that_holds_never_sends_a_second_copy(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Provider(silent=10) as provider:
        await producer.send_many(mails(30))
        async with delivering(valkey_url, provider, streams=HOLDING):
            await eventually(reached(redis, "done", 20))
            await eventually(reached(redis, "uncertain", 10))
        assert provider.duplicates == 0
        assert await redis.hlen(KEYS.parked) == 10


async def test_people_decide_about_a_held_mail_once(valkey_url: str, producer: Producer, redis: Redis) -> None:
    async with Provider(silent=2) as provider:
        one, two = [receipt.id for receipt in await producer.send_many(mails(2))]
        async with delivering(valkey_url, provider, streams=HOLDING):
            await eventually(reached(redis, "uncertain", 2))
            assert (await trace_mail(redis, one)).state == "uncertain"
            assert await resolve_uncertain(redis, one, "accepted", by="ana") == MAIL_NORMAL
            assert await resolve_uncertain(redis, two, "resend", by="ana") == MAIL_NORMAL
            await eventually(reached(redis, "done", 2))
            assert await resolve_uncertain(redis, one, "resend", by="ana") == ""
    assert provider.accepted == 3
    assert await redis.zcard(KEYS.queue) == 0
    first, second = await trace_mail(redis, one), await trace_mail(redis, two)
    assert (first.state, second.state) == ("accepted", "accepted")
    assert "by ana" in first.journal[-1].reason
    assert [event.outcome for event in second.journal] == ["uncertain", "parked", "resend"]
    assert not (await list_uncertain(redis, limit=10))[1]


async def test_a_held_mail_whose_worker_was_stopped_at_the_dot_waits_for_people(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Provider(seconds=30) as provider:
        receipt = await producer.send(mails(1)[0])
        async with delivering(valkey_url, provider, streams=HOLDING, grace=0):
            await eventually(lambda: redis.hlen(KEYS.effects))
        assert (await trace_mail(redis, receipt.id)).state == "uncertain"
        assert await count_of(redis, MAIL_NORMAL, "uncertain") == 1
        provider.seconds = 0
        async with delivering(valkey_url, provider, streams=HOLDING):
            other = await producer.send(mails(1)[0])
            await eventually(lambda: redis.exists(f"arq:result:{other.id}"))
        assert provider.accepted == 1


async def test_a_held_mail_whose_worker_was_lost_at_the_dot_waits_for_people(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    receipt = await producer.send(mails(1)[0])
    await redis.hset(KEYS.effects, receipt.id, "1 main")  # what the mark of a worker that is gone leaves
    async with Provider() as provider, delivering(valkey_url, provider, streams=HOLDING):
        await eventually(lambda: redis.hlen(KEYS.parked))
        assert (await trace_mail(redis, receipt.id)).state == "uncertain"
        assert (await list_uncertain(redis, limit=1))[1] == 1
        assert provider.accepted == 0


async def test_a_provider_that_knows_its_copies_gets_the_header_and_the_mail_once_more(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Provider(silent=1) as provider:
        await producer.send(mails(1)[0])
        async with delivering(valkey_url, provider, streams=HOLDING, header="Resend-Idempotency-Key"):
            await eventually(reached(redis, "done", 1))
    first, second = provider.headers
    assert first == second
    assert first.startswith("Resend-Idempotency-Key: ")


async def test_a_template_deleted_before_the_mail_is_sent_changes_nothing(
    valkey_url: str, producer: Producer, redis: Redis, tmp_path: Path
) -> None:
    folder = tmp_path / "closing"
    folder.mkdir()
    (folder / "es.subject").write_text("Cierre de {{ month }}")
    (folder / "es.text").write_text("Hola")
    templates = Templates(tmp_path)
    await producer.send(
        Mail(to="a@example.com", template="closing", values={"month": "mayo"}, templates=templates)
    )
    shutil.rmtree(folder)
    async with Provider() as provider, delivering(valkey_url, provider):
        await eventually(reached(redis, "done", 1))
        assert "Subject: Cierre de mayo" in provider.headers[0]


async def test_the_journal_of_a_mail_tells_each_attempt_with_the_servers_words(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    async with Provider(day=0, silent=1) as provider:
        receipt = await producer.send(mails(1)[0])
        async with delivering(valkey_url, provider):
            await eventually(reached(redis, "done", 1))
        found = await trace_mail(redis, receipt.id)
    assert (found.state, found.account, found.words) == ("accepted", "main", "2.0.0 queued as 2")
    assert [event.outcome for event in found.journal] == ["uncertain", "retry"]
    assert found.journal[-1].reason.startswith("main: no reply after the final dot")
    result = orjson.loads(await redis.get(f"arq:result:{receipt.id}"))
    assert result["r"] == {"code": 250, "reply": "2.0.0 queued as 2", "account": "main"}


# Redis away

StartValkey = Callable[..., Awaitable[OwnValkey]]


@asynccontextmanager
async def replies_lost_while_redis_is_away(
    own_valkey: StartValkey, streams: Mapping[str, Stream]
) -> AsyncIterator[tuple[Provider, Redis]]:
    """Five mails whose dots are written; then Redis goes, no reply comes, and Redis is back."""
    valkey, word = await own_valkey(), asyncio.Event()
    async with (
        Provider(silent=5, word=word) as provider,
        Redis.from_url(valkey.url) as redis,
        Producer.connect(valkey.url, budget=5) as producer,
    ):
        await producer.send_many(mails(5))
        async with delivering(valkey.url, provider, streams=streams):
            await eventually(lambda: all_marked(redis, 5))
            await valkey.kill()
            word.set()
            await eventually(lambda: provider.dropped.total() == 5)
            await valkey.start()
            yield provider, redis


async def all_marked(redis: Redis, count: int) -> bool:
    return bool(await redis.hlen(KEYS.effects) == count)


async def test_a_mail_whose_reply_was_lost_while_redis_was_away_is_listed(own_valkey: StartValkey) -> None:
    async with replies_lost_while_redis_is_away(own_valkey, STREAMS) as (provider, redis):
        await eventually(reached(redis, "done", 5), timeout=30)
        assert (await count_of(redis, MAIL_NORMAL, "uncertain"), provider.duplicates) == (5, 5)
        assert (await list_uncertain(redis, limit=100))[1] == 5


async def test_a_held_mail_whose_reply_was_lost_while_redis_was_away_waits_for_people_and_is_listed(
    own_valkey: StartValkey,
) -> None:
    async with replies_lost_while_redis_is_away(own_valkey, HOLDING) as (provider, redis):
        await eventually(reached(redis, "uncertain", 5), timeout=30)
        await eventually(lambda: redis.hlen(KEYS.parked))
        listed, total = await list_uncertain(redis, limit=100)
        assert ({one.state for one in listed}, total) == ({"uncertain"}, 5)
        assert provider.duplicates == 0


async def test_a_mail_that_waits_for_people_is_listed_even_when_the_list_is_gone(
    valkey_url: str, producer: Producer, redis: Redis
) -> None:
    """It is not longer than ten thousand, and what waits may be older than that."""
    async with Provider(silent=3) as provider:
        await producer.send_many(mails(3))
        async with delivering(valkey_url, provider, streams=HOLDING):
            await eventually(reached(redis, "uncertain", 3))
        before, total = await list_uncertain(redis, limit=10)
        assert await redis.delete(KEYS.uncertain)
        assert ({one.id for one in (await list_uncertain(redis, limit=10))[0]}, total) == (
            {one.id for one in before},
            3,
        )
        listed, total = await list_uncertain(redis, limit=2)
        assert (len(listed), total) == (2, 3)


# Killed


def worker(url: str, provider: Provider, name: str) -> Process:
    return Process(
        name=name,
        argv=[sys.executable, "-m", "worker"],
        environment={
            "MOMENTUS_REDIS_URL": url,
            "MOMENTUS_MAIL__HOST": "127.0.0.1",
            "MOMENTUS_MAIL__PORT": str(provider.port),
            "MOMENTUS_MAIL__TLS": "off",
            "MOMENTUS_WORKER__LEASE": "1s",
            "MOMENTUS_WORKER__LEASE_RENEW": "300ms",
            "MOMENTUS_WORKER__CRASH_LIMIT": "100",
            "MOMENTUS_LOG_LEVEL": "error",
        },
        ready=worker_ready(url),
        restart=RestartPolicy.ALWAYS,
        backoff=Backoff(first=timedelta(milliseconds=10), longest=timedelta(milliseconds=50)),
        drain=timedelta(seconds=20),
    )


async def kill_at_random(running: Supervisor, provider: Provider, *, kills: int, every: int, seed: int) -> None:
    """SIGKILL one of two workers again and again, each time when some more mails have come in."""
    chance = random.Random(seed)  # noqa: S311  a repeatable test
    for number in range(kills):
        target = provider.accepted + chance.randrange(1, every)
        await eventually(lambda target=target: provider.accepted >= target, timeout=30, every=0.001)
        await asyncio.sleep(0)
        running.send_signal(f"worker{number % 2}", signal.SIGKILL)


async def killed(url: str, redis: Redis, *, count: int, kills: int, seconds: float) -> None:
    async with (
        Provider(seconds=seconds) as provider,
        Producer.connect(url, budget=5) as producer,
        Supervisor([worker(url, provider, f"worker{number}") for number in range(2)]) as running_workers,
    ):
        await producer.send_many(mails(count))
        await kill_at_random(running_workers, provider, kills=kills, every=max(2, count // kills), seed=count)
        await eventually(reached(redis, "done", count), timeout=60)
    assert len(provider.mails) == count
    assert provider.duplicates <= await count_of(redis, MAIL_NORMAL, "uncertain")
    assert await count_of(redis, MAIL_NORMAL, "dead") == 0
    assert await redis.zcard(KEYS.queue) == 0


async def test_workers_killed_at_random_lose_no_mail_and_no_copy_goes_uncounted(
    valkey_url: str, redis: Redis
) -> None:
    await killed(valkey_url, redis, count=150, kills=3, seconds=0.05)


@pytest.mark.one_server("it takes half an hour as it is")
@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_two_hundred_kills_over_ten_thousand_mails_lose_none(valkey_url: str, redis: Redis) -> None:
    await killed(valkey_url, redis, count=10_000, kills=200, seconds=0.05)
