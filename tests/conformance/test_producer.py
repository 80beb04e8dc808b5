"""What a producer promises, on a real server and on fakeredis: the same scripts, the same answers."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime, parsedate_to_datetime
from typing import Any, ClassVar
from uuid import UUID

import orjson
import pytest
import pytest_asyncio
from fakeredis import FakeAsyncRedis
from redis.asyncio import Redis

from jobs import (
    BodyTooLarge,
    EmptyBody,
    InvalidAddress,
    InvalidPart,
    Mail,
    MissingValue,
    UnknownTemplate,
    UnsafeHeader,
)
from producers import InvalidRequest, KeyConflict, PayloadTooLarge, Producer, UnknownReport
from producers.envelope import read_envelope
from producers.keys import LaneKeys, catalogue

GENEROUS = 10.0
PRIVATE = "secretary"
KEYS = LaneKeys("mail.normal")
REFRESHES = LaneKeys("reports")


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


@pytest_asyncio.fixture(params=["valkey", "fakeredis"])
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    client: Redis = (
        FakeAsyncRedis(version=(7,))
        if request.param == "fakeredis"
        else Redis.from_url(request.getfixturevalue("valkey_url"))
    )
    yield client
    await client.flushall()
    await client.aclose()


@pytest.fixture
def producer(redis: Redis) -> Producer:
    return Producer(redis, budget=GENEROUS)


async def waiting(redis: Redis, keys: LaneKeys = KEYS) -> list[str]:
    """The texts of the jobs of a lane, in the order in which they will be claimed."""
    return [str(read_envelope(await payload_of(redis, job)).payload["text"]) for job in await ids(redis, keys)]


async def ids(redis: Redis, keys: LaneKeys = KEYS) -> list[str]:
    return [job.decode() for job in await redis.zrange(keys.queue, 0, -1)]


async def payload_of(redis: Redis, job_id: str) -> bytes:
    return bytes(await redis.get(f"arq:job:{job_id}"))


async def everything(redis: Redis) -> dict[bytes, object]:
    """The whole database, to see that a refused call left no trace."""
    readers: dict[bytes, Any] = {
        b"string": redis.get,
        b"hash": redis.hgetall,
        b"zset": lambda key: redis.zrange(key, 0, -1, withscores=True),
        b"list": lambda key: redis.lrange(key, 0, -1),
    }
    return {key: await readers[await redis.type(key)](key) for key in await redis.keys()}


# --- What is queued


async def test_a_sent_message_waits_with_its_payload_and_is_counted(producer: Producer, redis: Redis) -> None:
    receipt = await producer.send(Note("a"))
    assert (receipt.kind, receipt.lane, receipt.state) == ("note.take", "mail.normal", "queued")
    assert await ids(redis) == [receipt.id]
    assert receipt.id.startswith("{mail}")
    content = orjson.loads(await payload_of(redis, receipt.id))
    assert content.pop("et") == pytest.approx(await redis.zscore(KEYS.queue, receipt.id), abs=60_000)
    assert content.pop("q", None) in (None, await redis.zscore(KEYS.queue, receipt.id))
    assert content == {"v": 1, "f": "note.take", "t": None, "a": [], "k": {"text": "a"}}
    assert await redis.hgetall(KEYS.counters) == {b"accepted:mail.normal": b"1"}
    assert await redis.llen(KEYS.wake) == 1


async def test_nothing_that_waits_has_a_time_to_live(producer: Producer, redis: Redis) -> None:
    receipts = [await producer.send(Note("a"), key="k"), await producer.send(Note("b"), delay=timedelta(days=30))]
    for receipt in receipts:
        assert await redis.ttl(f"arq:job:{receipt.id}") == -1
    assert await redis.ttl(KEYS.queue) == -1


async def test_a_delayed_message_waits_that_long_by_the_servers_clock(producer: Producer, redis: Redis) -> None:
    seconds, _ = await redis.time()
    receipt = await producer.send(Note("a"), delay=timedelta(minutes=5))
    due_ms = await redis.zscore(KEYS.queue, receipt.id)
    assert due_ms / 1000 == pytest.approx(seconds + 300, abs=60)
    assert read_envelope(await payload_of(redis, receipt.id)).delay_ms == 300_000


async def test_messages_are_claimed_in_the_order_in_which_they_were_sent(producer: Producer, redis: Redis) -> None:
    texts = [str(number) for number in range(50)]
    receipts = await producer.send_many([Note(text) for text in texts])
    assert [receipt.id for receipt in receipts] == await ids(redis)
    assert await waiting(redis) == texts


async def test_one_call_may_speak_to_several_lanes_and_answers_in_the_callers_order(
    producer: Producer, redis: Redis
) -> None:
    lanes = ["mail.bulk", "mail.urgent", "reports", "mail.bulk", "mail.urgent"]
    receipts = await producer.send_many([Note(str(place), lane) for place, lane in enumerate(lanes)])
    assert [receipt.lane for receipt in receipts] == lanes
    assert await waiting(redis, LaneKeys("mail.bulk")) == ["0", "3"]
    assert await waiting(redis, LaneKeys("mail.urgent")) == ["1", "4"]
    assert await waiting(redis, REFRESHES) == ["2"]


async def test_no_messages_are_no_call(producer: Producer, redis: Redis) -> None:
    assert await producer.send_many([]) == []
    assert await everything(redis) == {}


async def test_2500_mails_are_three_calls_of_the_script(valkey_url: str) -> None:
    mail = Mail(to="ana@example.com", template="task_assigned", values={"task": "Cierre", "due": "hoy"})
    async with Producer.connect(valkey_url, budget=GENEROUS) as producer, Redis.from_url(valkey_url) as redis:
        await producer.send(mail)  # the server has the script now
        await redis.config_resetstat()
        receipts = await producer.send_many([mail] * 2500)
        calls = await redis.info("commandstats")
        assert calls["cmdstat_evalsha"]["calls"] == 3
        assert len({receipt.id for receipt in receipts}) == 2500
        assert await redis.zcard(KEYS.queue) == 2501


async def test_a_script_that_the_server_forgot_is_brought_again(producer: Producer, redis: Redis) -> None:
    await producer.send(Note("a"))
    await redis.script_flush()
    await producer.send(Note("b"))
    assert await waiting(redis) == ["a", "b"]


# --- Keys


async def test_the_same_key_and_content_give_the_same_receipt_and_one_job(
    producer: Producer, redis: Redis
) -> None:
    first = await producer.send(Note("a"), key="k")
    before = await everything(redis)
    again = await producer.send(Note("a"), key="k")
    (once_more,) = await producer.send_many([Note("a")], keys=["k"])
    assert {first.id, again.id, once_more.id} == {first.id}
    assert [receipt.state for receipt in (first, again, once_more)] == ["queued", "duplicate", "duplicate"]
    assert await everything(redis) == before


async def test_a_key_twice_in_one_call_is_one_job(producer: Producer, redis: Redis) -> None:
    receipts = await producer.send_many([Note("a"), Note("b"), Note("a")], keys=["k", "l", "k"])
    assert receipts[0].id == receipts[2].id
    assert [receipt.state for receipt in receipts] == ["queued", "queued", "duplicate"]
    assert await waiting(redis) == ["a", "b"]
    assert await redis.hget(KEYS.counters, "accepted:mail.normal") == b"2"


async def test_the_same_mail_with_the_same_key_is_one_mail_although_each_has_its_own_date(
    producer: Producer, redis: Redis
) -> None:
    asked = {"to": "ana@example.com", "template": "task_assigned"}
    one = Mail(**asked, values={"task": "Cierre", "due": "hoy"})  # type: ignore[arg-type]
    same = Mail(**asked, values={"due": "hoy", "task": "Cierre"})  # type: ignore[arg-type]
    receipts = [await producer.send(mail, key="task:42") for mail in (one, same)]
    assert receipts[0].id == receipts[1].id
    assert len(await ids(redis)) == 1


async def test_many_tasks_with_one_key_at_once_are_one_job(producer: Producer, redis: Redis) -> None:
    receipts = await asyncio.gather(*(producer.send(Note("a"), key="k") for _ in range(20)))
    assert len({receipt.id for receipt in receipts}) == 1
    assert sorted(receipt.state for receipt in receipts) == ["duplicate"] * 19 + ["queued"]
    assert await waiting(redis) == ["a"]


async def test_a_key_with_other_content_is_a_conflict_and_nothing_is_written(
    producer: Producer, redis: Redis
) -> None:
    first = await producer.send(Note("a"), key="k")
    before = await everything(redis)
    with pytest.raises(KeyConflict) as conflict:
        await producer.send(Note("b"), key="k")
    assert (conflict.value.key, conflict.value.known_id, conflict.value.index) == ("k", first.id, None)
    with pytest.raises(KeyConflict) as conflict:
        await producer.send_many([Note("c"), Note("d"), Note("b")], keys=["c", "d", "k"])
    assert (conflict.value.index, conflict.value.receipts) == (2, [])
    assert await everything(redis) == before


async def test_a_key_for_two_contents_in_one_call_is_a_conflict_and_nothing_is_written(
    producer: Producer, redis: Redis
) -> None:
    with pytest.raises(KeyConflict) as conflict:
        await producer.send_many([Note("a"), Note("b")], keys=["k", "k"])
    assert conflict.value.index == 1
    assert await everything(redis) == {}


async def test_a_conflict_in_a_later_thousand_tells_what_the_earlier_ones_queued(
    producer: Producer, redis: Redis
) -> None:
    await producer.send(Note("x"), key="1500")
    notes = [Note(str(number)) for number in range(2001)]
    with pytest.raises(KeyConflict) as conflict:
        await producer.send_many(notes, keys=[note.text for note in notes])
    assert conflict.value.index == 1500
    assert [receipt.id for receipt in conflict.value.receipts] == (await ids(redis))[1:]
    assert len(conflict.value.receipts) == 1000
    again = await producer.send_many(notes[:1000], keys=[note.text for note in notes[:1000]])
    assert [receipt.id for receipt in again] == [receipt.id for receipt in conflict.value.receipts]


async def test_a_key_is_remembered_for_seven_days_also_when_its_job_is_done(
    producer: Producer, redis: Redis
) -> None:
    receipt = await producer.send(Note("a"), key="k")
    (key,) = [name async for name in redis.scan_iter("momentus:{mail}:unique:*")]
    assert await redis.ttl(key) == -1  # its job waits
    await redis.delete(f"arq:job:{receipt.id}", KEYS.queue)
    assert (await producer.send(Note("a"), key="k")).state == "duplicate"
    assert await redis.ttl(key) == pytest.approx(7 * 86_400, abs=60)
    assert await ids(redis) == []


async def test_what_a_key_says_is_not_stored(producer: Producer, redis: Redis) -> None:
    await producer.send(Note("a"), key=f"invite:{PRIVATE}@example.com")
    assert PRIVATE not in repr(await everything(redis))


# --- Refusals

MAIL: Mapping[str, Any] = {"to": f"{PRIVATE}@example.com", "subject": PRIVATE, "text": PRIVATE}
TASK: Mapping[str, Any] = {
    "to": MAIL["to"],
    "template": "task_assigned",
    "values": {"task": PRIVATE, "due": "hoy"},
}
BAD_MAILS: list[tuple[Mail, type[ValueError], str]] = [
    (Mail(**{**MAIL, "to": f"Ana <{PRIVATE}@example.com>"}), InvalidAddress, "to"),
    (Mail(**{**MAIL, "to": f"{PRIVATE}@example.com\r\nBcc: x@example.org"}), UnsafeHeader, "to"),
    (Mail(**{**MAIL, "reply_to": PRIVATE}), InvalidAddress, "reply_to"),
    (Mail(**{**MAIL, "sender_name": f"{PRIVATE}\n"}), UnsafeHeader, "sender_name"),
    (Mail(**{**MAIL, "subject": f"{PRIVATE} =?utf-8?q?x=0ABcc:y?="}), UnsafeHeader, "subject"),
    (Mail(**{**MAIL, "subject": PRIVATE * 29}), InvalidPart, "subject"),
    (Mail(**{**MAIL, "text": f"{PRIVATE}\ud800"}), InvalidPart, "text"),
    (Mail(**{**MAIL, "text": PRIVATE * 30_000}), BodyTooLarge, "text"),
    (Mail(**{**MAIL, "text": " "}), EmptyBody, "text"),
    (Mail(**{**MAIL, "template": "digest"}), InvalidPart, "subject"),
    (Mail(**{**MAIL, "urgency": "now"}), InvalidPart, "urgency"),
    (Mail(**{**TASK, "template": "task_asigned"}), UnknownTemplate, "template"),
    (Mail(**{**TASK, "locale": "fr"}), UnknownTemplate, "locale"),
    (Mail(**{**TASK, "values": {"task": PRIVATE}}), MissingValue, "values.due"),
    (Mail(**{**TASK, "values": {"task": f"{PRIVATE}\0", "due": "hoy"}}), UnsafeHeader, "values.task"),
    (Mail(**{**TASK, "values": {"task": f"a\n{PRIVATE}", "due": "hoy"}}), UnsafeHeader, "subject"),
]


@pytest.mark.parametrize(("mail", "error", "name"), BAD_MAILS)
async def test_a_mail_that_cannot_be_sent_queues_nothing_alone_or_among_others(
    producer: Producer, redis: Redis, mail: Mail, error: type[ValueError], name: str
) -> None:
    good = Mail(**MAIL)
    with pytest.raises(error) as alone:
        await producer.send(mail, key="k")
    with pytest.raises(error) as among:
        await producer.send_many([good, good, mail, good])
    for refusal, index in ((alone.value, None), (among.value, 2)):
        assert getattr(refusal, "field") == name  # noqa: B009  only some ValueErrors have it
        assert getattr(refusal, "index") == index  # noqa: B009  only some ValueErrors have it
        assert PRIVATE not in str(refusal)
    assert await everything(redis) == {}


@pytest.mark.parametrize("value", [float("nan"), b"x", {1}, {2: "a"}, object(), 2**64, "\ud800", timedelta(1)])
async def test_a_payload_that_is_no_json_queues_nothing(producer: Producer, redis: Redis, value: object) -> None:
    bad = Note("a", payload={"due": value})
    with pytest.raises(InvalidRequest, match="payload"):
        await producer.send(bad)
    with pytest.raises(InvalidRequest) as among:
        await producer.send_many([Note("b"), bad])
    assert getattr(among.value, "index") == 1  # noqa: B009  set where it is raised
    assert await everything(redis) == {}


async def test_a_payload_over_the_limit_queues_nothing(producer: Producer, redis: Redis) -> None:
    large = Note("x" * 256 * 1024)
    with pytest.raises(PayloadTooLarge) as alone:
        await producer.send(large)
    with pytest.raises(PayloadTooLarge) as among:
        await producer.send_many([Note("a"), large])
    assert (alone.value.index, among.value.index) == (None, 1)
    assert await everything(redis) == {}


async def test_a_batch_of_large_messages_goes_in_several_calls_and_is_complete(
    producer: Producer, redis: Redis
) -> None:
    notes = [Note(f"{number}:" + "x" * 250_000) for number in range(40)]
    receipts = await producer.send_many(notes)
    assert await waiting(redis) == [note.text for note in notes]
    assert await ids(redis) == [receipt.id for receipt in receipts]


@pytest.mark.parametrize("key", ["", "x" * 513, 5, True, b"k", ("k",)])
async def test_a_key_that_is_no_short_text_queues_nothing(producer: Producer, redis: Redis, key: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^key: "):
        await producer.send(Note("a"), key=key)
    with pytest.raises(InvalidRequest, match=r"^key: ") as among:
        await producer.send_many([Note("a"), Note("b")], keys=["good", key])
    assert getattr(among.value, "index") == 1  # noqa: B009  set where it is raised
    assert await everything(redis) == {}


@pytest.mark.parametrize("key", ["k", "x" * 512, "ñ👩", "a b\r\n\0{}:*", "\ud800"])
async def test_any_other_text_is_a_key(producer: Producer, redis: Redis, key: str) -> None:
    first = await producer.send(Note("a"), key=key)
    assert (await producer.send(Note("a"), key=key)).id == first.id
    assert len(await ids(redis)) == 1


@pytest.mark.parametrize("delay", [timedelta(microseconds=-1), timedelta(days=-1), timedelta(days=367), 5, None])
async def test_a_delay_that_is_none_queues_nothing(producer: Producer, redis: Redis, delay: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^delay: "):
        await producer.send(Note("a"), delay=delay)
    assert await everything(redis) == {}


@pytest.mark.parametrize("keys", [[], ["a"], ["a", "b", "c"]])
async def test_a_number_of_keys_that_is_not_that_of_messages_queues_nothing(
    producer: Producer, redis: Redis, keys: list[str]
) -> None:
    with pytest.raises(InvalidRequest, match=rf"^keys: {len(keys)} keys for 2 messages"):
        await producer.send_many([Note("a"), Note("b")], keys=keys)
    assert await everything(redis) == {}


# --- Refreshes


@pytest_asyncio.fixture
async def declared(redis: Redis) -> None:
    await redis.hset(catalogue("default"), "sales", '{"title": "Ventas", "debounce_ms": 60000}')


@pytest.mark.usefixtures("declared")
@pytest.mark.parametrize(
    "report", ["profits", "", "Sales", "a b", "sales\n", "x" * 65, "ñ", "\ud800", None, 5, b"sales"]
)
async def test_a_refresh_of_an_unknown_report_queues_nothing(
    producer: Producer, redis: Redis, report: Any
) -> None:
    before = await everything(redis)
    with pytest.raises(UnknownReport, match=r"^report: "):
        await producer.refresh(report)
    assert await everything(redis) == before


@pytest.mark.usefixtures("declared")
@pytest.mark.parametrize("scope", [0, -1, 2**63, True, "", "a/b", "_meta", 1.0, [1]])
async def test_a_refresh_of_a_scope_that_is_no_id_queues_nothing(
    producer: Producer, redis: Redis, scope: Any
) -> None:
    before = await everything(redis)
    with pytest.raises(InvalidRequest, match=r"^scope: "):
        await producer.refresh("sales", scope=scope)
    assert await everything(redis) == before


@pytest.mark.usefixtures("declared")
async def test_many_refreshes_are_one_recompute_after_the_reports_debounce(
    producer: Producer, redis: Redis
) -> None:
    receipts = [await producer.refresh("sales", scope=scope) for scope in (None, 1, UUID(int=1))]
    (job_id,) = await ids(redis, REFRESHES)
    assert {receipt.id for receipt in receipts} == {job_id} == {"{reports}refresh:default:sales"}
    assert [receipt.state for receipt in receipts] == ["queued", "duplicate", "duplicate"]
    latest = {"tenant": "default", "report": "sales", "scope": str(UUID(int=1))}
    assert read_envelope(await payload_of(redis, job_id)).payload == latest
    seconds, _ = await redis.time()
    assert await redis.zscore(REFRESHES.queue, job_id) / 1000 == pytest.approx(seconds + 60, abs=30)
    assert await redis.hget(REFRESHES.counters, "accepted:reports") == b"1"


@pytest.mark.usefixtures("declared")
async def test_a_waiting_refresh_keeps_the_earlier_time(producer: Producer, redis: Redis) -> None:
    await producer.request_refresh("sales", scope=None, delay=timedelta(minutes=1))
    (early,) = await redis.zrange(REFRESHES.queue, 0, -1, withscores=True)
    await producer.request_refresh("sales", scope=None, delay=timedelta(hours=1))
    assert await redis.zrange(REFRESHES.queue, 0, -1, withscores=True) == [early]
    await producer.request_refresh("sales", scope=None, delay=timedelta(0))
    assert await redis.zscore(REFRESHES.queue, early[0]) < early[1]


@pytest.mark.usefixtures("declared")
async def test_a_refresh_asked_for_while_one_runs_is_not_absorbed_by_it(producer: Producer, redis: Redis) -> None:
    first = await producer.refresh("sales")
    await redis.zadd(REFRESHES.leases, {first.id: 1})
    running = await payload_of(redis, first.id)
    again = [await producer.refresh("sales", scope=scope) for scope in (7, 8)]
    assert {receipt.id for receipt in again} == {first.id}
    assert await payload_of(redis, first.id) == running
    due, _, payload = (await redis.hget(REFRESHES.next, first.id)).partition(b" ")
    assert read_envelope(payload).payload == {"tenant": "default", "report": "sales", "scope": 8}
    assert int(due) > 0


async def test_before_any_worker_has_declared_its_reports_every_name_may_be_right(
    producer: Producer, redis: Redis
) -> None:
    await producer.refresh("sales")
    assert await ids(redis, REFRESHES) == ["{reports}refresh:default:sales"]


async def test_each_tenant_has_refreshes_of_its_own(redis: Redis) -> None:
    for tenant in ("north", "south"):
        await Producer(redis, tenant=tenant, budget=GENEROUS).refresh("sales")
    assert sorted(await ids(redis, REFRESHES)) == ["{reports}refresh:north:sales", "{reports}refresh:south:sales"]


def rfc5322(moment: datetime) -> str:
    return format_datetime(moment.astimezone(UTC))


async def dates(redis: Redis) -> list[datetime]:
    found = [read_envelope(await payload_of(redis, job)).payload["date"] for job in await ids(redis)]
    return [parsedate_to_datetime(str(one)) for one in found]


async def test_the_date_of_a_scheduled_mail_is_when_it_falls_due(producer: Producer, redis: Redis) -> None:
    mail = Mail(to="ana@example.com", subject="x", text="x")
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(days=9)
    await producer.send(mail, at=due)
    await producer.send_many([mail, mail], at=due.astimezone(timezone(timedelta(hours=-5))))
    assert await dates(redis) == [due, due, due]
    await redis.flushall()
    before = datetime.now(UTC).replace(microsecond=0)
    await producer.send(mail, delay=timedelta(days=9))
    (date,) = await dates(redis)
    assert before <= date - timedelta(days=9) <= datetime.now(UTC)


async def test_the_date_of_a_mail_that_goes_at_once_or_was_due_long_ago_is_that_of_the_call(
    producer: Producer, redis: Redis
) -> None:
    mail, before = Mail(to="ana@example.com", subject="x", text="x"), datetime.now(UTC).replace(microsecond=0)
    await producer.send(mail)
    await producer.send(mail, at=before - timedelta(days=2))
    assert all(before <= date <= datetime.now(UTC) for date in await dates(redis))


@dataclass(frozen=True)
class Dated(Note):
    dated: ClassVar[str] = "due"

    def compose(self, *, job_id: str, now: datetime) -> Mapping[str, object]:
        del job_id
        return {"text": rfc5322(now)}


@dataclass(frozen=True)
class Undated(Dated):
    dated: ClassVar[str] = "call"


async def test_a_message_of_ones_own_is_told_when_it_falls_due_if_it_asks(
    producer: Producer, redis: Redis
) -> None:
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(days=9)
    await producer.send(Dated("x"), at=due)
    await producer.send(Undated("x"), at=due)
    told = await waiting(redis)
    assert told.count(rfc5322(due)) == 1
    assert len(told) == 2
