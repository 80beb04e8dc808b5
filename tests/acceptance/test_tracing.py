"""One trace from a send to the mail server's reply, and from a change in the database to the published set."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import orjson
import pytest
from arq.connections import RedisSettings, create_pool
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from redis.asyncio import Redis

from jobs import Digest, Mail, Policy
from local.sink.smtp import MailSink, SinkFaults
from producers import KeyConflict, Producer, SyncProducer
from producers.keys import LaneKeys
from tests.boards import report, shop
from tests.command_line import run_ops
from tests.counts import counts
from tests.delivering import delivering
from tests.ledgers import ledger_of
from tests.notes import LANE, Note, running
from tests.spans import Spans, attributes, id_of, is_child, recorded_spans, trace_of
from tests.support import OwnValkey, eventually
from worker.engine import GiveUp, LaneSlots, Worker
from worker.engine.handler import handler
from worker.ledger.service import run_ledger
from worker.reports.refresh import refresh_report

QUICK = Policy(tries=5, first_wait=timedelta(milliseconds=5), horizon=timedelta(hours=1))
ANA = Mail(to="ana@example.com", subject="Cierre secreto", text="Buenos días")
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans() -> Iterator[Spans]:
    with recorded_spans() as recorded:
        yield recorded


@asynccontextmanager
async def taking(url: str, take: Any, **options: Any) -> AsyncIterator[Worker]:
    """A worker that gives notes to this function."""
    worker = Worker(
        [handler(take, kind=Note.kind)],
        redis_url=url,
        lanes=[LaneSlots(LANE, 5)],
        policies={Note.kind: QUICK},
        handle_signals=False,
        **options,
    )
    async with running(worker):
        yield worker


async def take(context: dict[str, Any], text: str) -> None:
    del context, text


async def test_one_trace_leads_from_the_send_to_the_mail_servers_reply(
    valkey_url: str, producer: Producer, redis: Redis, smtp_sink: MailSink, spans: Spans
) -> None:
    async with delivering(valkey_url, smtp_sink):
        with trace.get_tracer("application").start_as_current_span("POST /tasks") as request:
            receipt = await producer.send(ANA)
        await eventually(counts(redis, LANE, "done"))
    sent, attempt = spans.only("send"), spans.only("process")
    assert {trace_of(span) for span in spans.all} == {request.get_span_context().trace_id}
    assert is_child(attempt, sent)
    assert [link.context.span_id for link in attempt.links] == [id_of(sent)]
    stages = [span for span in spans.named("smtp ") if is_child(span, attempt)]
    assert [span.name for span in stages] == ["smtp open", "smtp envelope", "smtp mark", "smtp dot"]
    assert attributes(stages[-1]) == {
        "server.address": "127.0.0.1",
        "server.port": smtp_sink.port,
        "momentus.smtp.code": 250,
    }
    common = {
        "messaging.system": "momentus",
        "messaging.destination.name": LANE,
        "messaging.message.id": receipt.id,
    }
    assert (sent.name, sent.kind) == (f"send {LANE}", SpanKind.PRODUCER)
    assert attributes(sent) == common | {
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.momentus.receipt": "queued",
    }
    waited = attributes(attempt)["messaging.momentus.waited_ms"]
    assert (attempt.name, attempt.kind) == (f"process {LANE}", SpanKind.CONSUMER)
    assert attributes(attempt) == common | {
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.momentus.kind": "mail.send",
        "messaging.momentus.attempt": 1,
        "messaging.momentus.waited_ms": waited,
        "messaging.momentus.outcome": "done",
    }
    assert attempt.instrumentation_scope is not None
    assert attempt.instrumentation_scope.schema_url == "https://opentelemetry.io/schemas/1.44.0"


async def test_the_record_of_an_outcome_is_a_span_inside_its_attempt_with_redis_by_name(
    valkey_url: str, producer: Producer, redis: Redis, spans: Spans
) -> None:
    async with taking(valkey_url, take):
        receipt = await producer.send(Note("one"))
        await eventually(counts(redis, LANE, "done"))
    settled, sent = spans.only("settle"), spans.only("send")
    assert is_child(settled, spans.only("process"))
    assert [link.context.span_id for link in settled.links] == [id_of(sent)]
    assert (settled.name, settled.kind) == (f"settle {LANE}", SpanKind.CLIENT)
    server = urlsplit(valkey_url)
    assert attributes(settled) == {
        "messaging.system": "momentus",
        "messaging.operation.name": "settle",
        "messaging.operation.type": "settle",
        "messaging.destination.name": LANE,
        "messaging.message.id": receipt.id,
        "server.address": server.hostname,
        "server.port": server.port,
    }


def meeting(number: int) -> Callable[[dict[str, Any], str], Awaitable[None]]:
    """A handler whose jobs end together, so many at a time."""
    together = asyncio.Barrier(number)

    async def meet(_: dict[str, Any], text: str) -> None:
        del text
        await together.wait()

    return meet


async def test_outcomes_that_are_recorded_in_one_call_share_a_span_that_links_to_each_sender(
    valkey_url: str, producer: Producer, redis: Redis, spans: Spans
) -> None:
    async with taking(valkey_url, meeting(4)):
        await producer.send_many([Note(str(number)) for number in range(4)])
        await eventually(counts(redis, LANE, "done", 4))
    settled = spans.named("settle")
    several = [span for span in settled if "messaging.batch.message_count" in attributes(span)]
    assert several
    assert sum(int(str(attributes(one).get("messaging.batch.message_count", 1))) for one in settled) == 4
    for span in several:
        assert span.parent is None
        assert {link.context.span_id for link in span.links} == {id_of(spans.only("send"))}
        assert len(span.links) == attributes(span)["messaging.batch.message_count"]


async def test_of_jobs_whose_traces_their_sender_does_not_keep_no_span_is_kept(
    valkey_url: str, redis: Redis, spans: Spans
) -> None:
    async with taking(valkey_url, meeting(4)):
        for number in range(4):
            await queue(redis, f"unkept{number}", tp=f"{PARENT[:-2]}00")
        await eventually(counts(redis, LANE, "done", 4))
    assert spans.all == ()


async def test_a_call_that_records_nothing_because_redis_is_away_is_a_failed_span(
    own_valkey: Callable[..., Awaitable[OwnValkey]], spans: Spans
) -> None:
    valkey, ends = await own_valkey(), asyncio.Event()

    async def wait(_: dict[str, Any], text: str) -> None:
        del text
        await ends.wait()

    async with Producer.connect(valkey.url, budget=5) as producer, taking(valkey.url, wait):
        await producer.send(Note("one"))
        async with Redis.from_url(valkey.url) as redis:
            await eventually(lambda: redis.zcard(LaneKeys(LANE).leases))
        await valkey.stop()
        ends.set()
        await eventually(lambda: spans.named("settle"))
        failed = spans.named("settle")[0]
        assert failed.status.status_code == StatusCode.ERROR
        assert attributes(failed)["error.type"]
        await valkey.start()


async def test_no_span_says_an_address_a_subject_or_what_a_server_said(
    valkey_url: str, producer: Producer, redis: Redis, smtp_sink: MailSink, spans: Spans
) -> None:
    smtp_sink.faults = SinkFaults(recipient_replies={"ana@example.com": "550 5.1.1 ana@example.com who"})
    async with delivering(valkey_url, smtp_sink):
        await producer.send(ANA, key="ana@example.com")
        with pytest.raises(ValueError, match="to:"):
            await producer.send(Mail(to="ana@@example.com", subject="Cierre secreto", text="Buenos días"))
        with pytest.raises(KeyConflict, match=r"ana@example\.com"):
            await producer.send(Note("another"), key="ana@example.com")
        await eventually(counts(redis, LANE, "dead"))
    for private in ("ana", "secreto", "Buenos", "who"):
        assert private not in spans.said()
    refused = spans.only("smtp envelope")
    assert (attributes(refused)["error.type"], attributes(refused)["momentus.smtp.code"]) == ("550", 550)
    attempt = spans.only("process")
    assert attempt.status.status_code == StatusCode.ERROR
    assert attributes(attempt)["error.type"] == "MailRefused"
    assert attributes(attempt)["messaging.momentus.outcome"] == "dead"
    failed = spans.named("send")[-2:]
    assert [attributes(span)["error.type"] for span in failed] == ["InvalidAddress", "KeyConflict"]
    for span in failed:
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)


async def test_why_shows_the_trace_of_a_job_that_has_one(
    valkey_url: str, producer: Producer, redis: Redis, spans: Spans
) -> None:
    receipt = await producer.send(Note("one"))
    _, out, _ = await run_ops("why", receipt.id, REDIS_URL=valkey_url)
    assert f"\n  trace      {trace_of(spans.only('send')):032x}" in out
    for name, damaged in DAMAGED.items():
        await queue(redis, name, tp=damaged)
        _, out, _ = await run_ops("why", f"{{mail}}{name}", REDIS_URL=valkey_url)
        assert "\n  trace" not in out


async def test_each_attempt_is_a_span_of_its_own_in_the_same_trace(
    valkey_url: str, producer: Producer, redis: Redis, spans: Spans
) -> None:
    async def fail_twice(context: dict[str, Any], text: str) -> None:
        if context["job_try"] < 3:
            raise ConnectionError(text)

    async with taking(valkey_url, fail_twice):
        await producer.send(Note("ana@example.com"))
        await eventually(counts(redis, LANE, "done"))
    sent, attempts = spans.only("send"), spans.named("process")
    assert all(is_child(attempt, sent) for attempt in attempts)
    told = [(attributes(one)["messaging.momentus.outcome"], attributes(one).get("error.type")) for one in attempts]
    assert told == [("retry", "ConnectionError"), ("retry", "ConnectionError"), ("done", None)]
    assert [attributes(one)["messaging.momentus.attempt"] for one in attempts] == [1, 2, 3]
    assert "ana@example.com" not in spans.said()


async def test_a_send_that_is_repeated_is_a_duplicate_and_the_job_stays_in_the_first_ones_trace(
    valkey_url: str, producer: Producer, redis: Redis, spans: Spans
) -> None:
    first = await producer.send(Note("one"), key="note:1")
    with trace.get_tracer("application").start_as_current_span("again"):
        again = await producer.send(Note("one"), key="note:1")
    assert (again.id, again.state) == (first.id, "duplicate")
    async with taking(valkey_url, take):
        await eventually(counts(redis, LANE, "done"))
    sent, repeated = spans.named("send")
    assert is_child(spans.only("process"), sent)
    assert attributes(repeated)["messaging.momentus.receipt"] == "duplicate"
    assert attributes(repeated)["messaging.message.id"] == first.id


async def test_many_messages_of_one_call_share_its_span(
    valkey_url: str, producer: Producer, redis: Redis, spans: Spans
) -> None:
    async with taking(valkey_url, take):
        await producer.send_many([Note(str(number)) for number in range(3)])
        await eventually(counts(redis, LANE, "done", 3))
    sent = spans.only("send")
    assert attributes(sent)["messaging.batch.message_count"] == 3
    assert [is_child(one, sent) for one in spans.named("process")] == [True] * 3


def test_a_producer_without_asyncio_writes_the_same_spans(valkey_url: str, spans: Spans) -> None:
    with SyncProducer.connect(valkey_url, budget=5) as producer:
        producer.send(Note("one"))
        producer.send_many([Note("two")])
        item = Mail(to="ana@example.com", template="task_assigned", values={"task": "a", "due": "b"})
        producer.send_digest(Digest(mail=item, template="tasks_assigned", collapse="tasks:7"))
        producer.refresh("sales")
    names = [(span.name, attributes(span).get("messaging.momentus.receipt")) for span in spans.all]
    assert names == [
        (f"send {LANE}", "queued"),
        (f"send {LANE}", None),
        (f"send {LANE}", "queued"),
        ("send reports", "queued"),
    ]


async def test_a_job_of_the_ledger_is_in_the_trace_of_the_transaction_that_staged_it(
    database: str, valkey_url: str, producer: Producer, smtp_sink: MailSink, spans: Spans
) -> None:
    async with (
        ledger_of(database) as ledger,
        run_ledger(database, valkey_url) as service,
        delivering(valkey_url, smtp_sink, ledger_marks=service.marks),
    ):
        async with ledger.transaction():
            receipt = await producer.send(ANA, level="ledger", connection=ledger)
        await eventually(lambda: ended(ledger, receipt.id), timeout=30)
    sent = spans.only("send")
    assert attributes(sent)["messaging.momentus.receipt"] == "staged"
    assert is_child(spans.only("process"), sent)
    assert trace_of(spans.only("smtp dot")) == trace_of(sent)


async def ended(ledger: "asyncpg.Connection[asyncpg.Record]", job_id: str) -> object:
    return await ledger.fetchval("SELECT state FROM momentus_ledger.ends WHERE id = $1", job_id)


async def test_a_job_of_a_stock_arq_producer_begins_a_trace_of_its_own(
    valkey_url: str, redis: Redis, spans: Spans
) -> None:
    pool = await create_pool(
        RedisSettings.from_dsn(valkey_url),
        default_queue_name=LaneKeys(LANE).queue,
        job_serializer=orjson.dumps,
        job_deserializer=orjson.loads,
    )
    async with taking(valkey_url, take):
        await pool.enqueue_job(Note.kind, _job_id="{mail}stock", text="one")
        await eventually(counts(redis, LANE, "done"))
    await pool.aclose()
    attempt = spans.only("process")
    assert (attempt.parent, attempt.links) == (None, ())


DAMAGED = {
    "text": "yesterday",
    "number": 7,
    "list": [PARENT],
    "short": PARENT[:-1],
    "long": PARENT + "0",
    "upper case": PARENT.upper(),
    "no trace": "00-" + "0" * 32 + "-b7ad6b7169203331-01",
    "no span": "00-0af7651916cd43dd8448eb211c80319c-" + "0" * 16 + "-01",
    "version ff": "ff" + PARENT[2:],
    "huge": PARENT + "-" + "x" * 10_000,
}


async def test_a_damaged_context_is_ignored_and_its_job_is_done(
    valkey_url: str, redis: Redis, spans: Spans, caplog: pytest.LogCaptureFixture
) -> None:
    async with taking(valkey_url, take):
        for name, damaged in DAMAGED.items():
            await queue(redis, name, tp=damaged)
        await queue(redis, "state", tp=PARENT, ts="ana@example.com")
        await queue(redis, "good", tp=PARENT, ts="shop=1,other@vendor=2")
        await queue(redis, "later version", tp="01" + PARENT[2:] + "-more")
        await eventually(counts(redis, LANE, "done", len(DAMAGED) + 3))
    found = {str(attributes(one)["messaging.message.id"])[6:]: one for one in spans.named("process")}
    assert {name for name, span in found.items() if span.parent is None} == DAMAGED.keys()
    for name, state in {"state": "", "good": "shop=1,other@vendor=2", "later version": ""}.items():
        parent = found[name].parent
        assert parent is not None
        assert (parent.trace_id, parent.trace_state.to_header()) == (int(PARENT[3:35], 16), state)
    assert "ana@example.com" not in caplog.text
    assert not caplog.records


async def queue(redis: Redis, name: str, **fields: object) -> None:
    """Put a note into the queue as another language might."""
    payload = {"v": 1, "f": Note.kind, "t": None, "a": [], "k": {"text": name}, "et": 0, **fields}
    await redis.set(f"arq:job:{{mail}}{name}", orjson.dumps(payload))
    await redis.zadd(LaneKeys(LANE).queue, {f"{{mail}}{name}": 1})
    await redis.lpush(LaneKeys(LANE).wake, "1")


async def test_a_job_that_is_never_run_says_so(valkey_url: str, redis: Redis, spans: Spans) -> None:
    async with taking(valkey_url, take):
        await queue(redis, "expired", tp=PARENT, x=1)
        await queue(redis, "unreadable", tp=PARENT, et="now")
        await eventually(counts(redis, LANE, "dead"))
        await eventually(counts(redis, LANE, "expired"))
    told = {
        attributes(one)["messaging.momentus.outcome"]: attributes(one).get("error.type")
        for one in spans.named("process")
    }
    assert told == {"expired": None, "dead": "_OTHER"}


async def test_a_handlers_own_spans_and_sends_are_inside_its_attempt(
    valkey_url: str, producer: Producer, redis: Redis, spans: Spans
) -> None:
    @dataclass(frozen=True)
    class Other(Note):
        lane = "mail.bulk"

    async def send_on(context: dict[str, Any], text: str) -> None:
        del context
        with trace.get_tracer("handler").start_as_current_span("work"):
            await producer.send(Other(text))
        raise GiveUp("enough")

    async with taking(valkey_url, send_on):
        await producer.send(Note("one"))
        await eventually(counts(redis, LANE, "dead"))
    first, attempt, work, on = (spans.only(name) for name in (f"send {LANE}", "process", "work", "send mail.bulk"))
    assert is_child(attempt, first)
    assert is_child(work, attempt)
    assert is_child(on, work)


async def test_one_trace_leads_from_a_change_to_the_published_set(
    database: str, valkey_url: str, spans: Spans
) -> None:
    async with shop(database, valkey_url, report()) as it:
        await it.install()
        worker = Worker(
            [handler(refresh_report, kind="report.refresh")],
            redis_url=valkey_url,
            lanes=[LaneSlots("reports", 1)],
            ctx={"refresher": it.refresher},
            handle_signals=False,
        )
        async with running(worker):
            await it.prober.probe_once()
            await eventually(lambda: it.field("1"))
            await it.order(5)
            await it.database.execute("UPDATE momentus.dirty SET at = at - interval '1 hour'")
            await eventually(lambda: probed(it))
    published = spans.named("report publish")[-1]
    chain = [span for span in spans.all if trace_of(span) == trace_of(published)]
    due, sent, attempt = (one_of(chain, name) for name in ("report due", "send reports", "process reports"))
    assert due.parent is None
    assert attributes(due) == {"momentus.board": "shop", "momentus.why": "changed"}
    assert is_child(sent, due)
    assert is_child(attempt, sent)
    assert is_child(published, attempt)
    assert attributes(published) == {"momentus.report": "sales", "momentus.report.state": "stored"}
    computed = one_of(chain, "report compute")
    assert is_child(computed, attempt)
    for step in ("report queries", "report roll-up"):
        assert is_child(one_of(chain, step), computed)
    assert due.start_time is not None
    assert sent.start_time is not None
    waited = timedelta(microseconds=(sent.start_time - due.start_time) // 1000)
    assert timedelta(hours=1) <= waited < timedelta(hours=2), "from the first mark on, by whatever clock"


async def probed(it: Any) -> bool:
    """Look once more; whether the order is in the stored set."""
    await it.prober.probe_once()
    return bool(await it.total() == 5)


def one_of(chain: list[Any], name: str) -> Any:
    (span,) = [span for span in chain if span.name == name]
    return span
