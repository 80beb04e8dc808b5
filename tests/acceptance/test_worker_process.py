"""The worker as a process: killed, stopped, and without its Redis, while mails are on their way."""

import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from redis.asyncio import Redis

from jobs import Mail
from local.installation import worker_ready
from local.sink.smtp import MailSink, SinkFaults
from local.supervisor.process import Backoff, Process, RestartPolicy
from local.supervisor.supervisor import Supervisor
from producers import Producer
from producers.keys import LaneKeys
from tests.counts import count_of
from tests.support import eventually

KEYS = LaneKeys("mail.normal")
MAILS = 100


def tasks() -> list[Mail]:
    values = [{"task": f"Tarea {number}", "due": "2026-11-30"} for number in range(MAILS)]
    return [Mail(to="ana@example.com", template="task_assigned", values=one) for one in values]


def worker(
    url: str, sink: MailSink, *, restart: RestartPolicy = RestartPolicy.ALWAYS, extra: Mapping[str, str] = {}
) -> Process:
    return Process(
        name="worker",
        argv=[sys.executable, "-m", "worker"],
        environment={
            "MOMENTUS_REDIS_URL": url,
            "MOMENTUS_MAIL__HOST": "127.0.0.1",
            "MOMENTUS_MAIL__PORT": str(sink.port),
            "MOMENTUS_MAIL__TLS": "off",
            "MOMENTUS_WORKER__LEASE": "1s",
            "MOMENTUS_WORKER__LEASE_RENEW": "300ms",
            **extra,
        },
        ready=worker_ready(url),
        restart=restart,
        backoff=Backoff(first=timedelta(milliseconds=50)),
        drain=timedelta(seconds=20),
    )


@asynccontextmanager
async def enqueued(url: str) -> AsyncIterator[None]:
    async with Producer.connect(url, budget=5) as producer:
        await producer.send_many(tasks())
        yield


async def test_a_killed_worker_loses_no_mail_and_every_possible_duplicate_is_counted(
    valkey_url: str, redis: Redis, smtp_sink: MailSink
) -> None:
    smtp_sink.faults = SinkFaults(delay_min=timedelta(milliseconds=100), delay_max=timedelta(milliseconds=200))
    async with enqueued(valkey_url), Supervisor([worker(valkey_url, smtp_sink)]) as running:
        await smtp_sink.mailbox.wait_for(30)
        running.send_signal("worker", signal.SIGKILL)
        await smtp_sink.mailbox.wait_for(MAILS, timeout=30)

        async def all_done() -> bool:
            return await count_of(redis, "mail.normal", "done") == MAILS

        await eventually(all_done, timeout=30)
    subjects = {mail.subject for mail in smtp_sink.mailbox.mails}
    assert len(subjects) == MAILS
    assert smtp_sink.mailbox.accepted - MAILS <= await count_of(redis, "mail.normal", "uncertain")
    assert await count_of(redis, "mail.normal", "dead") == 0
    assert await redis.zcard(KEYS.queue) == 0


async def test_a_worker_asked_to_stop_finishes_what_it_sends_and_nothing_is_lost_or_doubled(
    valkey_url: str, redis: Redis, smtp_sink: MailSink
) -> None:
    smtp_sink.faults = SinkFaults(delay_min=timedelta(milliseconds=100), delay_max=timedelta(milliseconds=200))
    async with (
        enqueued(valkey_url),
        Supervisor([worker(valkey_url, smtp_sink, restart=RestartPolicy.NEVER)]) as running,
    ):
        await smtp_sink.mailbox.wait_for(30)
        running.send_signal("worker", signal.SIGTERM)
        assert await running.wait_exit("worker") == 0
        accepted = smtp_sink.mailbox.accepted
        assert 30 <= accepted < MAILS
        assert await count_of(redis, "mail.normal", "done") == accepted
        assert await redis.zcard(KEYS.queue) == MAILS - accepted
        assert await redis.zcard(KEYS.leases) == 0
        await running.start("worker")
        await smtp_sink.mailbox.wait_for(MAILS)
    assert not smtp_sink.mailbox.duplicates
    assert smtp_sink.mailbox.accepted == MAILS
    assert await count_of(redis, "mail.normal", "uncertain") == 0


async def test_a_mail_that_outlasts_the_grace_goes_back_and_is_counted_as_uncertain(
    valkey_url: str, redis: Redis, smtp_sink: MailSink
) -> None:
    smtp_sink.faults = SinkFaults(delay_min=timedelta(seconds=30), delay_max=timedelta(seconds=30))
    process = worker(valkey_url, smtp_sink, restart=RestartPolicy.NEVER, extra={"MOMENTUS_WORKER__GRACE": "1s"})
    async with Producer.connect(valkey_url, budget=5) as producer, Supervisor([process]) as running:
        receipt = await producer.send(tasks()[0])
        await eventually(lambda: smtp_sink.delaying)
        running.send_signal("worker", signal.SIGTERM)
        assert await running.wait_exit("worker") == 0
    assert await redis.zscore(KEYS.queue, receipt.id)
    assert await count_of(redis, "mail.normal", "uncertain") == 1


async def test_wrong_settings_end_the_worker_with_code_two_and_name_the_setting(
    valkey_url: str, smtp_sink: MailSink
) -> None:
    process = worker(valkey_url, smtp_sink, restart=RestartPolicy.NEVER, extra={"MOMENTUS_WORKER__LEESE": "10s"})
    with pytest.raises(Exception, match="MOMENTUS_WORKER__LEESE") as refusal:
        async with Supervisor([process]):
            pass
    assert "MOMENTUS_WORKER__LEASE" in str(refusal.value)


async def test_no_address_subject_or_body_reaches_the_log(
    valkey_url: str, redis: Redis, smtp_sink: MailSink
) -> None:
    lines: list[str] = []
    smtp_sink.faults = SinkFaults(
        recipient_replies={"canary@example.com": "550 5.1.1 <canary@example.com> unknown"}
    )
    mail = Mail(to="canary@example.com", subject="canary-subject", text="canary-body")
    process = worker(valkey_url, smtp_sink, extra={"MOMENTUS_LOG_LEVEL": "debug"})
    async with (
        Producer.connect(valkey_url, budget=5) as producer,
        Supervisor([process], log=lambda _name, line: lines.append(line)),
    ):
        receipt = await producer.send(mail)
        await producer.send(Mail(to="other@example.com", subject="canary-subject", text="canary-body"))
        await smtp_sink.mailbox.wait_for(1)
        await eventually(lambda: redis.zscore(KEYS.dead, receipt.id))
        await eventually(lambda: any("job done" in line for line in lines))
    log = "\n".join(lines)
    assert receipt.id in log
    assert "canary" not in log
    assert "@example.com" not in log
