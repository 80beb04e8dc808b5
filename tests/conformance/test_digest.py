"""A digest: what is sent under one key within a window is one mail, of every item once, whoever sends them."""

import asyncio
import base64
import inspect
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from redis.asyncio import Redis

from jobs import Digest, InvalidPart, Mail, MailError, MissingValue, Templates
from jobs.mail.letter import LetterSender, write_letter
from jobs.mail.seal import KeyRing
from producers import KeyConflict, NotEnqueued, Producer, SyncProducer, digest as collapse
from producers.keys import LaneKeys
from producers.testing import RecordingProducer, SyncRecordingProducer
from producers.testing.recorder import Recorder
from tests.notes import running
from tests.support import OwnValkey, eventually
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler

KEYS = LaneKeys("mail.normal")
GENEROUS = 10.0
MINUTE = timedelta(minutes=1)
KINDS = [Producer, SyncProducer, RecordingProducer, SyncRecordingProducer]


def task(name: str, *, to: str = "ana@example.com", collapse: str = "tasks:7", **change: Any) -> Digest:
    mail = Mail(to=to, template="task_assigned", values={"task": name, "due": "hoy"})
    return replace(Digest(mail=mail, template="tasks_assigned", collapse=collapse, window=MINUTE), **change)


class Sending:
    """A producer of any kind: what it sends, and the mails that wait then."""

    def __init__(self, producer: Any, url: str) -> None:
        self.producer = producer
        self._url = url

    async def send(self, digest: Digest, key: str | None = None) -> Any:
        answer = self.producer.send_digest(digest, key=key)
        return await answer if inspect.isawaitable(answer) else answer

    async def mails(self) -> list[dict[str, Any]]:
        if isinstance(self.producer, RecordingProducer | SyncRecordingProducer):
            return [dict(job.payload) for job in self.producer.sent]
        async with Redis.from_url(self._url) as redis:
            return await waiting(redis)


async def waiting(redis: Any) -> list[dict[str, Any]]:
    """The payloads of a lane, in the order in which they are due."""
    ids = await redis.zrange(KEYS.queue, 0, -1)
    return [orjson.loads(await redis.get(b"arq:job:" + one))["k"] for one in ids]


@pytest_asyncio.fixture(params=KINDS)
async def sending(request: pytest.FixtureRequest) -> AsyncIterator[Sending]:
    url = request.getfixturevalue("valkey_url")
    producer = request.param.connect(url, budget=GENEROUS)
    yield Sending(producer, url)
    closed = producer.close()
    if inspect.isawaitable(closed):
        await closed


# ---- of every producer


async def test_five_tasks_are_one_mail_that_tells_all_of_them_in_order(sending: Sending) -> None:
    receipts = [await sending.send(task(f"Tarea {number}")) for number in range(5)]
    assert [one.state for one in receipts] == ["queued", *["gathered"] * 4]
    assert len({one.id for one in receipts}) == 1
    (mail,) = await sending.mails()
    assert mail["subject"] == "5 tareas asignadas"
    assert [line for line in mail["text"].splitlines() if line.startswith("-")] == [
        f"- Tarea {number} (fecha límite: hoy)" for number in range(5)
    ]
    assert mail["message_id"] == receipts[0].id.replace("{mail}", "mail")


async def test_the_date_of_a_digest_is_when_its_window_ends_however_many_items_come(sending: Sending) -> None:
    before = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=1)  # two clocks
    for number in range(3):
        await sending.send(task(f"Tarea {number}", window=timedelta(hours=5)))
    (mail,) = (
        await sending.mails() if not isinstance(sending.producer, Recorder) else [(await sending.mails())[-1]]
    )
    date = parsedate_to_datetime(mail["date"])
    assert before <= date - timedelta(hours=5) <= datetime.now(UTC)


async def test_a_single_item_is_the_mail_that_it_would_have_been(sending: Sending) -> None:
    await sending.send(task("Cierre"))
    (mail,) = await sending.mails()
    assert mail["subject"] == "Tarea asignada: Cierre"


async def test_the_same_item_is_in_once_and_its_key_stands_for_nothing_else(sending: Sending) -> None:
    for _ in range(2):
        first = await sending.send(task("a"), key="task:1")
        again = await sending.send(task("a"), key="task:1")
        other = await sending.send(task("b"), key="task:2")
    assert (first.state, again.state, other.state) == ("duplicate", "duplicate", "duplicate")
    assert len({first.id, again.id, other.id}) == 1
    (mail,) = await sending.mails()
    assert mail["subject"] == "2 tareas asignadas"
    with pytest.raises(KeyConflict) as conflict:
        await sending.send(task("c"), key="task:1")
    assert conflict.value.known_id == first.id
    assert await sending.mails() == [mail]


async def test_whom_and_what_differ_never_share_a_mail(sending: Sending) -> None:
    english = replace(task("e"), mail=replace(task("e").mail, locale="en"))
    urgent = replace(task("u"), mail=replace(task("u").mail, urgency="bulk"))
    others = [task("b", to="eva@example.com"), english, urgent, task("k", collapse="tasks:8")]
    receipts = [await sending.send(one) for one in (task("a"), *others, task("z"))]
    assert [one.state for one in receipts] == [*["queued"] * 5, "gathered"]
    for mail in await sending.mails():
        assert (mail["subject"] == "2 tareas asignadas") == (
            mail["message_id"] == receipts[0].id.replace("{mail}", "mail")
        )


async def test_a_full_digest_is_followed_by_another(sending: Sending, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collapse, "MOST_ITEMS", 3)
    receipts = [await sending.send(task(str(number))) for number in range(7)]
    assert [one.state for one in receipts] == ["queued", "gathered", "gathered"] * 2 + ["queued"]
    subjects = [mail["subject"] for mail in await sending.mails()]
    assert subjects == ["3 tareas asignadas", "3 tareas asignadas", "Tarea asignada: 6"]


async def test_items_of_many_octets_are_not_gathered_without_end(sending: Sending) -> None:
    long = [
        replace(one, mail=replace(one.mail, values={"task": "x", "due": "y" * 40_000})) for one in [task("")] * 3
    ]
    receipts = [await sending.send(one) for one in long]
    assert [one.state for one in receipts] == ["queued", "gathered", "queued"]


@pytest.mark.parametrize(
    ("digest", "error", "field"),
    [
        (task("a", collapse=""), InvalidPart, "collapse"),
        (task("a", collapse="x" * 513), InvalidPart, "collapse"),
        (task("a", window=timedelta(0)), InvalidPart, "window"),
        (task("a", window=timedelta(days=8)), InvalidPart, "window"),
        (task("a", window=60), InvalidPart, "window"),
        (task("a", mail=Mail(to="a@example.com", subject="a", text="b")), InvalidPart, "template"),
        (
            task("a", mail=Mail(to="a@example.com", template="digest", values={"tasks": ["a"]})),
            InvalidPart,
            "values.items[0].tasks",
        ),
        (task("a", mail=replace(task("a").mail, values={"task": "a"})), MissingValue, "values"),
        (
            task("a", mail=replace(task("a").mail, values={"task": float("inf"), "due": ""})),
            InvalidPart,
            "values.task",
        ),
        (task("a", mail=replace(task("a").mail, values={"task": 2**63, "due": ""})), InvalidPart, "values.task"),
    ],
)
async def test_an_item_that_no_mail_could_tell_is_refused_to_its_sender(
    sending: Sending, digest: Digest, error: type[MailError], field: str
) -> None:
    with pytest.raises(error) as refusal:
        await sending.send(digest)
    assert refusal.value.field == field
    assert await sending.mails() == []


# ---- in Redis


async def test_a_digest_goes_out_a_window_after_its_first_item_as_one_accepted_job(
    producer: Producer, redis: Any
) -> None:
    first = await producer.send_digest(task("a"))
    due = await redis.zscore(KEYS.queue, first.id)
    await producer.send_digest(task("b", window=timedelta(hours=1)))
    assert await redis.zscore(KEYS.queue, first.id) == due
    seconds, _ = await redis.time()
    assert 55_000 < due - seconds * 1000 <= 61_000
    assert await redis.hgetall(KEYS.counters) == {b"accepted:mail.normal": b"1"}
    assert await redis.ttl(f"arq:job:{first.id}") == -1
    (notes,) = [key async for key in redis.scan_iter("momentus:{mail}:digest:*")]
    assert 0 < await redis.pttl(notes) <= 60_000


async def test_what_a_worker_may_have_is_never_changed_and_the_next_item_opens_another(
    producer: Producer, redis: Any
) -> None:
    for change in ("due", "leased", "taken out"):
        digest = task("a", collapse=change)
        first = await producer.send_digest(digest)
        payload = await redis.get(f"arq:job:{first.id}")
        match change:
            case "due":
                await redis.zadd(KEYS.queue, {first.id: 1})
            case "leased":
                await redis.zadd(KEYS.queue, {first.id: 2**42}, gt=True)
            case _:
                await producer.cancel(first.id)
        second = await producer.send_digest(digest)
        assert (second.state, second.id != first.id) == ("queued", True)
        assert await redis.get(f"arq:job:{first.id}") in (payload, None)


async def test_every_attempt_of_a_digest_has_the_same_octets_whatever_happens_to_its_templates(
    producer: Producer, redis: Any, tmp_path: Path
) -> None:
    for name, text in {"one": "{{ task }}", "many": "{% for i in items %}{{ i.task }}{% endfor %}"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "es.subject").write_text(text)
        (tmp_path / name / "es.text").write_text(text)
    mail = Mail(to="a@example.com", template="one", values={"task": "ñ"}, templates=Templates(tmp_path))
    for _ in range(2):
        await producer.send_digest(Digest(mail=mail, template="many", collapse="c"))
    (tmp_path / "many/es.text").unlink()
    (frozen,) = await waiting(redis)
    assert frozen["text"] == "ññ"
    letters = {write_letter(frozen, default_sender=LetterSender("m@example.com")) for _ in range(2)}
    assert len(letters) == 1


async def test_of_items_that_many_send_at_once_each_is_told_once(valkey_url: str, redis: Any) -> None:
    with ThreadPoolExecutor(4) as threads, SyncProducer.connect(valkey_url, budget=GENEROUS) as plain:
        async with (
            Producer.connect(valkey_url, budget=GENEROUS) as one,
            Producer.connect(valkey_url, budget=GENEROUS) as two,
        ):
            loop = asyncio.get_running_loop()
            receipts = await asyncio.gather(
                *(one.send_digest(task(f"one {n}"), key=f"one:{n}") for n in range(30)),
                *(two.send_digest(task(f"two {n}")) for n in range(30)),
                *(loop.run_in_executor(threads, plain.send_digest, task(f"plain {n}")) for n in range(30)),
            )
    (mail,) = await waiting(redis)
    assert mail["subject"] == "90 tareas asignadas"
    told = sorted(line.split(" (")[0] for line in mail["text"].splitlines() if line.startswith("- "))
    assert told == sorted(f"- {who} {n}" for who in ("one", "two", "plain") for n in range(30))
    assert [one.state for one in receipts].count("queued") == 1


async def test_a_sealed_digest_shows_nothing_and_is_opened_by_its_key(valkey_url: str, redis: Any) -> None:
    rings = [KeyRing(f"k{n}:{base64.b64encode(bytes([n]) * 32).decode()}") for n in (1, 2)]
    async with Producer.connect(valkey_url, budget=GENEROUS, seal=rings[0]) as producer:
        receipts = [await producer.send_digest(task("Canario")) for _ in range(2)]
    async with Producer.connect(valkey_url, budget=GENEROUS, seal=rings[1]) as other:
        receipts.append(await other.send_digest(task("Canario")))
    assert [one.state for one in receipts] == ["queued", "gathered", "queued"], "another's items cannot be opened"
    for key in [key async for key in redis.scan_iter("*")]:
        assert b"Canario" not in await redis.dump(key)
    sealed = orjson.loads(await redis.get(f"arq:job:{receipts[0].id}"))["k"]
    assert rings[0].open(sealed, kind="mail.send", job_id=receipts[0].id)["subject"] == "2 tareas asignadas"


async def test_a_digest_whose_window_ended_is_sent_and_an_item_after_it_opens_the_next(
    valkey_url: str, producer: Producer
) -> None:
    told: list[object] = []

    async def deliver(_: dict[str, Any], **mail: object) -> None:
        told.append(mail["subject"])

    worker = Worker([handler(deliver, kind=Mail.kind)], redis_url=valkey_url, lanes=[LaneSlots("mail.normal", 5)])
    async with running(worker):
        digest = task("a", window=timedelta(seconds=1))
        for _ in range(3):
            await producer.send_digest(digest)
        await eventually(lambda: told == ["3 tareas asignadas"])
        assert (await producer.send_digest(digest)).state == "queued"
        await eventually(lambda: len(told) == 2)
    assert told[1] == "Tarea asignada: a"


async def test_a_silent_server_is_told_in_time_to_each_of_those_who_wait_for_their_turn(
    own_valkey: Callable[..., Any],
) -> None:
    server: OwnValkey = await own_valkey()
    async with Producer.connect(server.url, budget=0.2) as producer:
        await producer.send_digest(task("a"))
        server.pause()
        try:
            answers = await asyncio.gather(
                *(producer.send_digest(task(str(n))) for n in range(20)), return_exceptions=True
            )
        finally:
            server.resume()
        assert all(isinstance(answer, NotEnqueued) for answer in answers), answers
        again = await eventually(lambda: _sent(producer))
        assert again.state in ("gathered", "queued")


async def _sent(producer: Producer) -> Any:
    try:
        return await producer.send_digest(task("z"))
    except NotEnqueued:
        return None
