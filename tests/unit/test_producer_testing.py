"""What a test may rely on when it uses a recording producer: what is listed, what runs, and when."""

import asyncio
import doctest
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest

import producers.testing.recording
from jobs import Mail, NamedJob
from producers import InvalidRequest, KeyConflict, Producer, SyncProducer, UnknownReport
from producers.testing import RecordingProducer, SyncRecordingProducer

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def mail(subject: str, *, to: str = "ana@example.com") -> Mail:
    return Mail(to=to, subject=subject, text="Buenos días")


TASK = Mail(to="Ana@Example.COM", template="task_assigned", values={"task": "Cierre", "due": "hoy"})


class Outbox:
    """A handler that notes subjects and when they came."""

    def __init__(self) -> None:
        self.subjects: list[object] = []

    async def deliver(self, payload: dict[str, Any]) -> None:
        self.deliver_now(payload)

    def deliver_now(self, payload: dict[str, Any]) -> None:
        self.subjects.append(payload["subject"])


def test_every_example_runs() -> None:
    outcome = doctest.testmod(producers.testing.recording)
    assert (outcome.failed, outcome.attempted > 5) == (0, True)


def test_they_are_of_the_types_that_a_backend_names() -> None:
    assert issubclass(RecordingProducer, Producer)
    assert issubclass(SyncRecordingProducer, SyncProducer)


# --- What was sent


async def test_a_job_is_described_as_by_redis() -> None:
    producer = RecordingProducer(handlers={"invoice.send": Outbox().deliver}, now=START)
    waiting = await producer.send(NamedJob("note.take", {"subject": "Hola"}))
    done = await producer.send(NamedJob("invoice.send", {"subject": "Hola"}))
    found = [await producer.describe(one.id) for one in (waiting, done)]
    assert [(one.state, one.kind, one.queued_at, one.attempt) for one in found] == [
        ("waiting", "note.take", START, 0),
        ("done", "invoice.send", START, 1),
    ]
    assert found[0].payload == {"subject": "Hola"}


async def test_what_was_sent_is_listed_with_its_payload_key_and_time() -> None:
    producer = RecordingProducer(now=START)
    receipt = await producer.send(TASK, key="task:42", delay=HOUR)
    (sent,) = producer.sent
    assert (sent.id, sent.kind, sent.lane) == (receipt.id, "mail.send", "mail.normal")
    assert (sent.to, sent.template, sent.key, sent.due) == (
        "Ana@example.com",
        "task_assigned",
        "task:42",
        START + HOUR,
    )
    assert sent.payload["date"] == "Mon, 23 Nov 2026 10:00:00 +0000", "when it falls due"
    assert sent.message is TASK


async def test_a_duplicate_and_a_refusal_are_not_listed() -> None:
    producer = RecordingProducer()
    await producer.send(mail("a"), key="k")
    await producer.send(mail("a"), key="k")
    with pytest.raises(KeyConflict):
        await producer.send_many([mail("c"), mail("b")], keys=["c", "k"])
    with pytest.raises(ValueError, match="to"):
        await producer.send_many([mail("c"), mail("b", to="nobody")])
    assert [one.payload["subject"] for one in producer.sent] == ["a"]


async def test_a_job_is_found_by_each_of_its_marks_and_by_all_together() -> None:
    producer = RecordingProducer()
    await producer.send_many([TASK, mail("a"), mail("b", to="eva@example.com")], keys=["1", "2", "3"])
    await producer.refresh("sales")
    assert len(producer.assert_sent(kind="mail.send", count=3)) == 3
    producer.assert_sent(kind="report.refresh", count=1)
    producer.assert_sent(template="task_assigned", count=1)
    producer.assert_sent(to="Ana@Example.COM", count=1)
    producer.assert_sent(to="Ana@example.com", count=1)
    producer.assert_sent(key="3", to="eva@example.com", kind="mail.send", count=1)
    producer.assert_sent(to="eva@example.com", template="task_assigned", count=0)
    producer.assert_sent()


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"template": "digest"}, "wanted: at least one job with template 'digest'; found: 0 of 2 sent"),
        ({"kind": "mail.send", "count": 1}, "wanted: 1 job with kind 'mail.send'; found: 2 of 2 sent"),
        ({"count": 0}, "wanted: 0 jobs; found: 2 of 2 sent"),
    ],
)
async def test_what_was_not_sent_fails_the_test_with_a_list_of_what_was(wish: Any, words: str) -> None:
    producer = RecordingProducer()
    await producer.send_many([TASK, mail("a")], keys=["1", "2"])
    with pytest.raises(AssertionError) as failure:
        producer.assert_sent(**wish)
    assert str(failure.value).splitlines() == [
        words,
        "  mail.send in mail.normal, to 'Ana@example.com', template 'task_assigned', key '1'",
        "  mail.send in mail.normal, to 'ana@example.com', key '2'",
    ]


async def test_clearing_forgets_jobs_and_keys_and_what_waits() -> None:
    outbox = Outbox()
    producer = RecordingProducer(handlers={"mail.send": outbox.deliver}, now=START)
    await producer.send(mail("a"), key="k", delay=HOUR)
    producer.clear()
    producer.assert_sent(count=0)
    await producer.travel(DAY)
    assert outbox.subjects == []
    assert (await producer.send(mail("b"), key="k")).state == "queued"
    assert producer.now == START + DAY


# --- What runs


async def test_a_handler_runs_at_once_with_what_a_worker_would_get() -> None:
    payloads: list[dict[str, Any]] = []

    async def handle(payload: dict[str, Any]) -> None:
        payloads.append(payload)

    producer = RecordingProducer(handlers={"mail.send": handle})
    await producer.send_many([mail("a"), mail("b")])
    await producer.refresh("sales")  # recorded only
    assert [one["subject"] for one in payloads] == ["a", "b"]
    assert payloads == [one.payload for one in producer.assert_sent(kind="mail.send")]


async def test_delayed_jobs_run_in_the_order_of_their_times_when_the_clock_passes_them() -> None:
    outbox = Outbox()
    producer = RecordingProducer(handlers={"mail.send": outbox.deliver}, now=START)
    for subject, hours in (("third", 3), ("first", 1), ("second", 2), ("also second", 2)):
        await producer.send(mail(subject), delay=hours * HOUR)
    await producer.travel(HOUR - timedelta(milliseconds=1))
    assert outbox.subjects == []
    await producer.travel(timedelta(milliseconds=1))
    assert outbox.subjects == ["first"]
    await producer.travel(DAY)
    assert outbox.subjects == ["first", "second", "also second", "third"]
    assert producer.now == START + HOUR + DAY


async def test_what_a_handler_sends_on_the_way_runs_at_its_own_time() -> None:
    times: list[datetime] = []
    producer: RecordingProducer

    async def again(_payload: dict[str, Any]) -> None:
        times.append(producer.now)
        await producer.send(mail("again"), delay=HOUR)

    producer = RecordingProducer(handlers={"mail.send": again}, now=START)
    await producer.send(mail("once"))
    await producer.travel(3 * HOUR)
    assert times == [START + hours * HOUR for hours in range(4)]


async def test_what_a_handler_raises_reaches_the_test_and_the_job_does_not_run_again() -> None:
    calls: list[object] = []

    async def fail(payload: dict[str, Any]) -> None:
        calls.append(payload["subject"])
        raise LookupError("made up")

    producer = RecordingProducer(handlers={"mail.send": fail}, now=START)
    with pytest.raises(LookupError):
        await producer.send(mail("a"))
    await producer.send(mail("b"), delay=HOUR)
    with pytest.raises(LookupError):
        await producer.travel(DAY)
    assert producer.now == START + HOUR
    await producer.travel(DAY)
    assert calls == ["a", "b"]


async def test_a_key_stands_as_long_as_its_job_waits() -> None:
    producer = RecordingProducer()
    first = await producer.send(mail("a"), key="k", delay=30 * DAY)
    await producer.travel(8 * DAY)
    assert (await producer.send(mail("a"), key="k", delay=30 * DAY)).id == first.id


async def test_a_key_is_forgotten_after_seven_days() -> None:
    producer = RecordingProducer(handlers={"mail.send": lambda _: asyncio.sleep(0)})
    first = await producer.send(mail("a"), key="k")
    await producer.travel(7 * DAY - HOUR)
    assert (await producer.send(mail("a"), key="k")).id == first.id
    await producer.travel(HOUR)
    assert (await producer.send(mail("b"), key="k")).state == "queued"


async def test_a_handler_of_the_other_kind_is_refused_and_not_left_out_in_silence() -> None:
    async def deliver(_: object) -> None: ...

    with pytest.raises(
        TypeError, match=r"handlers\['mail.send'\]: must be a plain function; RecordingProducer takes"
    ):
        SyncRecordingProducer(handlers={"mail.send": deliver}).send(mail("a"))
    handlers: Any = {"mail.send": lambda _: None}
    with pytest.raises(TypeError, match=r"handlers\['mail.send'\]: must be a coroutine function"):
        await RecordingProducer(handlers=handlers).send(mail("a"))


@pytest.mark.parametrize("duration", [-HOUR, timedelta(microseconds=-1), 5])
async def test_time_does_not_go_back(duration: Any) -> None:
    producer = RecordingProducer(now=START)
    with pytest.raises(ValueError, match="duration"):
        await producer.travel(duration)
    with pytest.raises(ValueError, match="duration"):
        SyncRecordingProducer().travel(duration)
    assert producer.now == START


# --- Refreshes


async def test_a_refresh_waits_for_the_debounce_keeps_its_time_and_has_the_latest_scope() -> None:
    scopes: list[object] = []

    async def refresh(payload: dict[str, Any]) -> None:
        scopes.append(payload["scope"])

    producer = RecordingProducer(handlers={"report.refresh": refresh}, reports={"sales": HOUR}, now=START)
    await producer.refresh("sales", scope=1)
    await producer.travel(HOUR / 2)
    await producer.refresh("sales", scope=2)
    (waiting,) = producer.assert_sent(kind="report.refresh", count=1)
    assert (waiting.due, waiting.payload["scope"]) == (START + HOUR, 2)
    await producer.travel(HOUR / 2)
    assert scopes == [2]
    assert (await producer.refresh("sales", scope=3)).state == "queued"
    await producer.request_refresh("sales", scope=4, delay=timedelta(0))
    assert scopes == [2, 4]
    await producer.travel(DAY)
    assert scopes == [2, 4]


async def test_a_report_that_is_not_declared_is_refused() -> None:
    producer = RecordingProducer(reports={"sales": HOUR})
    with pytest.raises(UnknownReport):
        await producer.refresh("profits")
    assert producer.sent == []


async def test_a_refresh_asked_for_while_one_runs_follows_it() -> None:
    began, may_end = asyncio.Event(), asyncio.Event()
    scopes: list[object] = []

    async def refresh(payload: dict[str, Any]) -> None:
        scopes.append(payload["scope"])
        began.set()
        await may_end.wait()

    producer = RecordingProducer(handlers={"report.refresh": refresh})
    first = asyncio.create_task(producer.refresh("sales", scope=1))
    await began.wait()
    for scope in (2, 3):
        assert (await producer.refresh("sales", scope=scope)).state == "queued"
    assert scopes == [1]
    may_end.set()
    await first
    assert scopes == [1, 3]


# --- Without asyncio


def test_it_is_the_same_without_asyncio() -> None:
    outbox = Outbox()
    producer = SyncRecordingProducer(
        handlers={"mail.send": outbox.deliver_now}, reports={"sales": HOUR}, now=START
    )
    producer.send(mail("a"), key="k")
    producer.send(mail("later"), delay=HOUR)
    producer.send_many([mail("b"), mail("a")], keys=["l", "k"])
    assert outbox.subjects == ["a", "b"]
    producer.travel(HOUR)
    assert outbox.subjects == ["a", "b", "later"]
    producer.refresh("sales", scope=7)
    producer.assert_sent(kind="mail.send", to="ana@example.com", count=3)
    with pytest.raises(AssertionError, match=r"report\.refresh in reports"):
        producer.assert_sent(to="eva@example.com")


def test_threads_may_share_one() -> None:
    outbox = Outbox()
    producer = SyncRecordingProducer(handlers={"mail.send": outbox.deliver_now})
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: producer.send(mail("a"), key=str(number % 50)), range(400)))
    producer.assert_sent(count=50)
    assert len(outbox.subjects) == 50


@pytest.mark.parametrize("connect", [RecordingProducer.connect, SyncRecordingProducer.connect])
def test_it_can_stand_where_an_application_connects(connect: Callable[..., Any]) -> None:
    assert connect("rediss://:secret@redis.example.com:6380/2", tenant="north", budget=0.2).sent == []


async def test_a_job_for_an_instant_runs_then_and_one_past_its_deadline_never_does() -> None:
    outbox = Outbox()
    producer = RecordingProducer(handlers={"mail.send": outbox.deliver}, now=START)
    await producer.send(mail("at two"), at=START + 2 * HOUR, expires=3 * HOUR)
    await producer.send(mail("overdue"), at=START - DAY)
    late = await producer.send(mail("late"), delay=HOUR, expires=HOUR + timedelta(minutes=1), limit="customer:42")
    assert [(job.due, job.expires, job.limit) for job in producer.sent][2] == (
        START + HOUR,
        START + HOUR + timedelta(minutes=1),
        "customer:42",
    )
    producer._memory.now += 2 * HOUR  # nobody was there to take it in time
    await producer.travel(HOUR)
    assert outbox.subjects == ["overdue", "at two"]
    assert [job.id for job in producer.expired] == [late.id]


async def test_a_code_is_worth_sending_for_a_quarter_of_an_hour_from_when_it_may_go_unless_the_call_says() -> None:
    producer = RecordingProducer(now=START)
    code = Mail(to="ana@example.com", subject="Código", text="123 456", stream="code")
    await producer.send(code)
    await producer.send(code, delay=HOUR)
    await producer.send_many([code, mail("no code")], at=START + 2 * HOUR)
    await producer.send(code, expires=HOUR)
    quarter = timedelta(minutes=15)
    worth = [job.expires - START if job.expires else None for job in producer.sent]
    assert worth == [quarter, HOUR + quarter, 2 * HOUR + quarter, None, HOUR]


@pytest.mark.parametrize("life", [timedelta(0), 900, "15m"])
async def test_a_message_whose_life_cannot_be_meant_is_refused(life: Any) -> None:
    @dataclass(frozen=True)
    class Short:
        kind: ClassVar[str] = "note.take"
        life: Any
        lane: str = "mail.normal"

        def fingerprint(self) -> str:
            return "short"

        def compose(self, *, job_id: str, now: datetime) -> Mapping[str, object]:
            return {"id": job_id, "at": str(now)}

    with pytest.raises(InvalidRequest, match=r"^life: Short has"):
        await RecordingProducer(now=START).send(Short(life))


def test_what_was_taken_back_never_runs_and_is_listed() -> None:
    outbox = Outbox()
    producer = SyncRecordingProducer(handlers={"mail.send": outbox.deliver_now}, now=START)
    receipt = producer.send(mail("unwanted"), delay=DAY)
    assert producer.cancel(receipt.id) == "cancelled"
    producer.travel(2 * DAY)
    assert outbox.subjects == []
    assert [job.id for job in producer.cancelled] == [receipt.id]
    producer.clear()
    assert (producer.cancelled, producer.expired) == ([], [])


def test_a_job_that_takes_itself_back_while_it_runs_is_told_that_it_runs() -> None:
    answers = []

    def deliver(_: dict[str, Any]) -> None:
        answers.append(producer.cancel(producer.sent[0].id))

    producer = SyncRecordingProducer(handlers={"mail.send": deliver})
    producer.send(mail("running"))
    assert answers == ["stopping"]


# --- Jobs that belong to a transaction


async def test_a_job_of_a_transaction_is_recorded_at_once_and_its_receipt_says_staged() -> None:
    outbox = Outbox()
    producer = RecordingProducer(handlers={"mail.send": outbox.deliver}, now=START)
    receipt = await producer.send(mail("a"), key="a", delay=DAY, level="ledger", connection=object())
    more = await producer.send_many([mail("b"), NamedJob("note.take", {})], level="ledger", connection=object())
    assert {one.state for one in (receipt, *more)} == {"staged"}
    assert [one.id for one in producer.sent] == [receipt.id, *(one.id for one in more)]
    assert (producer.sent[0].key, producer.sent[0].due) == ("a", START + DAY)
    assert outbox.subjects == ["b"]
    await producer.travel(DAY)
    assert outbox.subjects == ["b", "a"]


def test_a_fallback_is_queued_since_memory_is_never_away() -> None:
    producer = SyncRecordingProducer()
    one = producer.send(mail("a"), key="a", level="fallback", connection=object())
    again = producer.send(mail("a"), key="a", level="fallback", connection=object())
    assert (one.state, again.state, again.id) == ("queued", "duplicate", one.id)


def test_a_key_of_a_staged_job_gives_one_job_and_other_content_is_told() -> None:
    producer = SyncRecordingProducer()
    first = producer.send(mail("a"), key="a", level="ledger", connection=object())
    producer.send(mail("a"), key="a", level="ledger", connection=object())
    assert [one.id for one in producer.sent] == [first.id]
    with pytest.raises(KeyConflict, match="'a' already identifies"):
        producer.send(mail("b"), key="a", level="ledger", connection=object())


@pytest.mark.parametrize(
    ("level", "connection"), [("ledger", None), ("fallback", None), ("redis", object()), ("row", object())]
)
async def test_levels_and_connections_are_checked_as_by_the_real_producers(level: Any, connection: object) -> None:
    producer, without_asyncio = RecordingProducer(), SyncRecordingProducer()
    with pytest.raises(InvalidRequest, match=r"level|connection"):
        await producer.send(mail("a"), level=level, connection=connection)
    with pytest.raises(InvalidRequest, match=r"level|connection"):
        without_asyncio.send(mail("a"), level=level, connection=connection)
    assert [*producer.sent, *without_asyncio.sent] == []
