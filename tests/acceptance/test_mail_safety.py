"""What is done for a mail on its way out: opened, held back, redirected, signed; and never told of in a log.

The first part runs a worker in this loop; the last one is a whole process, whose log and whose Redis's files are
looked through for a canary.
"""

import asyncio
import base64
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from redis.asyncio import Redis

from jobs import Mail, Policy
from jobs.mail.dkim import load_signer
from jobs.mail.letter import LetterSender
from jobs.mail.seal import KeyRing
from local.sink.smtp import DropPoint, MailSink, SinkFaults
from ops.jobs.operations import revive_job
from ops.mail.bounces import process_bounce
from producers import Producer
from producers.keys import MAIL_SUPPRESSION, LaneKeys
from producers.link import Link
from producers.suppression import digest_of, reasons_of, suppress
from tests.bounces import bounce
from tests.counts import counts
from tests.dkim_verifier import verifies
from tests.support import OwnValkey, eventually
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler
from worker.mail.accounts.accounts import Accounts
from worker.mail.deliver import Mailer, send_mail
from worker.mail.mode_hold import apply_mode_hold
from worker.mail.modes import HOLD_REASON, Safety
from worker.mail.policies import MailPolicies
from worker.mail.sent import SentRegister
from worker.mail.smtp.pool import SMTPPool
from worker.mail.smtp.server import Server
from worker.mail.suppression import SuppressionList

KEYS = LaneKeys("mail.normal")
ANA, ALL = "ana@example.com", "all@test.example"
QUICK = Policy(tries=3, first_wait=timedelta(milliseconds=5), horizon=timedelta(hours=1))
ONE, TWO = (f"{name}:{base64.b64encode(name.encode() * 32).decode()}" for name in "ab")


@pytest.fixture
async def link(valkey_url: str) -> AsyncIterator[Link]:
    one = Link(valkey_url)
    yield one
    await one.close()


@asynccontextmanager
async def caring(url: str, port: int, care: MailPolicies) -> AsyncIterator[None]:
    """A worker with this care, in this loop."""
    pool = SMTPPool(Server("127.0.0.1", port, "off"), connections=5, messages=100)
    worker = Worker(
        [handler(send_mail, kind=Mail.kind)],
        redis_url=url,
        lanes=[LaneSlots("mail.normal", 5)],
        policies={Mail.kind: QUICK},
        ctx={
            "mailer": Mailer(
                Accounts.single(pool), LetterSender("no-reply@momentus.example", "Momentus"), policies=care
            )
        },
        handle_signals=False,
    )
    running = asyncio.create_task(worker.async_run())
    try:
        yield
    finally:
        worker.handle_sig(signal.SIGTERM)
        await running
        await worker.close()
        await pool.close()


def mail(to: str = ANA, **parts: object) -> Mail:
    return Mail(to=to, subject="Hola", text="Buenos días", **parts)  # type: ignore[arg-type]


async def last_reason(redis: Redis, job_id: str) -> str:
    history = await redis.lrange(KEYS.history(job_id), -1, -1)
    return str(orjson.loads(history[0])["reason"]) if history else ""


# Suppression


async def test_a_suppressed_recipient_gets_nothing_and_the_result_says_why(
    valkey_url: str, redis: Redis, link: Link, smtp_sink: MailSink
) -> None:
    await suppress(link.call, ANA, "complaint", by="test")
    async with (
        caring(valkey_url, smtp_sink.port, MailPolicies(suppression=SuppressionList(link))),
        Producer.connect(valkey_url, budget=5) as producer,
    ):
        receipt = await producer.send(mail())
        await producer.send(mail("eva@example.com"))
        await eventually(counts(redis, "mail.normal", "done"))
        await eventually(counts(redis, "mail.normal", "suppressed"))
    assert [one.recipients for one in smtp_sink.mailbox.mails] == [("eva@example.com",)]
    result = orjson.loads(await redis.get(f"arq:result:{receipt.id}"))["r"]
    assert (result["state"], result["reason"]) == ("suppressed", "complaint")
    assert not await redis.exists(f"arq:job:{receipt.id}")


async def test_a_server_that_knows_no_such_mailbox_suppresses_it_and_policy_does_not(
    valkey_url: str, redis: Redis, link: Link, smtp_sink: MailSink
) -> None:
    smtp_sink.faults = SinkFaults(
        recipient_replies={ANA: "550 5.1.1 no such user", "eva@example.com": "550 5.7.1 not from you"}
    )
    async with (
        caring(valkey_url, smtp_sink.port, MailPolicies(suppression=SuppressionList(link))),
        Producer.connect(valkey_url, budget=5) as producer,
    ):
        receipt = await producer.send(mail())
        await producer.send(mail("eva@example.com"))
        await eventually(counts(redis, "mail.normal", "dead", 2))
    (reason,) = await reasons_of(link.call, digest_of(ANA))
    assert (reason.reason, reason.by, reason.evidence) == ("hard_bounce", "worker", receipt.id)
    assert await redis.hlen(MAIL_SUPPRESSION) == 1


# Modes


async def test_redirected_mail_reaches_the_catch_all_and_nobody_else(
    valkey_url: str, redis: Redis, link: Link, smtp_sink: MailSink
) -> None:
    safety = Safety(mode="redirect", redirect_to=ALL, allowed_domains=frozenset({"team.example"}))
    care = MailPolicies(safety=safety, sent=SentRegister(link, days=7))
    async with caring(valkey_url, smtp_sink.port, care), Producer.connect(valkey_url, budget=5) as producer:
        await producer.send_many([mail(), mail("luz@team.example")])
        await eventually(counts(redis, "mail.normal", "done", 2))
    by_recipient = {one.recipients: one for one in smtp_sink.mailbox.mails}
    assert set(by_recipient) == {(ALL,), ("luz@team.example",)}
    assert by_recipient[ALL,].subject == "[ana@example.com] Hola"
    assert b"X-Original-To: ana@example.com\r\n" in by_recipient[ALL,].raw
    (key,) = [key async for key in redis.scan_iter(match="momentus:{mail}:sent:*")]
    assert await redis.hlen(key) == 1, "a bounce of a redirected mail says nothing of who it was for"


async def test_a_domain_that_is_not_allowed_makes_a_dead_mail_that_can_be_revived(
    valkey_url: str, redis: Redis, smtp_sink: MailSink
) -> None:
    async with Producer.connect(valkey_url, budget=5) as producer:
        receipt = await producer.send(mail())
        strict = MailPolicies(safety=Safety(mode="live", allowed_domains=frozenset({"team.example"})))
        async with caring(valkey_url, smtp_sink.port, strict):
            await eventually(counts(redis, "mail.normal", "dead"))
        assert "MOMENTUS_MAIL__ALLOWED_DOMAINS: does not list example.com" in await last_reason(redis, receipt.id)
        await revive_job(redis, receipt.id)
        async with caring(valkey_url, smtp_sink.port, MailPolicies(safety=Safety(mode="live"))):
            await smtp_sink.mailbox.wait_for(1)


async def test_in_hold_nothing_leaves_even_when_somebody_releases_the_lane(
    valkey_url: str, redis: Redis, link: Link, smtp_sink: MailSink
) -> None:
    async with (
        caring(valkey_url, smtp_sink.port, MailPolicies(safety=Safety(mode="hold"))),
        apply_mode_hold(link, "hold"),
    ):
        await eventually(lambda: redis.hlen(KEYS.holds))
        async with Producer.connect(valkey_url, budget=5) as producer:
            receipt = await producer.send(mail())
        assert HOLD_REASON.encode() in await redis.hget(KEYS.holds, "lane:mail.normal")
        await redis.hdel(KEYS.holds, "lane:mail.normal")
        await redis.lpush(KEYS.wake, "1")

        async def told() -> bool:
            return await last_reason(redis, receipt.id) == HOLD_REASON

        await eventually(told)
    assert not await redis.exists(f"arq:retry:{receipt.id}"), "it costs no attempt"
    assert smtp_sink.mailbox.accepted == 0


async def test_leaving_hold_releases_what_it_held_and_nothing_of_people(redis: Redis, link: Link) -> None:
    people = orjson.dumps({"until_ms": None, "reason": "people"})
    await redis.hset(KEYS.holds, "lane:mail.bulk", people.decode())
    async with apply_mode_hold(link, "hold"):
        await eventually(lambda: redis.hexists(KEYS.holds, "lane:mail.normal"))
    async with apply_mode_hold(link, "live"):

        async def released() -> bool:
            return not await redis.hexists(KEYS.holds, "lane:mail.normal")

        await eventually(released)
    assert await redis.hgetall(KEYS.holds) == {b"lane:mail.bulk": people}


# Sealing and signing


async def test_a_sealed_mail_arrives_and_an_open_one_still_does(
    valkey_url: str, redis: Redis, smtp_sink: MailSink
) -> None:
    async with (
        caring(valkey_url, smtp_sink.port, MailPolicies(ring=KeyRing(f"{TWO},{ONE}"))),
        Producer.connect(valkey_url, budget=5, seal=KeyRing(ONE)) as sealing,
        Producer.connect(valkey_url, budget=5) as plain,
    ):
        await sealing.send(mail(), key="k")
        await plain.send(mail("eva@example.com"))
        await smtp_sink.mailbox.wait_for(2)
        await eventually(counts(redis, "mail.normal", "done", 2))
    assert {one.recipients[0] for one in smtp_sink.mailbox.mails} == {ANA, "eva@example.com"}


async def test_a_mail_whose_key_is_absent_waits_uncharged_until_a_worker_has_it(
    valkey_url: str, redis: Redis, smtp_sink: MailSink
) -> None:
    async with Producer.connect(valkey_url, budget=5, seal=KeyRing(ONE)) as producer:
        receipt = await producer.send(mail())
    for ring in (None, KeyRing(TWO)):
        before = await redis.llen(KEYS.history(receipt.id))
        await redis.zadd(KEYS.queue, {receipt.id: 0})
        async with caring(valkey_url, smtp_sink.port, MailPolicies(ring=ring)):

            async def told(before: int = before) -> bool:
                return bool(await redis.llen(KEYS.history(receipt.id)) > before)

            await eventually(told)
        reason = await last_reason(redis, receipt.id)
        assert "'a'" in reason
        assert "MOMENTUS_MAIL__SEAL_KEYS" in reason
    assert not await redis.exists(f"arq:retry:{receipt.id}")
    await redis.zadd(KEYS.queue, {receipt.id: 0})
    async with caring(valkey_url, smtp_sink.port, MailPolicies(ring=KeyRing(ONE))):
        await smtp_sink.mailbox.wait_for(1)


async def test_a_sealed_mail_that_was_moved_to_another_job_is_dead(
    valkey_url: str, redis: Redis, smtp_sink: MailSink
) -> None:
    async with Producer.connect(valkey_url, budget=5, seal=KeyRing(ONE)) as producer:
        first, second = await producer.send_many([mail(), mail("eva@example.com")])
        await redis.set(f"arq:job:{second.id}", await redis.get(f"arq:job:{first.id}"))
        async with caring(valkey_url, smtp_sink.port, MailPolicies(ring=KeyRing(ONE))):
            await eventually(counts(redis, "mail.normal", "dead"))
            await smtp_sink.mailbox.wait_for(1)
    assert "belongs to another job" in await last_reason(redis, second.id)


async def test_a_signed_mail_is_accepted_by_a_verifier_and_the_same_at_every_attempt(
    valkey_url: str, redis: Redis, smtp_sink: MailSink
) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    pkcs8, none = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, pkcs8, none).decode()
    signer = load_signer(pem, domain="momentus.example", selector="s1")
    smtp_sink.faults = SinkFaults(drop=DropPoint.BEFORE_REPLY, drop_first=1)
    async with (
        caring(valkey_url, smtp_sink.port, MailPolicies(signer=signer)),
        Producer.connect(valkey_url, budget=5) as producer,
    ):
        await producer.send(mail())
        await eventually(counts(redis, "mail.normal", "done"))
    first, second = smtp_sink.mailbox.mails
    assert first.raw == second.raw
    assert verifies(first.raw, signer.public_text)


# The canary

CANARY = "canario9f3c"
TEXTS = {"subject": f"Asunto {CANARY}", "text": f"Cuerpo {CANARY}", "sender_name": f"De {CANARY}"}


def canary_mail(number: int, domain: str = "example.com") -> Mail:
    return Mail(to=f"{CANARY}.{number}@{domain}", **TEXTS)  # type: ignore[arg-type]


@asynccontextmanager
async def process(url: str, sink: MailSink, log: Path, **settings: str) -> AsyncIterator[None]:
    """A worker as it is run, with its log in a file."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MOMENTUS_")},
        "MOMENTUS_REDIS_URL": url,
        "MOMENTUS_MAIL__HOST": "127.0.0.1",
        "MOMENTUS_MAIL__PORT": str(sink.port),
        "MOMENTUS_MAIL__TLS": "off",
        "MOMENTUS_LOG_LEVEL": "debug",
        "MOMENTUS_WORKER__LEASE": "1s",
        "MOMENTUS_WORKER__LEASE_RENEW": "300ms",
        **{f"MOMENTUS_{name}": value for name, value in settings.items()},
    }
    with log.open("ab") as file:
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "worker", env=environment, stdout=file, stderr=file
        )
    try:
        yield
    finally:
        worker.terminate()
        assert await worker.wait() == 0


async def every_kind_of_failure(url: str, redis: Redis, sink: MailSink, log: Path, ring: str) -> None:
    """Whatever may happen to a mail, with a server that quotes the address in all its replies."""
    keys = {"MAIL__SEAL_KEYS": ring} if ring else {}
    sealed = KeyRing.optional(ring)
    addresses = {number: f"{CANARY}.{number}@example.com" for number in range(10)}

    async def happened(event: str, count: int) -> None:
        await eventually(counts(redis, "mail.normal", event, count), timeout=20)

    async with Producer.connect(url, budget=5, seal=sealed) as producer:
        sink.faults = SinkFaults(
            recipient_replies={
                addresses[0]: f"550 5.1.1 <{addresses[0]}> no such user",
                addresses[1]: f"451 4.2.0 <{addresses[1]}> busy, about {TEXTS['subject']}",
                addresses[2]: f"550 5.7.1 {addresses[2]} refused by policy",
            }
        )
        async with process(url, sink, log, **keys):
            await producer.send_many(
                [canary_mail(number) for number in range(4)], keys=[f"{CANARY}:{n}" for n in range(4)]
            )
            await happened("dead", 2)
            await happened("done", 1)
            await producer.send(canary_mail(0))  # suppressed by now
            await happened("suppressed", 1)
            sink.faults = SinkFaults(drop=DropPoint.BEFORE_REPLY, drop_first=1)
            await producer.send(canary_mail(4))
            await happened("uncertain", 1)
            sink.faults = SinkFaults(drop=DropPoint.BEFORE_DOT, drop_first=1)
            cut = await producer.send(canary_mail(5))
            await eventually(lambda: redis.exists(KEYS.history(cut.id)), timeout=20)
            broken = await producer.send(canary_mail(6), delay=timedelta(days=1))
            await redis.set(f"arq:job:{broken.id}", f'{{"v":1,"k":"{"" if ring else CANARY}"}}')
            await redis.zadd(KEYS.queue, {broken.id: 0})
            await happened("dead", 3)
            sink.faults = SinkFaults(
                temporary_share=1, temporary_reply=f"554 5.2.0 SubmissionQuotaExceeded for {addresses[7]}"
            )
            receipt = await producer.send(canary_mail(7))
            await eventually(lambda: redis.exists(KEYS.history(receipt.id)), timeout=20)
        forbidden = {**keys, "MAIL__ALLOWED_DOMAINS": "team.example"}
        await redis.delete(KEYS.holds, "momentus:{mail}:account:default")
        async with process(url, sink, log, **forbidden):
            await producer.send(canary_mail(8, "elsewhere.example"))
            await eventually(lambda: dead_at_least(redis, 4), timeout=20)


async def dead_at_least(redis: Redis, count: int) -> bool:
    return int(await redis.zcard(KEYS.dead)) >= count


@pytest.mark.parametrize("ring", [pytest.param("", marks=pytest.mark.long), ONE], ids=["open", "sealed"])
async def test_no_log_tells_of_anybody_and_a_sealed_mail_is_in_no_file_of_redis(
    own_valkey: Callable[..., Awaitable[OwnValkey]], smtp_sink: MailSink, tmp_path: Path, ring: str
) -> None:
    valkey = await own_valkey()
    log = tmp_path / "worker.log"
    async with Redis.from_url(valkey.url) as redis:
        await every_kind_of_failure(valkey.url, redis, smtp_sink, log, ring)
        await redis.config_set("rdbcompression", "no")
        await redis.save()
    told = log.read_bytes()
    assert told.count(b"\n") > 20, "the log is there"
    assert CANARY.encode() not in told
    files = {file.name: file.read_bytes() for file in valkey.directory.rglob("*") if file.is_file()}
    assert any(name.endswith(".aof") for name in files)
    assert any(name.endswith(".rdb") for name in files)
    spelt = [CANARY.encode(), base64.b64encode(CANARY.encode())[:12]]
    found = {name for name, octets in files.items() if any(one in octets for one in spelt)}
    assert not found if ring else found, "sealed, nothing; open, the mails themselves: so the search finds"


async def test_a_bounce_of_a_sealed_mail_finds_its_way(
    valkey_url: str, redis: Redis, link: Link, smtp_sink: MailSink
) -> None:

    care = MailPolicies(ring=KeyRing(ONE), sent=SentRegister(link, days=7))
    async with (
        caring(valkey_url, smtp_sink.port, care),
        Producer.connect(valkey_url, budget=5, seal=KeyRing(ONE)) as producer,
    ):
        receipt = await producer.send(mail())
        (arrived,) = await smtp_sink.mailbox.wait_for(1)
        await eventually(counts(redis, "mail.normal", "done"))
    message_id = arrived.message_id.strip("<>").partition("@")[0]
    assert await process_bounce(redis, bounce(message_id, ANA), by="test") == "suppressed"
    assert "5.1.1" in await last_reason(redis, receipt.id)
