"""Mail from the producer to a real SMTP server: it arrives, once, or somebody knows why not."""

import asyncio
import shutil
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from redis.asyncio import Redis

from jobs import Mail, Policy
from jobs.mail.letter import LetterSender
from local.sink.smtp import DropPoint, MailSink, SinkFaults
from producers import Producer
from producers.keys import LaneKeys
from tests.counts import counts
from tests.support import eventually
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler
from worker.mail.accounts.accounts import Accounts
from worker.mail.deliver import Mailer, send_mail
from worker.mail.smtp.pool import SMTPPool
from worker.mail.smtp.server import Server

pytestmark = pytest.mark.on_cluster_too

KEYS = LaneKeys("mail.normal")
QUICK = Policy(tries=5, first_wait=timedelta(milliseconds=5), horizon=timedelta(hours=1))


def task(number: int = 1) -> Mail:
    return Mail(
        to=f"u{number}@example.com", template="task_assigned", values={"task": f"Tarea {number}", "due": "hoy"}
    )


@asynccontextmanager
async def delivering(url: str, port: int, *, connections: int = 5, messages: int = 100) -> AsyncIterator[Worker]:
    pool = SMTPPool(Server("127.0.0.1", port, "off"), connections=connections, messages=messages)
    worker = Worker(
        [handler(send_mail, kind=Mail.kind)],
        redis_url=url,
        lanes=[LaneSlots("mail.normal", connections)],
        policies={Mail.kind: QUICK},
        ctx={"mailer": Mailer(Accounts.single(pool), LetterSender("no-reply@momentus.example", "Momentus"))},
        handle_signals=False,
    )
    running = asyncio.create_task(worker.async_run())
    try:
        yield worker
    finally:
        worker.handle_sig(signal.SIGTERM)
        await running
        await worker.close()
        await pool.close()


async def test_a_mail_arrives_as_it_was_composed(
    valkey_url: str, producer: Producer, redis: Redis, smtp_sink: MailSink
) -> None:
    async with delivering(valkey_url, smtp_sink.port):
        receipt = await producer.send(
            Mail(
                to="ana@example.com", template="task_assigned", values={"task": "Reunión <b>", "due": "2026-11-30"}
            )
        )
        (mail,) = await smtp_sink.mailbox.wait_for(1)
        await eventually(counts(redis, "mail.normal", "done"))
    assert mail.sender == "no-reply@momentus.example"
    assert mail.recipients == ("ana@example.com",)
    assert mail.subject == "Tarea asignada: Reunión <b>"
    assert mail.message_id == f"<{receipt.id.replace('{', '').replace('}', '')}@momentus.example>"
    assert b"mail.accepted" not in mail.raw
    result = await redis.get(f"arq:result:{receipt.id}")
    assert result
    assert b"ana@example.com" not in result


async def test_a_hundred_mails_arrive_once_each_over_a_few_kept_connections(
    valkey_url: str, producer: Producer, redis: Redis, smtp_sink: MailSink
) -> None:
    async with delivering(valkey_url, smtp_sink.port):
        await producer.send_many([task(number) for number in range(100)])
        await smtp_sink.mailbox.wait_for(100)
        await eventually(counts(redis, "mail.normal", "done", 100))
        assert smtp_sink.connections <= 5
    assert not smtp_sink.mailbox.duplicates


async def test_a_refused_recipient_makes_the_mail_dead_with_the_servers_words(
    valkey_url: str, producer: Producer, redis: Redis, smtp_sink: MailSink
) -> None:
    smtp_sink.faults = SinkFaults(recipient_replies={"u1@example.com": "550 5.1.1 no such person"})
    async with delivering(valkey_url, smtp_sink.port):
        receipt = await producer.send(task())
        await producer.send(task(2))
        await eventually(counts(redis, "mail.normal", "dead"))
        await smtp_sink.mailbox.wait_for(1)
    history = await redis.lrange(KEYS.history(receipt.id), 0, -1)
    assert b"rcpt 550 5.1.1 no such person" in history[-1]


async def test_a_temporary_refusal_is_tried_again_with_the_same_octets(
    valkey_url: str, producer: Producer, redis: Redis, smtp_sink: MailSink
) -> None:
    smtp_sink.faults = SinkFaults(recipient_replies={"u1@example.com": "451 4.2.0 mailbox busy"})
    async with delivering(valkey_url, smtp_sink.port):
        receipt = await producer.send(task())
        await eventually(lambda: redis.exists(KEYS.history(receipt.id)))
        smtp_sink.faults = SinkFaults()
        await smtp_sink.mailbox.wait_for(1)
        await eventually(counts(redis, "mail.normal", "done"))
    assert await redis.pttl(KEYS.history(receipt.id)) > 0  # as long as its result


async def test_an_accounts_fault_costs_no_attempt_and_kills_no_mail(
    valkey_url: str, producer: Producer, redis: Redis, smtp_sink: MailSink
) -> None:
    smtp_sink.faults = SinkFaults(temporary_share=1, temporary_reply="554 5.2.0 SubmissionQuotaExceeded")
    async with delivering(valkey_url, smtp_sink.port):
        receipt = await producer.send(task())
        await eventually(lambda: redis.exists(KEYS.history(receipt.id)))
    assert not await redis.exists(f"arq:retry:{receipt.id}")
    assert await redis.zscore(KEYS.queue, receipt.id)


async def test_a_connection_cut_before_the_dot_is_a_certain_failure(
    valkey_url: str, producer: Producer, redis: Redis, smtp_sink: MailSink
) -> None:
    smtp_sink.faults = SinkFaults(drop=DropPoint.BEFORE_DOT, drop_first=2)
    async with delivering(valkey_url, smtp_sink.port, connections=1):
        await producer.send(task())
        await eventually(counts(redis, "mail.normal", "done"))
    assert not smtp_sink.mailbox.duplicates
    assert smtp_sink.mailbox.accepted == 1


async def test_a_connection_cut_after_the_dot_is_counted_as_uncertain_and_resent_unchanged(
    valkey_url: str, producer: Producer, redis: Redis, smtp_sink: MailSink
) -> None:
    smtp_sink.faults = SinkFaults(drop=DropPoint.BEFORE_REPLY, drop_first=1)
    async with delivering(valkey_url, smtp_sink.port):
        await producer.send(task())
        await eventually(counts(redis, "mail.normal", "done"))
    assert await counts(redis, "mail.normal", "uncertain")()
    first, second = smtp_sink.mailbox.mails
    assert first.raw == second.raw


async def test_a_server_that_is_away_is_waited_for(
    valkey_url: str, producer: Producer, redis: Redis, smtp_sink: MailSink
) -> None:
    await smtp_sink.refuse_connections()
    async with delivering(valkey_url, smtp_sink.port):
        receipt = await producer.send(task())
        await eventually(lambda: redis.exists(KEYS.history(receipt.id)))
        await smtp_sink.accept_connections()
        await smtp_sink.mailbox.wait_for(1)


async def test_a_worn_connection_is_replaced(
    valkey_url: str, producer: Producer, redis: Redis, smtp_sink: MailSink
) -> None:
    async with delivering(valkey_url, smtp_sink.port, connections=1, messages=3):
        await producer.send_many([task(number) for number in range(10)])
        await smtp_sink.mailbox.wait_for(10)
        await eventually(counts(redis, "mail.normal", "done", 10))
    assert not smtp_sink.mailbox.duplicates


async def test_an_encrypted_connection_is_never_given_up_for_a_plain_one(smtp_sink: MailSink) -> None:
    pool = SMTPPool(Server("127.0.0.1", smtp_sink.port, "required", "me", "secret"), connections=1, messages=1)
    with pytest.raises(Exception, match="does not offer STARTTLS") as refusal:
        async with pool.connection():
            pass
    assert "secret" not in str(refusal.value)
    assert smtp_sink.mailbox.accepted == 0


@pytest.mark.skipif(shutil.which("smtp-sink") is None, reason="Postfix's smtp-sink is not on this machine")
async def test_postfixs_sink_takes_our_mail(valkey_url: str, producer: Producer, redis: Redis) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec("smtp-sink", "-u", "nobody", f"127.0.0.1:{port}", "100")
    try:
        await eventually(lambda: _listens(port))
        async with delivering(valkey_url, port):
            await producer.send_many([task(number) for number in range(50)])
            await eventually(counts(redis, "mail.normal", "done", 50))
    finally:
        process.terminate()
        await process.wait()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


@pytest.mark.parametrize("to", [7, None, ["ana@example.com"], {"address": "ana@example.com"}], ids=str)
async def test_a_mail_whose_recipient_is_no_text_is_dead_at_once(
    valkey_url: str, redis: Redis, smtp_sink: MailSink, to: object
) -> None:
    payload = {**task().compose(job_id="{mail}odd", now=datetime.now(UTC)), "to": to}
    envelope = {"v": 1, "f": Mail.kind, "t": None, "a": [], "k": payload, "et": 1795404317562}
    await redis.set("arq:job:{mail}odd", orjson.dumps(envelope))
    await redis.zadd(KEYS.queue, {"{mail}odd": 1})
    async with delivering(valkey_url, smtp_sink.port):
        await eventually(counts(redis, "mail.normal", "dead"))
    (line,) = await redis.lrange(KEYS.history("{mail}odd"), 0, -1)
    assert orjson.loads(line)["reason"].replace("to[0]", "to").startswith("to: is ")
