"""Every kind of producer keeps the same promises: with asyncio and without, on a real server and in memory."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from jobs import InvalidAddress, Mail, MissingValue
from producers import InvalidRequest, KeyConflict, PayloadTooLarge, Producer, SyncProducer, UnknownReport
from producers.testing import RecordingProducer, SyncRecordingProducer

GENEROUS = 10.0


@dataclass(frozen=True)
class Note:
    kind: ClassVar[str] = "note.take"

    text: str
    lane: str = "mail.normal"
    payload: Mapping[str, object] = field(default_factory=dict)

    def fingerprint(self) -> str:
        return self.text

    def compose(self, *, job_id: str, now: datetime) -> Mapping[str, object]:
        del job_id, now
        return {"text": self.text, **self.payload}


class Awaited:
    """A producer of any kind, to be awaited."""

    def __init__(self, producer: Any) -> None:
        self.producer = producer

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*args: object, **options: object) -> Any:
            answer = getattr(self.producer, name)(*args, **options)
            return await answer if inspect.isawaitable(answer) else answer

        return call


@pytest_asyncio.fixture(params=[Producer, SyncProducer, RecordingProducer, SyncRecordingProducer])
async def producer(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    one = Awaited(request.param.connect(request.getfixturevalue("valkey_url"), budget=GENEROUS))
    yield one
    await one.close()


def states(receipts: list[Any]) -> list[str]:
    return [receipt.state for receipt in receipts]


async def test_a_sent_message_has_a_receipt_of_its_own(producer: Any) -> None:
    receipts = [await producer.send(Note("a")), await producer.send(Note("a", lane="mail.bulk"))]
    assert [(one.kind, one.lane, one.state) for one in receipts] == [
        ("note.take", "mail.normal", "queued"),
        ("note.take", "mail.bulk", "queued"),
    ]
    assert len({one.id for one in receipts}) == 2
    assert all(one.id.startswith("{mail}") for one in receipts)


async def test_many_messages_have_receipts_in_the_callers_order(producer: Any) -> None:
    lanes = ["mail.bulk", "mail.urgent", "reports", "mail.bulk"]
    receipts = await producer.send_many([Note(str(number), lane=lane) for number, lane in enumerate(lanes)])
    assert [receipt.lane for receipt in receipts] == lanes
    assert await producer.send_many([]) == []


async def test_the_same_key_and_content_are_one_job_in_all_lanes_of_a_group(producer: Any) -> None:
    first = await producer.send(Note("a"), key="k")
    again = await producer.send(Note("a", lane="mail.bulk"), key="k")
    elsewhere = await producer.send(Note("a", lane="reports"), key="k")
    assert (again.id, states([first, again, elsewhere])) == (first.id, ["queued", "duplicate", "queued"])


async def test_a_key_twice_in_one_call_is_one_job(producer: Any) -> None:
    receipts = await producer.send_many([Note("a"), Note("b"), Note("a")], keys=["k", "l", "k"])
    assert receipts[0].id == receipts[2].id
    assert states(receipts) == ["queued", "queued", "duplicate"]


async def test_a_key_with_other_content_is_a_conflict_and_queues_nothing(producer: Any) -> None:
    first = await producer.send(Note("a"), key="k")
    with pytest.raises(KeyConflict) as alone:
        await producer.send(Note("b"), key="k")
    assert (alone.value.key, alone.value.known_id, alone.value.index) == ("k", first.id, None)
    with pytest.raises(KeyConflict) as among:
        await producer.send_many([Note("c"), Note("d"), Note("b")], keys=["c", "d", "k"])
    assert (among.value.key, among.value.index, among.value.receipts) == ("k", 2, [])
    assert (await producer.send(Note("c"), key="c")).state == "queued"


async def test_a_conflict_in_a_later_thousand_tells_what_the_earlier_ones_queued(producer: Any) -> None:
    await producer.send(Note("x"), key="1500")
    notes = [Note(str(number)) for number in range(2001)]
    with pytest.raises(KeyConflict) as conflict:
        await producer.send_many(notes, keys=[note.text for note in notes])
    assert (conflict.value.key, conflict.value.index) == ("1500", 1500)
    again = await producer.send_many(notes[:1001], keys=[note.text for note in notes[:1001]])
    assert [receipt.id for receipt in again[:1000]] == [receipt.id for receipt in conflict.value.receipts]
    assert states(again[1000:]) == ["queued"]


async def test_messages_too_large_for_one_call_together_are_all_taken(producer: Any) -> None:
    notes = [Note(f"{number}:" + "x" * 250_000) for number in range(40)]
    assert states(await producer.send_many(notes)) == ["queued"] * 40


MAIL: Mapping[str, Any] = {"to": "ana@example.com", "subject": "Hola", "text": "Buenos días"}
REFUSED: list[tuple[Any, type[Exception]]] = [
    (Mail(**{**MAIL, "to": "Ana"}), InvalidAddress),
    (Mail(to="ana@example.com", template="task_assigned", values={"task": "Cierre"}), MissingValue),
    (Note("a", payload={"due": float("nan")}), InvalidRequest),
    (Note("a", payload={"due": b"x"}), InvalidRequest),
    (Note("x" * 256 * 1024), PayloadTooLarge),
]


@pytest.mark.parametrize(("message", "error"), REFUSED)
async def test_a_message_that_cannot_be_asked_for_queues_nothing_alone_or_among_others(
    producer: Any, message: Any, error: type[Exception]
) -> None:
    with pytest.raises(error) as alone:
        await producer.send(message)
    with pytest.raises(error) as among:
        await producer.send_many([Note("good"), message], keys=["good", "bad"])
    assert [getattr(one.value, "index", None) for one in (alone, among)] == [None, 1]
    assert (await producer.send(Note("good"), key="good")).state == "queued"


@pytest.mark.parametrize("key", ["", "x" * 513, 5, b"k"])
async def test_a_key_that_is_no_short_text_is_refused(producer: Any, key: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^key: "):
        await producer.send(Note("a"), key=key)


@pytest.mark.parametrize("delay", [timedelta(microseconds=-1), timedelta(days=367), 5, None])
async def test_a_delay_that_is_none_is_refused(producer: Any, delay: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^delay: "):
        await producer.send(Note("a"), delay=delay)


async def test_a_number_of_keys_that_is_not_that_of_messages_is_refused(producer: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^keys: 1 keys for 2 messages"):
        await producer.send_many([Note("a"), Note("b")], keys=["a"])


async def test_many_refreshes_of_a_report_are_one_recompute(producer: Any) -> None:
    receipts = [await producer.refresh("sales", scope=scope) for scope in (None, 1, 2)]
    assert {receipt.id for receipt in receipts} == {"{reports}refresh:default:sales"}
    assert states(receipts) == ["queued", "duplicate", "duplicate"]
    assert {(one.kind, one.lane) for one in receipts} == {("report.refresh", "reports")}


@pytest.mark.parametrize(("report", "scope"), [("Sales", None), (None, None), ("sales", 0), ("sales", True)])
async def test_a_refresh_of_what_cannot_be_is_refused(producer: Any, report: Any, scope: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^(report|scope): ") as refusal:
        await producer.refresh(report, scope=scope)
    assert isinstance(refusal.value, UnknownReport) == (report != "sales")


AWARE = datetime(2000, 1, 1, tzinfo=UTC)
IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"at": datetime(2030, 1, 1)}, "at"),  # noqa: DTZ001  a naive one is what is refused
    ({"at": datetime.max.replace(tzinfo=UTC)}, "at"),
    ({"at": 5}, "at"),
    ({"expires": AWARE}, "expires"),
    ({"expires": timedelta(0)}, "expires"),
    ({"expires": timedelta.max}, "expires"),
    ({"expires": timedelta(days=1), "at": datetime.now(UTC) + timedelta(days=2)}, "expires"),
    ({"limit": "two words"}, "limit"),
    ({"limit": ""}, "limit"),
]


@pytest.mark.parametrize(("terms", "named"), IMPOSSIBLE)
async def test_terms_that_cannot_be_meant_queue_nothing_alone_or_for_many(
    producer: Any, terms: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"^{named}: "):
        await producer.send(Note("a"), key="k", **terms)
    with pytest.raises(InvalidRequest, match=f"^{named}: "):
        await producer.send_many([Note("a")], keys=["k"], **terms)
    assert (await producer.send(Note("a"), key="k")).state == "queued"


async def test_a_job_for_an_instant_takes_no_delay_beside_it(producer: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^at: give either at or delay"):
        await producer.send(Note("a"), at=AWARE, delay=timedelta(seconds=1))


async def test_what_was_sent_is_taken_back_once_and_its_key_stays_taken(producer: Any) -> None:
    receipt = await producer.send(Note("a"), key="k", delay=timedelta(hours=1), expires=timedelta(hours=2))
    (later,) = await producer.send_many([Note("b")], at=AWARE, expires=timedelta(days=1), limit="customer:42")
    assert [await producer.cancel(receipt.id) for _ in range(2)] == ["cancelled", "unknown"]
    assert (await producer.send(Note("a"), key="k")).id == receipt.id
    assert await producer.cancel(later.id) == "cancelled"
    assert await producer.cancel("{elsewhere}0199") == "unknown"


@pytest.mark.parametrize("job_id", ["", "0199", "{}0199", "{mail}", None])
async def test_what_is_no_id_cannot_be_taken_back(producer: Any, job_id: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^job_id: "):
        await producer.cancel(job_id)


@pytest.mark.parametrize("version", [0, -1, True, "2", 1.5])
async def test_a_version_that_is_no_whole_number_is_refused(producer: Any, version: Any) -> None:
    note = Note("a")
    object.__setattr__(note, "version", version)
    with pytest.raises(InvalidRequest, match=r"^version: "):
        await producer.send(note)


@pytest.mark.parametrize("kind", [Producer, SyncProducer, RecordingProducer, SyncRecordingProducer])
def test_an_address_of_another_form_is_refused_without_repeating_it(kind: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^url: ") as refusal:
        kind.connect("http://user:secret@127.0.0.1")
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("one", [SyncProducer, RecordingProducer, SyncRecordingProducer])
def test_all_kinds_have_the_same_calls_with_the_same_arguments(one: Any) -> None:
    for name in ("send", "send_many", "cancel", "refresh", "request_refresh", "connect", "close"):
        ours, reference = (
            list(inspect.signature(getattr(kind, name)).parameters.values()) for kind in (one, Producer)
        )
        assert [(p.name, p.kind, p.default) for p in ours] == [(p.name, p.kind, p.default) for p in reference]


async def test_it_closes_itself_at_the_end_of_its_block(valkey_url: str) -> None:
    async with Producer.connect(valkey_url, budget=GENEROUS) as one, RecordingProducer() as two:
        await asyncio.gather(one.send(Note("a")), two.send(Note("a")))
    with SyncProducer.connect(valkey_url, budget=GENEROUS) as three, SyncRecordingProducer() as four:
        assert three.send(Note("a")).state == four.send(Note("a")).state == "queued"
