"""What was composed is what arrives: files, headers, threads; and what cannot arrive says which file it was."""

import asyncio
import hashlib
import signal
from collections.abc import AsyncIterator
from datetime import timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import orjson
import pytest

from jobs import Attachment, Mail, Policy
from jobs.mail.letter import LetterSender
from jobs.mail.stream import STREAMS, Stream
from local.sink.smtp import MailSink
from producers import Producer
from producers.keys import LaneKeys
from tests.support import eventually
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler
from worker.mail.accounts.accounts import Accounts
from worker.mail.deliver import Mailer, send_mail
from worker.mail.smtp.pool import SMTPPool
from worker.mail.smtp.server import Server

KEYS = LaneKeys("mail.normal")
REPORT = b"a;b\n1;2\n" * 20_000


@pytest.fixture
async def _worker(valkey_url: str, smtp_sink: MailSink, tmp_path: Path) -> AsyncIterator[None]:
    pool = SMTPPool(Server("127.0.0.1", smtp_sink.port, "off"), connections=2, messages=100)
    mailer = Mailer(
        Accounts.single(pool),
        LetterSender("no-reply@momentus.example", "Momentus"),
        streams={**STREAMS, "notes": Stream(name="notes", auto_submitted="no")},
        attachments=tmp_path,
    )
    worker = Worker(
        [handler(send_mail, kind=Mail.kind)],
        redis_url=valkey_url,
        lanes=[LaneSlots("mail.normal", 2)],
        policies={Mail.kind: Policy(tries=5, first_wait=timedelta(milliseconds=5))},
        ctx={"mailer": mailer},
        handle_signals=False,
    )
    running = asyncio.create_task(worker.async_run())
    yield
    worker.handle_sig(signal.SIGTERM)
    await running
    await worker.close()
    await pool.close()


def report(folder: Path) -> Attachment:
    (folder / "2026").mkdir(exist_ok=True)
    (folder / "2026/informe.csv").write_bytes(REPORT)
    return Attachment(
        name="informe año.csv", ref="2026/informe.csv", sha256=hashlib.sha256(REPORT).hexdigest(), size=len(REPORT)
    )


def mail(*attachments: Attachment) -> Mail:
    return Mail(
        to="ana@example.com",
        template="task_assigned",
        values={"task": "Cierre", "due": "hoy"},
        attachments=attachments,
        thread="task:7",
        unsubscribe="https://example.com/u/1",
        headers={"X-Ticket": "7"},
        stream="notice",
    )


@pytest.mark.usefixtures("_worker")
async def test_a_mail_arrives_with_its_files_and_all_that_was_asked_for(
    producer: Producer, smtp_sink: MailSink, tmp_path: Path
) -> None:
    await producer.send(mail(report(tmp_path), Attachment(name="nota.txt", content=b"Hola")))
    (kept,) = await smtp_sink.mailbox.wait_for(1)
    message = message_from_bytes(kept.raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    files = {part.get_filename(): part.get_payload(decode=True) for part in message.iter_attachments()}
    assert files == {"informe año.csv": REPORT, "nota.txt": b"Hola"}
    assert message["List-Unsubscribe"] == "<https://example.com/u/1>"
    assert message["X-Ticket"] == "7"
    assert message["References"] == message["In-Reply-To"]


@pytest.mark.usefixtures("_worker")
async def test_machines_are_told_not_to_answer_unless_the_stream_is_a_person_s(
    producer: Producer, smtp_sink: MailSink
) -> None:
    for stream in (None, "notes"):
        await producer.send(Mail(to="ana@example.com", subject=str(stream), text="x", stream=stream))
    kept = await smtp_sink.mailbox.wait_for(2)
    told = {one.subject: message_from_bytes(one.raw)["Auto-Submitted"] for one in kept}
    assert told == {"None": "auto-generated", "notes": None}


@pytest.mark.usefixtures("_worker")
@pytest.mark.parametrize("fate", ["vanished", "changed"])
async def test_a_file_that_vanished_or_changed_makes_the_mail_dead_with_its_name(
    producer: Producer, redis: Any, smtp_sink: MailSink, tmp_path: Path, fate: str
) -> None:
    attached = report(tmp_path)
    (tmp_path / "2026/informe.csv").unlink()
    if fate == "changed":
        (tmp_path / "2026/informe.csv").write_bytes(REPORT[::-1])
    receipt = await producer.send(mail(attached))
    await eventually(lambda: redis.zscore(KEYS.dead, receipt.id))
    (entry,) = await redis.lrange(KEYS.history(receipt.id), 0, -1)
    assert "attachment 'informe año.csv'" in orjson.loads(entry)["reason"]
    assert smtp_sink.mailbox.accepted == 0
