"""Jobs staged in Postgres reach Redis once, their ends come back, and what Redis loses is queued again."""

import asyncio
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import orjson
import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from jobs import Job, Policy, Run, handles
from ledger.recording_lock import may_record
from ledger.schema import AHEAD
from ops.jobs.operations import cancel_job, discard_job
from producers.envelope import write_envelope
from producers.keys import LaneKeys
from tests.ledgers import ledger_of
from tests.notes import LANE, Note, running
from tests.own_postgres import crash, own_postgres
from tests.own_worker import of_functions, working as own_working
from tests.pooler import PGBOUNCER, pooler
from tests.support import OwnValkey, eventually
from tests.topologies import client_of
from worker.engine import LaneSlots, TryLater, Worker
from worker.engine.attempt import Effect
from worker.engine.effect_marks import EarlierEffect, JobHasEnded, LedgerRefusal
from worker.engine.handler import handler
from worker.engine.lane import Claim
from worker.ledger.links import GroupLinks, RedisSilent
from worker.ledger.marks import LedgerMarks
from worker.ledger.outage import FAULTS
from worker.ledger.reconcile import Reconciler
from worker.ledger.recorder import EndRecorder
from worker.ledger.relay import Relay
from worker.ledger.service import run_ledger
from worker.ledger.tables_postgres import LedgerTables

pytestmark = pytest.mark.ledger_is_there

OwnServer = Callable[..., Awaitable[OwnValkey]]
EPOCH = date(1970, 1, 1)
KEYS = LaneKeys(LANE)
STAGE = "SELECT momentus_ledger.stage('note.take', $1::jsonb, 'mail.normal', key => $2)"


@dataclass(frozen=True, slots=True)
class Ledger:
    """A ledger, and the parts of a worker that serve it."""

    connection: asyncpg.Connection
    redis: Redis
    tables: LedgerTables
    relay: Relay
    recorder: EndRecorder
    reconciler: Reconciler

    async def stage(self, text: str = "a", key: str | None = None) -> str:
        return str(await self.connection.fetchval(STAGE, orjson.dumps({"text": text}).decode(), key))

    async def ends(self) -> dict[str, tuple[str, str]]:
        found = await self.connection.fetch("SELECT id, state, reply FROM momentus_ledger.ends")
        return {row["id"]: (row["state"], row["reply"]) for row in found}

    async def pending(self) -> set[str]:
        return {row["id"] for row in await self.connection.fetch("SELECT id FROM momentus_ledger.pending")}

    async def queued(self) -> list[str]:
        return [job_id.decode() for job_id in await self.redis.zrange(KEYS.queue, 0, -1)]


@asynccontextmanager
async def serving(dsn: str, url: str, connection: asyncpg.Connection, redis: Redis) -> AsyncIterator[Ledger]:
    tables, links = LedgerTables(dsn), GroupLinks(url)
    parts = Relay(tables, links), EndRecorder(tables, links), Reconciler(tables, links)
    try:
        yield Ledger(connection, redis, tables, *parts)
    finally:
        await links.close()
        await tables.close()


@pytest.fixture
async def ledger(database: str, valkey_url: str, redis: Redis) -> AsyncIterator[Ledger]:
    async with ledger_of(database) as connection, serving(database, valkey_url, connection, redis) as made:
        yield made


async def done(_: dict[str, Any], text: str) -> dict[str, str]:
    return {"reply": text}


@asynccontextmanager
async def working(url: str, take: Callable[..., Any] = done, **options: Any) -> AsyncIterator[Worker]:
    worker = Worker([handler(take, kind=Note.kind)], redis_url=url, lanes=[LaneSlots(LANE, 4)], **options)
    async with running(worker):
        yield worker


# The relay


async def test_a_committed_job_is_queued_once_and_one_that_was_rolled_back_never(ledger: Ledger) -> None:
    async with ledger.connection.transaction():
        kept = await ledger.stage("kept")
    rolled_back = ledger.connection.transaction()
    await rolled_back.start()
    await ledger.stage("rolled back")
    await rolled_back.rollback()
    assert await ledger.relay.move_batch() == 1
    assert await ledger.relay.move_batch() == 0
    assert await ledger.queued() == [kept]
    assert not await ledger.pending()
    assert await ledger.redis.hlen(KEYS.ledger) == 1


async def test_a_job_is_queued_with_what_its_row_says(ledger: Ledger) -> None:
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(days=200)
    staging = STAGE.replace("key => $2", "'k', $2, limit_key => 'account:a'")
    job_id = await ledger.connection.fetchval(staging, '{"text": "a"}', due)
    await ledger.relay.move_batch()
    assert await ledger.redis.zscore(KEYS.queue, job_id) == due.timestamp() * 1000
    assert await ledger.redis.hget(KEYS.limited, job_id) == b"account:a"
    assert await ledger.redis.hexists(KEYS.keyed, job_id)
    envelope = orjson.loads(await ledger.redis.get(f"arq:job:{job_id}"))
    today = (datetime.now(UTC).date() - date(1970, 1, 1)).days
    assert (envelope["f"], envelope["k"], envelope["l"]) == ("note.take", {"text": "a"}, today)


async def test_jobs_of_several_days_are_queued_by_one_batch(ledger: Ledger) -> None:
    earlier, today = await ledger.stage("earlier"), await ledger.stage("today")
    for table in ("jobs", "pending"):
        moving = f"UPDATE momentus_ledger.{table} SET day = day - 1 WHERE id = $1"  # noqa: S608  ours
        await ledger.connection.execute(moving, earlier)
    assert await ledger.relay.move_batch() == 2
    days = {job_id: int(await ledger.redis.hget(KEYS.ledger, job_id)) for job_id in await ledger.queued()}
    assert days == {earlier: await _today(ledger) - 1, today: await _today(ledger)}
    assert not await ledger.ends()


async def test_a_relay_that_died_between_its_push_and_its_commit_queues_nothing_twice(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = await ledger.stage()

    async def die(*_: object) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as patched:
        patched.setattr("worker.ledger.relay.remove_pending", die)
        with pytest.raises(ConnectionResetError):
            await ledger.relay.move_batch()
    assert (await ledger.queued(), await ledger.pending()) == ([job_id], {job_id})
    await cancel_job(ledger.redis, job_id)  # it even ends, and its end is recorded, before the next relay comes
    assert await ledger.recorder.record_all() == 1
    assert await ledger.relay.move_batch() == 0
    assert await ledger.queued() == []
    assert not await ledger.pending()


async def test_a_job_that_has_ended_is_not_pushed_though_it_is_pending(ledger: Ledger) -> None:
    job_id = await ledger.stage()
    day = await ledger.connection.fetchval("SELECT day FROM momentus_ledger.jobs")
    await ledger.connection.execute("INSERT INTO momentus_ledger.ends VALUES ($1, $2, 'done')", day, job_id)
    assert await ledger.relay.move_batch() == 1
    assert not await ledger.queued()
    assert not await ledger.pending()


async def test_an_end_is_not_forgotten_while_a_relay_has_the_row(ledger: Ledger) -> None:
    job_id = await ledger.stage()
    await ledger.relay.move_batch()
    await cancel_job(ledger.redis, job_id)
    day = await ledger.connection.fetchval("SELECT day FROM momentus_ledger.jobs")
    await ledger.connection.execute("INSERT INTO momentus_ledger.pending VALUES ($1, $2)", job_id, day)
    async with ledger.connection.transaction():
        await ledger.connection.execute("SELECT FROM momentus_ledger.pending FOR UPDATE")  # as a relay does
        recording = asyncio.create_task(ledger.recorder.record_all())
        await eventually(lambda: _waits_for_a_lock(ledger.connection))
        assert await ledger.redis.hexists(KEYS.ended, job_id)
    await recording
    assert not await ledger.redis.hlen(KEYS.ended)
    assert (await ledger.ends())[job_id][0] == "cancelled"


async def _waits_for_a_lock(connection: asyncpg.Connection) -> bool:
    return bool(await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))


async def test_several_relays_at_once_queue_each_job_once(database: str, valkey_url: str, ledger: Ledger) -> None:
    staged = {await ledger.stage(str(number)) for number in range(100)}
    relays = [serving(database, valkey_url, ledger.connection, ledger.redis) for _ in range(3)]
    others = [await one.__aenter__() for one in relays]
    await asyncio.gather(*(one.relay.move_batch() for one in (ledger, *others)))
    for one in relays:
        await one.__aexit__(None, None, None)
    assert set(await ledger.queued()) == staged
    assert not await ledger.pending()


async def test_a_row_before_the_place_of_a_slow_read_is_found_a_little_later(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.ledger.pending_scan._SLOW_SECONDS", -1)
    first = await ledger.stage("first")
    async with ledger.connection.transaction():
        await ledger.connection.execute("SELECT FROM momentus_ledger.pending FOR UPDATE")  # as another relay does
        second = await _staged_elsewhere(ledger)
        assert await ledger.relay.move_batch() == 1
    assert await ledger.queued() == [second]
    await eventually(ledger.relay.move_batch)
    assert set(await ledger.queued()) == {first, second}


async def _staged_elsewhere(ledger: Ledger) -> str:
    async with ledger.tables.transaction() as connection:
        return str(await connection.fetchval(STAGE, '{"text": "second"}', None))


async def test_the_second_job_of_a_key_ends_as_a_duplicate_that_names_the_first(ledger: Ledger) -> None:
    first, second = await ledger.stage("a", "k"), await ledger.stage("a", "k")
    other = await ledger.stage("b", "k")
    await ledger.relay.move_batch()
    assert await ledger.queued() == [first]
    ends = await ledger.ends()
    assert ends[second] == ("duplicate", first)
    assert ends[other][0] == "quarantined"
    assert first in ends[other][1]


async def test_a_key_that_holds_something_else_in_redis_sets_its_own_job_aside(ledger: Ledger) -> None:
    first, bad, last = await ledger.stage("first"), await ledger.stage("bad", "k"), await ledger.stage("last", "x")
    name = f"momentus:{{mail}}:unique:{hashlib.sha256(b'k').hexdigest()}"
    await ledger.redis.hset(name, "not", "a key")
    await ledger.relay.move_batch()
    assert await ledger.queued() == [first, last]
    state, reason = (await ledger.ends())[bad]
    assert (state, name in reason) == ("quarantined", True)


BAD_ROWS = {
    "payload": ("payload", b"no json"),
    "payload that is no envelope": ("payload", b"[]"),
    "payload of many bytes": (
        "payload",
        b'{"v":1,"f":"note.take","a":[],"k":{"t":"' + 300_000 * b"a" + b'"},"et":0}',
    ),
    "pickle": ("payload", b"\x80\x04K\x01."),
    "lane": ("lane", "mail.normal\nx"),
    "id": ("id", "{jobs}a"),
    "key": ("key", "a key"),
    "lane without workers": ("lane", "mail"),
    "lane of reports": ("lane", "reports"),
    "due time": ("due_at: must be from 0001-01-01 to 9999-12-31", datetime.max.replace(tzinfo=UTC)),
    "infinite due time": ("due_at: must be from 0001-01-01 to 9999-12-31", "infinity"),
    "deadline": ("expires_at: must be from 1970-01-01 to 9999-12-31", datetime(1969, 12, 30, tzinfo=UTC)),
    "infinite deadline": ("expires_at: must be from 1970-01-01 to 9999-12-31", "infinity"),
}


@pytest.mark.parametrize("fault", BAD_ROWS)
async def test_a_bad_row_is_set_aside_with_its_reason_and_stops_nothing(ledger: Ledger, fault: str) -> None:
    reason, value = BAD_ROWS[fault]
    column = reason.partition(":")[0]
    good = await ledger.stage("good")
    bad = await ledger.stage("bad")
    sql = f"UPDATE momentus_ledger.jobs SET {column} = $2 WHERE id = $1"  # noqa: S608  ours
    if value == "infinity":
        sql, value = sql.replace("$2", "'infinity'"), None
    await ledger.connection.execute(sql, bad, *([] if value is None else [value]))
    if column == "id":
        await ledger.connection.execute("UPDATE momentus_ledger.pending SET id = $2 WHERE id = $1", bad, value)
        bad = str(value)
    await ledger.relay.move_batch()
    assert await ledger.queued() == [good]
    assert not await ledger.pending()
    state, told = (await ledger.ends())[bad]
    assert state == "quarantined"
    assert reason in told


@pytest.mark.parametrize("day", ["2026-01-01", "1969-12-31", "10000-01-01", "infinity"])
async def test_a_pending_row_without_a_job_is_set_aside(ledger: Ledger, day: str) -> None:
    row = f"('{{mail}}x', '{day}')"
    await ledger.connection.execute(f"INSERT INTO momentus_ledger.pending VALUES {row}")  # noqa: S608  ours
    good = await ledger.stage()
    await ledger.relay.move_batch()
    assert await ledger.queued() == [good]
    state, reason = (await ledger.ends())["{mail}x"]
    assert state == "quarantined"
    assert reason.startswith("id: " if day == "2026-01-01" else "day: must be from 1970-01-01 to 9999-12-31")


async def test_a_lane_with_a_wrong_key_keeps_its_rows_and_the_others_go_on(ledger: Ledger) -> None:
    stuck = await ledger.stage("stuck")
    await ledger.redis.set(KEYS.queue, "not a queue")
    urgent = await ledger.connection.fetchval(
        "SELECT momentus_ledger.stage('note.take', '{\"text\": \"a\"}', 'mail.urgent')"
    )
    await ledger.relay.move_batch()
    assert await ledger.pending() == {stuck}
    assert await ledger.redis.zrange(LaneKeys("mail.urgent").queue, 0, -1) == [urgent.encode()]


@pytest.mark.parametrize(("rest", "reads"), [(600, 5), (0, 10)])
async def test_a_lane_with_a_wrong_key_keeps_no_other_lane_waiting_however_many_rows_it_has(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, rest: int, reads: int
) -> None:
    monkeypatch.setattr("worker.ledger.relay.BATCH", 5)
    monkeypatch.setattr("worker.ledger.relay._LANE_REST", rest)
    monkeypatch.setattr("worker.ledger.pending_scan._SLOW_SECONDS", 600)
    stuck = [await ledger.stage(f"stuck {number}") for number in range(23)]
    await ledger.redis.set(KEYS.queue, "not a queue")
    urgent = await ledger.connection.fetchval(
        "SELECT momentus_ledger.stage('note.take', '{\"text\": \"a\"}', 'mail.urgent')"
    )
    for _ in range(reads):  # of 24 rows
        await ledger.relay.move_batch()
    assert await ledger.redis.zrange(LaneKeys("mail.urgent").queue, 0, -1) == [urgent.encode()]
    assert await ledger.pending() == set(stuck)


async def test_of_rows_that_stay_none_is_read_again_while_their_lane_rests(ledger: Ledger) -> None:
    stuck = [await ledger.stage(f"stuck {number}") for number in range(3)]
    await ledger.redis.set(KEYS.queue, "not a queue")
    await ledger.relay.move_batch()
    later = await ledger.connection.fetchval(
        "SELECT momentus_ledger.stage('note.take', '{\"text\": \"b\"}', 'mail.urgent')"
    )
    assert await ledger.relay.move_batch() == 1
    assert await ledger.redis.zscore(LaneKeys("mail.urgent").queue, later)
    assert await ledger.pending() == set(stuck)


async def test_a_lane_that_was_repaired_gets_its_rows_though_the_read_had_passed_over_them(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.ledger.relay.BATCH", 5)
    monkeypatch.setattr("worker.ledger.relay._LANE_REST", 0.05)
    stuck = [await ledger.stage(f"stuck {number}") for number in range(12)]
    await ledger.redis.set(KEYS.queue, "not a queue")
    for _ in range(3):
        await ledger.relay.move_batch()
    await ledger.redis.delete(KEYS.queue)

    async def nothing_is_pending() -> bool:
        await ledger.relay.move_batch()
        return not await ledger.pending()

    await eventually(nothing_is_pending)
    assert set(await ledger.queued()) == set(stuck)


@pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not on this machine")
async def test_all_parts_work_through_a_pooler_in_transaction_mode(
    database: str, valkey_url: str, redis: Redis
) -> None:
    async with (
        ledger_of(database) as connection,
        pooler(database) as pooled,
        serving(pooled, valkey_url, connection, redis) as ledger,
    ):
        job_ids = [await ledger.stage(str(number)) for number in range(3)]
        await ledger.relay.move_batch()
        assert await ledger.queued() == job_ids
        for job_id in job_ids:
            await LedgerMarks(ledger.tables).store(20786, job_id, 1, "primary")
        await discard_job(redis, job_ids[0])
        assert await ledger.recorder.record_all() == 1
        await redis.flushall()
        assert await ledger.reconciler.return_lost() == 2
        await ledger.relay.move_batch()
        assert await ledger.queued() == job_ids[1:]


# The ends


async def test_an_end_is_written_once_and_then_forgotten_by_redis(valkey_url: str, ledger: Ledger) -> None:
    job_id = await ledger.stage("250 queued")
    await ledger.relay.move_batch()
    async with working(valkey_url):
        await eventually(lambda: ledger.redis.hlen(KEYS.ended))
    assert await ledger.recorder.record_all() == 1
    assert await ledger.recorder.record_all() == 0
    assert await ledger.ends() == {job_id: ("done", "250 queued")}
    assert not await ledger.redis.hlen(KEYS.ended)


async def test_a_later_end_replaces_the_former_and_an_earlier_one_does_not(ledger: Ledger) -> None:
    job_id = await ledger.stage()
    for at_ms, state in ((5, "dead"), (9, "done"), (7, "cancelled")):
        end = {"day": 20786, "state": state, "attempt": 1, "at_ms": at_ms}
        await ledger.redis.hset(KEYS.ended, job_id, orjson.dumps(end).decode())
        await ledger.recorder.record_all()
    assert (await ledger.ends())[job_id][0] == "done"


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("{mail}x", "not an end"),
        *(("{mail}x", text) for text in ("[]", "7", "null", "{}", '{"day":20786,"state":"done"}')),
        ("{mail}x", '{"day":1e999,"state":"done","at_ms":5}'),
        ("{mail}x", '{"day":20786,"state":"done","at_ms":1e999}'),
        ("{mail}x", '{"day":20786,"state":"done","at_ms":5,"attempt":1e999}'),
        ("{mail}x", f'{{"day":{"9" * 400},"state":"done","at_ms":5}}'),
        *((field, '{"day":20786,"state":"done","at_ms":5}') for field in ("x", "{mail}", "{mail}a\0b", "\udcff")),
    ],
)
async def test_what_no_script_noted_stays_and_stops_nothing(ledger: Ledger, field: str, text: str) -> None:
    job_id = await ledger.stage()
    await ledger.relay.move_batch()
    await cancel_job(ledger.redis, job_id)
    name = field.encode("utf-8", "surrogateescape")
    await ledger.redis.hset(KEYS.ended, mapping={name: text})
    assert await ledger.recorder.record_all() == 1
    assert set(await ledger.ends()) == {job_id}
    assert await ledger.redis.hkeys(KEYS.ended) == [name]


# What Redis lost


async def test_what_redis_lost_is_pushed_again_and_what_it_knows_is_not(ledger: Ledger) -> None:
    lost, known = await ledger.stage("lost"), await ledger.stage("known")
    ended, unrecorded = await ledger.stage("ended"), await ledger.stage("unrecorded")
    await ledger.relay.move_batch()
    await cancel_job(ledger.redis, ended)
    await ledger.recorder.record_all()
    await cancel_job(ledger.redis, unrecorded)
    waiting = await ledger.stage("waiting")
    await ledger.redis.zrem(KEYS.queue, lost)
    await ledger.redis.delete(f"arq:job:{lost}")
    await ledger.redis.hdel(KEYS.ledger, lost)
    assert await ledger.reconciler.return_lost() == 1
    assert await ledger.pending() == {lost, waiting}
    await ledger.relay.move_batch()
    assert set(await ledger.queued()) == {lost, known, waiting}


@asynccontextmanager
async def apart(database: str, own_valkey: OwnServer) -> AsyncIterator[tuple[Ledger, Ledger]]:
    """Two primaries of one ledger, each with a worker that has searched; a job that was handed to the second."""
    first, second = await own_valkey(), await own_valkey()
    async with (
        ledger_of(database) as connection,
        Redis.from_url(first.url) as redis_of_first,
        Redis.from_url(second.url) as redis_of_second,
        serving(database, first.url, connection, redis_of_first) as with_first,
        serving(database, second.url, connection, redis_of_second) as with_second,
    ):
        for one in (with_first, with_second):
            await one.reconciler._look()
        await connection.fetchval(STAGE, '{"text": "a"}', None)
        await with_second.relay.move_batch()
        for one in (with_first, with_second):
            await one.reconciler._look()
        assert not await with_first.pending()
        await redis_of_second.replicaof("127.0.0.1", str(first.port))
        yield with_first, with_second


async def test_what_an_isolated_primary_got_comes_back_once_it_follows_this_one(
    database: str, own_valkey: OwnServer
) -> None:
    async with apart(database, own_valkey) as (with_first, _):

        async def look() -> set[str]:
            await with_first.reconciler._look()
            return await with_first.pending()

        (job_id,) = await eventually(look)
        await with_first.relay.move_batch()
        assert await with_first.queued() == [job_id]


async def test_what_an_isolated_primary_got_comes_back_by_its_own_worker_when_it_follows_another(
    database: str, own_valkey: OwnServer
) -> None:
    async with apart(database, own_valkey) as (with_first, with_second):

        async def look() -> set[str]:
            with suppress(*FAULTS):  # it is loading the other's data
                await with_second.reconciler._look()
            return await with_second.pending()

        (job_id,) = await eventually(look)
        await with_first.relay.move_batch()
        assert await with_first.queued() == [job_id]


async def test_a_replica_that_is_gone_starts_no_search(database: str, own_valkey: OwnServer) -> None:
    async with apart(database, own_valkey) as (with_first, with_second):
        await eventually(lambda: _replicas_of(with_first))
        await with_first.reconciler._look()
        await with_first.relay.move_batch()
        await with_first.redis.flushall()
        await with_first.reconciler._look()
        await with_second.redis.replicaof("NO", "ONE")
        while await _replicas_of(with_first):
            await with_first.reconciler._look()
        await with_first.reconciler._look()
        assert not await with_first.pending()


async def _replicas_of(ledger: Ledger) -> list[Any]:
    _, _, replicas = await ledger.redis.role()
    return list(replicas)


async def test_a_search_waits_until_an_end_is_recorded(ledger: Ledger) -> None:
    job_id = await ledger.stage()
    await ledger.relay.move_batch()
    day = await ledger.connection.fetchval("SELECT day FROM momentus_ledger.jobs")
    async with ledger.connection.transaction():  # as a recorder does, which has not committed
        assert await may_record(ledger.connection)
        await ledger.connection.execute("INSERT INTO momentus_ledger.ends VALUES ($1, $2, 'done')", day, job_id)
        searching = asyncio.create_task(ledger.reconciler.return_lost())
        await eventually(lambda: _waits_for_a_lock(ledger.connection))
    await ledger.redis.delete(KEYS.ledger)  # what it recorded is forgotten by Redis
    assert await searching == 0


async def test_a_mail_whose_effect_had_begun_comes_back_as_uncertain(valkey_url: str, ledger: Ledger) -> None:
    begun, plain = await ledger.stage("begun"), await ledger.stage("plain")
    await ledger.relay.move_batch()
    day = await _today(ledger)
    for attempt in (1, 2):
        await LedgerMarks(ledger.tables).store(day, begun, attempt, "primary", counted=attempt - 1)
    await ledger.redis.flushall()
    assert await ledger.reconciler.return_lost() == 2
    await ledger.relay.move_batch()
    seen: dict[str, tuple[int, int]] = {}

    async def take(context: dict[str, Any], text: str) -> None:
        seen[text] = (context["job_try"], context["unknown_effect"])

    async with working(valkey_url, take):
        await eventually(lambda: len(seen) == 2)
    assert seen == {"begun": (3, 2), "plain": (1, 0)}
    assert int(await ledger.redis.hget(KEYS.counters, f"uncertain:{LANE}")) == 1
    assert plain != begun


async def _stage_unheard(ledger: Ledger) -> str:
    """Redis has a job whose reply the producer did not hear, so that there is a row, which no relay has seen."""
    job_id = await ledger.stage("a")
    await ledger.relay.move_batch()
    await ledger.redis.hdel(KEYS.ledger, job_id)
    now_ms = time.time_ns() // 1_000_000  # a job of long ago is tried no more
    envelope = write_envelope(Note.kind, {"text": "a"}, enqueued_ms=now_ms)
    await ledger.redis.set(f"arq:job:{job_id}", envelope)
    await ledger.connection.execute(
        "INSERT INTO momentus_ledger.pending (id, day) SELECT id, day FROM momentus_ledger.jobs"
    )
    return job_id


@dataclass(slots=True)
class PausedAttempts:
    """A handler whose first attempt waits before and behind its mark; what each was told."""

    seen: list[tuple[int, int]] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    may_begin: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None

    async def take(self, context: dict[str, Any], text: str) -> None:
        del text
        self.seen.append((context["job_try"], context["unknown_effect"]))
        await self.may_begin.wait()
        assert await context["begin_effect"]("primary")
        self.begun.set()
        await self.may_end.wait()
        if self.error and len(self.seen) == 1:
            raise self.error


async def _marks(ledger: Ledger) -> list[tuple[int, str]]:
    found = await ledger.connection.fetch("SELECT attempt, note FROM momentus_ledger.effects ORDER BY attempt")
    return [tuple(row) for row in found]


@pytest.mark.parametrize("first", ["mark", "row"])
async def test_a_job_that_ran_before_its_row_was_seen_does_not_run_again_in_silence(
    valkey_url: str, ledger: Ledger, first: str
) -> None:
    await _stage_unheard(ledger)
    it = PausedAttempts()
    async with working(valkey_url, it.take, ledger_marks=LedgerMarks(ledger.tables)):
        await eventually(lambda: it.seen)
        if first == "mark":
            it.may_begin.set()
            await it.begun.wait()
        await ledger.relay.move_batch()
        it.may_begin.set()
        await it.begun.wait()
        assert await _marks(ledger) == [(1, "primary")]
        await ledger.redis.flushall()
        it.may_end.set()
        assert await ledger.reconciler.return_lost() == 1
        await ledger.relay.move_batch()
        await eventually(lambda: len(it.seen) == 2)
    assert it.seen == [(1, 0), (2, 1)]


async def test_a_job_whose_row_came_while_it_ran_takes_its_mark_back_when_it_was_refused(
    valkey_url: str, ledger: Ledger
) -> None:
    await _stage_unheard(ledger)
    it = PausedAttempts(error=TryLater("450 no", after=timedelta(0)))
    async with working(valkey_url, it.take, ledger_marks=LedgerMarks(ledger.tables)):
        await eventually(lambda: it.seen)
        await ledger.relay.move_batch()
        it.may_begin.set()
        it.may_end.set()
        await eventually(lambda: ledger.redis.hlen(KEYS.ended))
    assert it.seen == [(1, 0), (2, 0)]
    assert await _marks(ledger) == [(2, "primary")]


async def test_a_worker_without_a_ledger_begins_no_effect_of_a_job_whose_row_came_while_it_ran(
    valkey_url: str, ledger: Ledger
) -> None:
    await _stage_unheard(ledger)
    it, refusals = PausedAttempts(), list[LedgerRefusal]()

    async def take(context: dict[str, Any], text: str) -> None:
        try:
            await it.take(context, text)
        except LedgerRefusal as refusal:
            refusals.append(refusal)
            raise

    async with working(valkey_url, take):
        await eventually(lambda: it.seen)
        await ledger.relay.move_batch()
        it.may_begin.set()
        await eventually(lambda: refusals)
    assert not it.begun.is_set()
    assert "MOMENTUS_POSTGRES_DSN" in str(refusals[0])


async def _today(ledger: Ledger) -> int:
    day = await ledger.connection.fetchval("SELECT max(day) FROM momentus_ledger.jobs")
    return int((day - date(1970, 1, 1)).days)


async def test_a_job_that_ended_before_redis_went_back_is_taken_out_and_keeps_its_end(ledger: Ledger) -> None:
    job_id, revived = await ledger.stage("ended"), await ledger.stage("revived")
    await ledger.relay.move_batch()
    day = await ledger.connection.fetchval("SELECT max(day) FROM momentus_ledger.jobs")
    for ended, state in ((job_id, "done"), (revived, "dead")):
        await ledger.connection.execute("INSERT INTO momentus_ledger.ends VALUES ($1, $2, $3)", day, ended, state)
    await ledger.reconciler.remove_ended()
    assert await ledger.queued() == [revived]
    assert await ledger.recorder.record_all() == 1
    assert (await ledger.ends())[job_id][0] == "done"


async def test_what_has_ended_is_found_without_reading_what_jobs_are_about(
    database: str, valkey_url: str, ledger: Ledger
) -> None:
    job_id = await ledger.stage()
    await ledger.relay.move_batch()
    await ledger.connection.execute(
        "INSERT INTO momentus_ledger.ends SELECT day, id, 'done' FROM momentus_ledger.jobs"
    )
    role, password = f"test_{secrets.token_hex(4)}", secrets.token_hex(16)
    await ledger.connection.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD '{password}'; GRANT USAGE ON SCHEMA momentus_ledger TO {role};"
        f"GRANT SELECT (day, id) ON momentus_ledger.jobs TO {role};"
        f"GRANT SELECT ON momentus_ledger.ends, momentus_ledger.pending TO {role}"
    )
    parts = urlsplit(database)
    dsn = parts._replace(netloc=f"{role}:{password}@{parts.netloc.rpartition('@')[2]}").geturl()
    try:
        async with serving(dsn, valkey_url, ledger.connection, ledger.redis) as restricted:
            await restricted.reconciler.remove_ended()
    finally:
        await ledger.connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert await ledger.queued() == []
    assert await ledger.redis.hkeys(KEYS.ended) == [job_id.encode()]


# The marks


async def test_the_mark_of_a_job_of_the_ledger_is_in_postgres_before_its_effect(
    valkey_url: str, ledger: Ledger
) -> None:
    job_id = await ledger.stage()
    await ledger.relay.move_batch()
    found: list[Any] = []

    async def take(context: dict[str, Any], text: str) -> None:
        del text
        assert await context["begin_effect"]("primary")
        found.extend(await ledger.connection.fetch("SELECT id, attempt, note FROM momentus_ledger.effects"))

    async with working(valkey_url, take, ledger_marks=LedgerMarks(ledger.tables)):
        await eventually(lambda: found)
    assert [tuple(row) for row in found] == [(job_id, 1, "primary")]


async def test_without_a_ledger_in_its_worker_no_effect_of_a_staged_job_begins(
    valkey_url: str, ledger: Ledger
) -> None:
    await ledger.stage()
    await ledger.relay.move_batch()
    raised: list[BaseException] = []

    async def take(context: dict[str, Any], text: str) -> None:
        del text
        try:
            await context["begin_effect"]()
        except ConnectionError as error:
            raised.append(error)

    async with working(valkey_url, take):
        await eventually(lambda: raised)
    assert "MOMENTUS_POSTGRES_DSN" in str(raised[0])


async def test_a_job_that_has_ended_begins_no_effect_though_redis_went_back(ledger: Ledger) -> None:
    job_id = await ledger.stage()
    await ledger.relay.move_batch()
    await cancel_job(ledger.redis, job_id)
    await ledger.recorder.record_all()
    with pytest.raises(JobHasEnded):
        await LedgerMarks(ledger.tables).store(await _today(ledger), job_id, 1, "")
    assert not await ledger.connection.fetch("SELECT FROM momentus_ledger.effects")


@pytest.mark.parametrize("error", [None, ValueError("the bank")])
@pytest.mark.parametrize("lane", ["jobs", "jobs.sums"])
async def test_a_job_of_ones_own_that_has_ended_is_suppressed_and_keeps_its_end(
    valkey_url: str, ledger: Ledger, lane: str, error: Exception | None
) -> None:
    kinds: dict[str, Any] = {"jobs": _InLoop, "jobs.sums": _InThread}

    @handles(_InLoop)
    async def take(_: _InLoop, run: Run) -> None:
        try:
            await run.begin_effect()
        except ConnectionError as refusal:
            raise error or refusal from None

    @handles(_InThread)
    def take_in_thread(_: _InThread, run: Run) -> None:
        try:
            run.begin_effect()
        except ConnectionError as refusal:
            raise error or refusal from None

    job_id = await ledger.connection.fetchval("SELECT momentus_ledger.stage($1, '{}', $2)", kinds[lane].kind, lane)
    await ledger.relay.move_batch()
    await ledger.connection.execute(
        "INSERT INTO momentus_ledger.ends SELECT day, id, 'done' FROM momentus_ledger.jobs"
    )
    options: dict[str, Any] = {"lanes": [LaneSlots(lane, 4)], "ledger_marks": LedgerMarks(ledger.tables)}
    own = of_functions(take, take_in_thread)
    async with own_working(valkey_url, own, **options):
        await eventually(lambda: ledger.redis.hlen(LaneKeys(lane).ended))
    counters = await ledger.redis.hgetall(LaneKeys(lane).counters)
    assert (counters[f"suppressed:{lane}".encode()], counters.get(f"dead:{lane}".encode())) == (b"1", None)
    await ledger.recorder.record_all()
    assert (await ledger.ends())[job_id][0] == "done"


@pytest.mark.parametrize("lane", ["jobs", "jobs.sums"])
async def test_a_job_of_ones_own_waits_uncharged_while_the_ledger_takes_no_mark(
    valkey_url: str, ledger: Ledger, lane: str
) -> None:
    """It has one try, and is carried out by the worker that has the ledger."""
    kinds: dict[str, Any] = {"jobs": _InLoop, "jobs.sums": _InThread}

    @handles(_InLoop)
    async def take(_: _InLoop, run: Run) -> None:
        await run.begin_effect()

    @handles(_InThread)
    def take_in_thread(_: _InThread, run: Run) -> None:
        run.begin_effect()

    job_id = await ledger.connection.fetchval("SELECT momentus_ledger.stage($1, '{}', $2)", kinds[lane].kind, lane)
    await ledger.relay.move_batch()
    own, lanes = of_functions(take, take_in_thread), [LaneSlots(lane, 4)]
    async with own_working(valkey_url, own, lanes=lanes):
        await eventually(lambda: ledger.redis.llen(LaneKeys(lane).history(job_id)))
    async with own_working(valkey_url, own, lanes=lanes, ledger_marks=LedgerMarks(ledger.tables)):
        await eventually(lambda: ledger.redis.hlen(LaneKeys(lane).ended))
    await ledger.recorder.record_all()
    (end,) = await ledger.connection.fetch("SELECT state, attempt FROM momentus_ledger.ends")
    assert tuple(end) == ("done", 1)


ONE_TRY = Policy(tries=1, first_wait=timedelta(milliseconds=20), longest_wait=timedelta(milliseconds=20))


@dataclass(frozen=True)
class _InLoop(Job, kind="loop.take", policy=ONE_TRY):
    """Its effect is a coroutine's."""


@dataclass(frozen=True)
class _InThread(Job, kind="thread.take", lane="sums", policy=ONE_TRY):
    """Its effect is a plain function's."""


async def test_an_attempt_whose_effect_had_begun_before_redis_went_back_is_uncertain_and_begins_no_effect(
    valkey_url: str, ledger: Ledger
) -> None:
    job_id = await ledger.stage()
    await ledger.relay.move_batch()
    marks = LedgerMarks(ledger.tables)
    await marks.store(await _today(ledger), job_id, 1, "primary")
    began: list[int] = []

    async def take(context: dict[str, Any], text: str) -> None:
        del text
        assert await context["begin_effect"]("primary")
        began.append(context["job_try"])

    async with working(valkey_url, take, ledger_marks=marks):
        await eventually(lambda: began)
    assert began == [2]
    assert await ledger.redis.hget(KEYS.counters, f"uncertain:{LANE}") == b"1"


@dataclass(slots=True)
class Attempts:
    """Attempts of one job that ask for its effect, and what they were told."""

    unknown: set[int]
    """Those that end without knowing whether it happened."""
    began: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)

    async def take(self, context: dict[str, Any], text: str) -> None:
        del text
        attempt = context["job_try"]
        try:
            assert await context["begin_effect"]("primary")
        except EarlierEffect:
            self.refused.append(attempt)
            raise
        self.began.append(attempt)
        if attempt in self.unknown:
            raise TryLater("no reply", after=timedelta(0), uncertain=True)


SOON = Policy(tries=9, first_wait=timedelta(milliseconds=1))


async def test_an_effect_whose_mark_alone_redis_lost_is_counted_before_another_begins(
    valkey_url: str, ledger: Ledger
) -> None:
    job_id, attempts = await ledger.stage(), Attempts(set())
    await ledger.relay.move_batch()
    marks = LedgerMarks(ledger.tables)
    await marks.store(await _today(ledger), job_id, 1, "primary")
    for key in (KEYS.queue, KEYS.leases):  # the lease of the first attempt, which Redis still had, has lapsed
        await ledger.redis.zadd(key, {job_id: 1})
    async with working(valkey_url, attempts.take, ledger_marks=marks, policies={Note.kind: SOON}):
        await eventually(lambda: attempts.began)
    assert (attempts.refused, attempts.began) == ([2], [3])
    assert await ledger.redis.hget(KEYS.counters, f"uncertain:{LANE}") == b"1"


async def test_an_effect_that_was_counted_once_is_counted_no_more(valkey_url: str, ledger: Ledger) -> None:
    job_id, attempts = await ledger.stage(), Attempts({2, 3, 4})
    await ledger.relay.move_batch()
    marks = LedgerMarks(ledger.tables)
    await marks.store(await _today(ledger), job_id, 1, "primary")
    await ledger.redis.flushall()
    await ledger.reconciler.return_lost()
    await ledger.relay.move_batch()
    async with working(valkey_url, attempts.take, ledger_marks=marks, policies={Note.kind: SOON}):
        await eventually(lambda: len(attempts.began) == 4)
    assert (attempts.refused, attempts.began) == ([], [2, 3, 4, 5])
    assert await ledger.redis.hget(KEYS.counters, f"uncertain:{LANE}") == b"4"
    marked = await ledger.connection.fetch("SELECT attempt, counted FROM momentus_ledger.effects ORDER BY attempt")
    assert [tuple(row) for row in marked] == [(1, True), (2, True), (3, True), (4, True), (5, False)]


async def test_a_mark_goes_when_its_effect_did_not_happen_and_stays_when_it_may_have(
    valkey_url: str, ledger: Ledger
) -> None:
    job_id = await ledger.stage()
    await ledger.relay.move_batch()

    async def take(context: dict[str, Any], text: str) -> None:
        del text
        assert await context["begin_effect"]()
        raise TryLater("busy", after=timedelta(0), uncertain=context["job_try"] == 2)

    policy = Policy(tries=3, first_wait=timedelta(milliseconds=1))
    options: dict[str, Any] = {"ledger_marks": LedgerMarks(ledger.tables), "policies": {Note.kind: policy}}
    async with working(valkey_url, take, **options):
        await eventually(lambda: ledger.redis.zscore(KEYS.dead, job_id))
    left = await ledger.connection.fetch("SELECT attempt FROM momentus_ledger.effects ORDER BY attempt")
    assert [row["attempt"] for row in left] == [2], "it died of an effect that did not happen"


@asynccontextmanager
async def mark_held_back(ledger: Ledger, dsn: str, job_id: str) -> AsyncIterator[None]:
    """Let the store of a job's first mark wait meanwhile."""
    connection = await asyncpg.connect(dsn)
    transaction = connection.transaction()
    await transaction.start()
    try:
        await connection.execute(
            "INSERT INTO momentus_ledger.effects (day, id, attempt, note) VALUES ($1, $2, 1, '')",
            EPOCH + timedelta(days=await _today(ledger)),
            job_id,
        )
        yield
    finally:
        await transaction.rollback()
        await connection.close()


async def test_a_mark_that_is_removed_while_it_is_being_stored_does_not_stay(
    database: str, ledger: Ledger
) -> None:
    job_id, marks = await ledger.stage(), LedgerMarks(ledger.tables)
    day = await _today(ledger)
    async with mark_held_back(ledger, database, job_id):
        storing = asyncio.create_task(marks.store(day, job_id, 1, ""))
        await eventually(lambda: _waits_for_a_lock(ledger.connection))
        storing.cancel()  # its attempt was stopped
        releasing = asyncio.create_task(marks.release(day, job_id, 1))
        await eventually(lambda: releasing.done() or marks._changes._waiting)
    await releasing
    assert not await ledger.connection.fetch("SELECT FROM momentus_ledger.effects")


async def test_an_effect_that_redis_refuses_waits_for_the_mark_that_is_being_stored(
    database: str, ledger: Ledger
) -> None:
    async def refuse(*_: object) -> bool:
        raise ConnectionResetError

    job_id = await ledger.stage()
    effect = Effect(refuse, Claim(LANE, job_id, b"", 1, 0, 0, 0, "worker:1"), KEYS.effects)
    effect.mark_in_ledger(await _today(ledger), LedgerMarks(ledger.tables))
    async with mark_held_back(ledger, database, job_id):
        beginning = asyncio.create_task(effect.begin())
        await eventually(lambda: _waits_for_a_lock(ledger.connection))
        assert not beginning.done()
    with pytest.raises(ConnectionResetError):
        await beginning
    await effect.release()
    assert not await ledger.connection.fetch("SELECT FROM momentus_ledger.effects")


async def test_marks_that_are_stored_or_removed_together_have_their_own_days(ledger: Ledger) -> None:
    marks, today = LedgerMarks(ledger.tables), (datetime.now(UTC).date() - date(1970, 1, 1)).days
    await ledger.connection.execute(
        "INSERT INTO momentus_ledger.ends VALUES ($1, '{mail}ended', 'done')",
        datetime.now(UTC).date() - timedelta(days=1),
    )
    asked = [(today - 1, "{mail}a"), (today, "{mail}b"), (today - 1, "{mail}ended")]
    stored = [marks.store(day, job_id, 1, "primary") for day, job_id in asked]
    told = await asyncio.gather(*stored, return_exceptions=True)
    assert [type(one) for one in told] == [type(None), type(None), JobHasEnded]
    written = await ledger.connection.fetch("SELECT day - '1970-01-01' AS day, id FROM momentus_ledger.effects")
    assert sorted((row["day"], row["id"]) for row in written) == asked[:2]
    await marks.store(today, "{mail}b", 2, "primary", counted=1)
    await asyncio.gather(*(marks.release(day, job_id, 1) for day, job_id in asked))
    assert await ledger.connection.fetchval("SELECT array_agg(id || attempt) FROM momentus_ledger.effects") == [
        "{mail}b2"
    ]


async def test_a_lease_that_is_given_back_leaves_the_mark_of_another_of_the_same_attempt(ledger: Ledger) -> None:
    """Redis went back to before the first lease, and gave another; Postgres did not answer to that."""
    job_id, marks, day = await ledger.stage(), LedgerMarks(ledger.tables), await _today(ledger)
    await marks.store(day, job_id, 1, "primary", token="a-1:1")
    await marks.release(day, job_id, 1, token="b-1:1")
    assert await ledger.connection.fetchval("SELECT token FROM momentus_ledger.effects") == "a-1:1"
    await marks.release(day, job_id, 1, token="a-1:1")
    assert not await ledger.connection.fetch("SELECT FROM momentus_ledger.effects")


async def test_without_postgres_no_effect_begins() -> None:
    tables = LedgerTables("postgresql://nobody@127.0.0.1:9/none")
    with pytest.raises(LedgerRefusal, match="did not confirm"):
        await LedgerMarks(tables).store(20786, "{mail}a", 1, "")


async def test_a_ledger_of_another_build_gets_no_mark(
    database: str, valkey_url: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.ledger.marks._BEGIN_SECONDS", 0.05)
    await ledger.connection.execute("UPDATE momentus_ledger.version SET number = number + 1")
    async with run_ledger(database, valkey_url) as service:
        with pytest.raises(LedgerRefusal, match="ops db check"):
            await service.marks.store(await _new_day(), "{mail}a", 1, "")
        await service.marks.release(await _new_day(), "{mail}a", 1)
    assert not await ledger.connection.fetch("SELECT FROM momentus_ledger.effects")


async def _new_day() -> int:
    return (datetime.now(UTC).date() - EPOCH).days


async def test_a_mark_waits_for_the_first_look_of_a_worker_that_has_just_begun(
    database: str, valkey_url: str, ledger: Ledger
) -> None:
    async with run_ledger(database, valkey_url) as service:
        await service.marks.store(await _new_day(), "{mail}a", 1, "")
    assert await ledger.connection.fetchval("SELECT array_agg(id) FROM momentus_ledger.effects") == ["{mail}a"]


async def test_a_mark_is_stored_while_every_other_part_has_its_connection(ledger: Ledger) -> None:
    marks = LedgerMarks(ledger.tables)
    async with AsyncExitStack() as others:
        for _ in ("relay", "recorder", "search", "partitions"):
            await others.enter_async_context(ledger.tables.transaction())
        await marks.store(await _new_day(), "{mail}a", 1, "")


async def test_partitions_that_cannot_be_made_are_told_once_and_again_when_they_are(
    database: str, valkey_url: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.ledger.service._LOOK_SECONDS", 0.1)
    ahead = datetime.now(UTC).date() + timedelta(days=AHEAD)
    await ledger.connection.execute(f"DROP TABLE momentus_ledger.jobs_{ahead:%Y_%m_%d}")
    with capture_logs() as lines:
        async with ledger.connection.transaction():
            await ledger.connection.execute("LOCK TABLE momentus_ledger.jobs_default IN SHARE MODE")
            async with run_ledger(database, valkey_url):
                await eventually(lambda: _told(lines, "ledger.away"))
                await ledger.connection.execute("ROLLBACK AND CHAIN")
                await eventually(lambda: _told(lines, "ledger.back"))
    assert len(_told(lines, "ledger.away")) == len(_told(lines, "ledger.back")) == 1


def _told(lines: Sequence[Mapping[str, Any]], name: str) -> list[str]:
    """The parts of which a log tells this."""
    return [one["part"] for one in lines if one.get("event_name") == name and one.get("part") == "partitions"]


# All of it in a worker


async def test_a_token_wakes_the_relay_although_it_comes_before_the_commit(
    database: str, valkey_url: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.ledger.links.LOOK_SECONDS", 600)
    async with run_ledger(database, valkey_url):
        await eventually(lambda: _has_relay(ledger))
        async with ledger.connection.transaction():
            job_id = await ledger.stage()
            await ledger.redis.lpush("momentus:{mail}:staged", "1")
        assert await eventually(ledger.queued) == [job_id]


async def _has_relay(ledger: Ledger) -> bool:
    clients = await ledger.redis.client_list()
    return any(one["cmd"] == "blpop" for one in clients)


async def test_a_worker_serves_a_ledger_from_commit_to_record(
    database: str, valkey_url: str, ledger: Ledger
) -> None:
    job_ids = {await ledger.stage(str(number)) for number in range(20)}
    async with run_ledger(database, valkey_url) as service, working(valkey_url, ledger_marks=service.marks):
        await eventually(lambda: _all_ended(ledger, 20))
        await ledger.redis.flushall()
        more = {await ledger.stage(str(number)) for number in range(20)}
        await eventually(lambda: _all_ended(ledger, 40))
    assert set(await ledger.ends()) == job_ids | more


async def _all_ended(ledger: Ledger, number: int) -> bool:
    return len(await ledger.ends()) == number


async def test_what_is_staged_while_redis_is_silent_is_queued_when_it_answers(
    database: str, own_valkey: Callable[..., Awaitable[OwnValkey]]
) -> None:
    valkey = await own_valkey()
    async with (
        ledger_of(database) as connection,
        Redis.from_url(valkey.url) as redis,
        serving(database, valkey.url, connection, redis) as ledger,
    ):
        first = await ledger.stage("first")
        await ledger.relay.move_batch()
        valkey.pause()
        second = await ledger.stage("second")
        with pytest.raises(RedisSilent):
            await ledger.relay.move_batch()
        assert await ledger.pending() == {second}
        valkey.resume()
        await ledger.relay.move_batch()
        assert await ledger.queued() == [first, second]


async def test_a_crash_of_postgres_ends_no_part(valkey_url: str, redis: Redis) -> None:
    async with own_postgres([]) as (dsn,):
        async with ledger_of(dsn) as connection, run_ledger(dsn, valkey_url):
            await connection.fetchval(STAGE, '{"text": "first"}', None)
            await eventually(lambda: redis.zcard(KEYS.queue))
        async with run_ledger(dsn, valkey_url):
            await crash(dsn)
            connection = await asyncpg.connect(dsn)
            second = await connection.fetchval(STAGE, '{"text": "second"}', None)
            await eventually(lambda: redis.zscore(KEYS.queue, second))
            await cancel_job(redis, second)
            ended = "SELECT count(*) FROM momentus_ledger.ends"
            await eventually(lambda: connection.fetchval(ended))
            await connection.close()


@pytest.mark.long
async def test_jobs_of_all_groups_are_queued_on_a_cluster(database: str, cluster_url: str) -> None:
    async with (
        ledger_of(database) as connection,
        client_of(cluster_url) as redis,
        serving(database, cluster_url, connection, redis) as ledger,
    ):
        mail = await ledger.stage()
        job = await connection.fetchval(STAGE.replace("mail.normal", "jobs"), '{"text": "a"}', None)
        await ledger.relay.move_batch()
        assert await redis.zrange(KEYS.queue, 0, -1) == [mail.encode()]
        assert await redis.zrange(LaneKeys("jobs").queue, 0, -1) == [job.encode()]
        await redis.delete(LaneKeys("jobs").ledger)
        assert await ledger.reconciler.return_lost() == 1
        for job_id in (mail, job):
            await cancel_job(redis, job_id)
        assert await ledger.recorder.record_all() == 1
