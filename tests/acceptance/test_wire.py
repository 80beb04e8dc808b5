"""docs/wire.md against what is really written.

The whole system runs on a Valkey that reports every write (keyspace notifications), and does everything that
leaves a trace: mails that arrive, are refused, put off, and lose their worker; a job of another producer;
refreshes, one of them asked for while another runs; sessions from log-in to log-out; reads. No key can be written
unseen, however short its life.
"""

import asyncio
import json
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import asyncpg
import orjson
import pytest
from arq.connections import ArqRedis, RedisSettings
from arq.jobs import Job, JobStatus
from arq.worker import Worker as ArqWorker
from redis.asyncio import Redis

from jobs import Digest, Mail
from local.installation import worker_ready
from local.organisation import OrganisationSize, generate_organisation
from local.organisation.postgres import install_schema, load_rows
from local.sink.smtp import MailSink, SinkFaults
from local.supervisor.process import Backoff, Process, RestartPolicy
from local.supervisor.ready import http_ok
from local.supervisor.supervisor import Supervisor
from metrics.promise import Promise
from ops.audit.log import begin_entry, note_entry
from ops.jobs.operations import cancel_job, discard_job
from ops.lanes.hold import hold_lane, release_lane
from ops.mail.bounces import process_bounce
from ops.mail.unsuppress import SuppressionEntry, remove_entries
from ops.workers.order import order_worker
from producers import Producer
from producers.keys import LaneKeys, group_of
from producers.link import Link
from producers.staging.token import wake_relay
from producers.suppression import digest_of, suppress, weigh_refusal
from reports.document import Document
from reports.keys import audit, declared, snapshot, wanted
from reports.node_ids import NodeId
from reports.store import NewSet, ReportStore, SetChange, StoredSet
from sessions import Sessions
from tests.notes import Note, running
from tests.support import OwnValkey, eventually
from worker.engine import Cron, LaneLimit, LaneSlots, Limit, Rate, Schedule, Worker
from worker.engine.cron import CronClock
from worker.engine.handler import handler
from worker.ledger.push import StagedJob, push_jobs
from worker.mail.accounts.gate import Gate
from worker.mail.accounts.routing import route_mail
from worker.promises import PromiseKeeper
from worker.reports.audit import audit_cron

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/wire.md"
MAIL = LaneKeys("mail.normal")
REPORTS = LaneKeys("reports")
USER = "u-17"
CLIENT = ROOT / "tests/wire_enqueue.mjs"
SCRIPT = ROOT / "producers/scripts/enqueue.lua"

NAMES = {"id": r"\{[a-z]+\}.+", "limit": "[a-z]+:[a-z0-9]+", "group": "[a-z]+", "user": ".+"}
"""What stands for a name in the page's patterns; any other name is a word without a colon."""

TYPES = {
    **dict.fromkeys(("set", "incrby", "decrby"), "string"),
    **dict.fromkeys(("hset", "hincrby"), "hash"),
    **dict.fromkeys(("zadd",), "zset"),
    **dict.fromkeys(("lpush", "rpush"), "list"),
    **dict.fromkeys(("sadd",), "set"),
}
"""Events that make a key, and what it then is."""


@dataclass(frozen=True, slots=True)
class Row:
    """One key as the page has it."""

    pattern: str
    type: str
    has_life: bool

    def fits(self, key: str) -> bool:
        parts = re.split(r"<([a-z]+)>", self.pattern)
        literal, names = parts[::2], [NAMES.get(name, "[^:]+") for name in parts[1::2]]
        regex = "".join(re.escape(text) + name for text, name in zip(literal, [*names, ""], strict=True))
        return re.fullmatch(regex, key) is not None


@dataclass(slots=True)
class Written:
    """What was seen of one key."""

    types: set[str] = field(default_factory=set)
    has_life: bool = False


def documented() -> list[Row]:
    """The key tables of docs/wire.md."""
    rows = re.findall(r"^\| `((?:arq|momentus):[^`]+)` \| (\w+) \| (TTL|no TTL)", PAGE.read_text(), re.MULTILINE)
    return [Row(pattern, kind, life == "TTL") for pattern, kind, life in rows]


class Watch:
    """Every write of a server, by its own notifications."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.keys: dict[str, Written] = {}

    async def run(self, listening: asyncio.Event, last: str) -> None:
        """Note every event until the key `last` is written."""
        async with self._redis.pubsub() as channel:
            await channel.psubscribe("__keyevent@0__:*")
            listening.set()
            async for message in channel.listen():
                if message["type"] != "pmessage":
                    continue
                event = message["channel"].decode().partition(":")[2]
                key = message["data"].decode()
                if key == last:
                    return
                self._note(event, key)

    def _note(self, event: str, key: str) -> None:
        written = self.keys.setdefault(key, Written())
        if event in TYPES:
            written.types.add(TYPES[event])
        written.has_life = written.has_life or event == "expire"


@asynccontextmanager
async def watched(url: str) -> AsyncIterator[Watch]:
    """Watch while the block runs; at its end everything written in it has been noted."""
    async with Redis.from_url(url) as redis:
        watch, listening = Watch(redis), asyncio.Event()
        noting = asyncio.create_task(watch.run(listening, last="the-end"))
        await listening.wait()
        yield watch
        await redis.set("the-end", 1)
        await asyncio.wait_for(noting, timeout=10)


@dataclass(frozen=True, slots=True)
class System:
    redis: Redis
    producer: Producer
    sink: MailSink
    running: Supervisor
    database: str
    reader_port: int

    async def counts(self, event: str, lane: LaneKeys = MAIL) -> int:
        return int(await self.redis.hget(lane.counters, f"{event}:{lane.lane}") or 0)

    def reached(self, event: str, number: int) -> Callable[[], Awaitable[bool]]:
        async def condition() -> bool:
            return await self.counts(event) >= number

        return condition


@pytest.fixture
async def valkey(own_valkey: Callable[..., Awaitable[OwnValkey]]) -> OwnValkey:
    return await own_valkey("--notify-keyspace-events", "KEA")


@pytest.fixture
async def organisation(database: str) -> str:
    size = OrganisationSize(nodes=12, depth=3, employees=40, memberships=5, tasks=30, checkins=200, blockers=30)
    connection = await asyncpg.connect(database)
    try:
        await install_schema(connection)
        await load_rows(connection, generate_organisation(size, seed=1, now=datetime.now(UTC)))
    finally:
        await connection.close()
    return database


def process(name: str, environment: Mapping[str, str], ready: Callable[[int], Awaitable[bool]]) -> Process:
    return Process(
        name=name,
        argv=[sys.executable, "-m", name],
        environment=environment,
        ready=ready,
        restart=RestartPolicy.ALWAYS,
        backoff=Backoff(first=timedelta(milliseconds=50)),
        drain=timedelta(seconds=20),
    )


def worker(url: str, sink: MailSink, database: str) -> Process:
    environment = {
        "MOMENTUS_REDIS_URL": url,
        "MOMENTUS_POSTGRES_DSN": database,
        "MOMENTUS_MAIL__HOST": "127.0.0.1",
        "MOMENTUS_MAIL__PORT": str(sink.port),
        "MOMENTUS_MAIL__TLS": "off",
        "MOMENTUS_WORKER__LEASE": "1s",
        "MOMENTUS_WORKER__LEASE_RENEW": "300ms",
        "MOMENTUS_WORKER__PROMISES": "mail.normal:1h:99",
    }
    return process("worker", environment, worker_ready(url))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def system(url: str, sink: MailSink, database: str) -> AsyncIterator[System]:
    port = free_port()
    environment = {"MOMENTUS_REDIS_URL": url, "MOMENTUS_READER__PORT": str(port)}
    processes = [worker(url, sink, database), process("reader", environment, http_ok(port))]
    async with (
        Redis.from_url(url) as redis,
        Producer.connect(url, budget=5) as producer,
        Supervisor(processes) as running,
    ):
        yield System(redis, producer, sink, running, database, port)


def mail(to: str | list[str]) -> Mail:
    return Mail(to=to, subject="Hola", text="Buenos días")


async def mails_arrive_are_put_off_and_given_up(it: System) -> None:
    replies = {"later@example.com": "451 4.2.0 mailbox busy", "never@example.com": "550 5.1.1 no such person"}
    it.sink.faults = SinkFaults(recipient_replies=replies)
    later = await it.producer.send(mail(["eva@example.com", "later@example.com"]))
    await it.producer.send_many([mail("never@example.com"), mail("ana@example.com")], keys=["a", "b"])
    await eventually(lambda: it.redis.sismember(MAIL.retrying, later.id))
    await eventually(it.reached("dead", 1))
    it.sink.faults = SinkFaults()
    await eventually(it.reached("done", 2), timeout=20)


async def a_job_of_a_stock_arq_producer_is_done(it: System) -> None:
    job_id = "{mail}foreign"
    frozen = mail("luz@example.com").compose(job_id=job_id, now=datetime.now(UTC))
    now_ms = round(time.time() * 1000)
    content = {"t": None, "f": Mail.kind, "a": (), "k": frozen, "et": now_ms}
    await it.redis.set(f"arq:job:{job_id}", orjson.dumps(content))
    await it.redis.zadd(MAIL.queue, {job_id: now_ms})
    await eventually(it.reached("done", 3))
    assert await it.counts("accepted") == 4


async def a_worker_dies_between_mark_and_reply(it: System) -> None:
    it.sink.faults = SinkFaults(delay_min=timedelta(seconds=20), delay_max=timedelta(seconds=20))
    await it.producer.send(mail("eva@example.com"))
    await eventually(lambda: it.sink.delaying)
    it.running.send_signal("worker", signal.SIGKILL)
    it.sink.faults = SinkFaults()
    await eventually(it.reached("done", 4), timeout=20)
    assert await it.counts("uncertain") == 1


async def a_lane_is_held_and_a_running_mail_is_cancelled(it: System) -> None:
    await hold_lane(it.redis, "mail.bulk", lasting=None, reason="maintenance")
    assert await release_lane(it.redis, "mail.bulk")
    change = begin_entry(who="ana", way="token", role="operate", action="hold-lane", target="mail.bulk", why="")
    await note_entry(it.redis, change)
    it.sink.faults = SinkFaults(delay_min=timedelta(seconds=20), delay_max=timedelta(seconds=20))
    receipt = await it.producer.send(mail("pia@example.com"))
    await eventually(lambda: it.sink.delaying)
    await cancel_job(it.redis, receipt.id)
    await eventually(it.reached("cancelled", 1))
    it.sink.faults = SinkFaults()


async def deletions_are_kept_for_a_while(it: System) -> None:
    receipt = await it.producer.send(mail("ana@example.com"), delay=timedelta(hours=1))
    await it.redis.rpush(MAIL.history(receipt.id), "{}")
    await it.redis.set(f"arq:result:{receipt.id}", "{}", ex=60)  # as of a dead job
    assert await discard_job(it.redis, receipt.id, number="0" * 16) == ("gone", MAIL.lane)
    await suppress(it.redis.execute_command, "pia@example.com", "manual", by="test")
    entry = SuppressionEntry(digest_of("pia@example.com"), "example.com", "manual")
    assert await remove_entries(it.redis, [entry], by="test", scope="", number="0" * 16) == 1


async def a_worker_is_quieted_and_resumed(it: System) -> None:
    async def has_state(worker_id: str, state: str) -> bool:
        return f'"state":"{state}"'.encode() in (await it.redis.get(MAIL.worker(worker_id)) or b"")

    worker_id = (await it.redis.zrevrange(MAIL.workers, 0, 0))[0].decode()
    assert await order_worker(it.redis, worker_id, "quiet") == "ordered"
    await eventually(lambda: has_state(worker_id, "quiet"))
    assert await order_worker(it.redis, worker_id, "resume") == "ordered"
    await eventually(lambda: has_state(worker_id, "runs"))


async def a_job_is_parked_and_another_tells_how_far_it_is(it: System, url: str) -> None:
    """In a lane of its own, where no process of the system takes them."""
    notes = LaneKeys("notes")

    async def count(context: dict[str, Any], text: str) -> None:
        del text
        context["progress"](1, 2)
        await eventually(lambda: it.redis.hlen(notes.progress))

    ours = Worker(
        [handler(count, kind=Note.kind)],
        redis_url=url,
        lanes=[LaneSlots("notes", 1)],
        handle_signals=False,
        keep_result=0,
    )
    async with running(ours):
        await it.producer.send_many([NoteElsewhere("counted"), NoteElsewhere("newer", 2)])
        await eventually(lambda: it.redis.hget(notes.counters, "done:notes"))
        await eventually(lambda: it.redis.hlen(notes.parked))


@dataclass(frozen=True)
class NoteElsewhere(Note):
    lane: ClassVar[str] = "notes"

    version: int = 1


async def a_limit_lets_one_through_and_others_wait(it: System, url: str) -> None:
    """In the same lane of its own: two run, one waits for its own limit, one for its lane's."""
    notes, gate = LaneKeys("notes"), asyncio.Event()
    limits = [
        Limit("customer:7", (Rate(9, timedelta(seconds=1)),), concurrency=1),
        Limit("customer:8", concurrency=2),
    ]

    async def wait(context: dict[str, Any], text: str) -> None:
        del context, text
        await gate.wait()

    ours = Worker(
        [handler(wait, kind=Note.kind)],
        redis_url=url,
        lanes=[LaneSlots("notes", 4)],
        handle_signals=False,
        keep_result=0,
        limits=limits,
        lane_limits={"notes": LaneLimit(["customer:8"])},
    )
    await it.producer.send_many([NoteElsewhere("one"), NoteElsewhere("two")], limit="customer:7")
    await it.producer.send_many([NoteElsewhere("three"), NoteElsewhere("four")])
    async with running(ours):
        await eventually(lambda: it.redis.scard(notes.short))
        await eventually(lambda: it.redis.scard(notes.held_back))
        gate.set()
        await eventually(lambda: is_empty(it.redis, notes))


async def is_empty(redis: Redis, keys: LaneKeys) -> bool:
    return await redis.zcard(keys.queue) == await redis.hlen(keys.parked)


async def a_cron_ticks(it: System, url: str) -> None:
    link = Link(url)
    cron = Cron(name="tidy", schedule=Schedule(), kind="note.unknown", lane=MAIL.lane, payload={}, overlap=True)
    assert await CronClock(link, [cron]).request_tick(cron, datetime.now(UTC)) == 1
    await link.close()
    await it.redis.zrem(MAIL.queue, *await it.redis.zrange(MAIL.queue, 0, -1))


async def minutes_of_a_promise_are_judged(it: System, url: str) -> None:
    promise = Promise(MAIL.lane, timedelta(minutes=5), 0.99)
    keeper = PromiseKeeper(url, [promise], tenant="default")
    await keeper.note_minutes(promise)
    await it.redis.hincrby("momentus:{mail}:promises", f"{promise.name}:minute", -2)
    assert await keeper.note_minutes(promise) >= 2
    await keeper.close()


async def addresses_fail_and_bounces_come(it: System) -> None:
    call = it.redis.execute_command
    await suppress(call, "uma@example.com", "manual", by="test")
    await weigh_refusal(call, "uma@example.com", "counted", by="test")
    for number in range(6):
        await weigh_refusal(call, f"u{number}@example.org", by="test")
    assert await process_bounce(it.redis, b"Subject: no report", by="test") == "unknown"


async def a_mail_that_only_some_accounts_may_send_is_routed(url: str) -> None:
    link = Link(url)
    assert await route_mail(link, {"job_id": "{mail}routed", "lane": MAIL.lane}, ["main", "spare"]) == "main"
    await link.call("HDEL", MAIL.limited, "{mail}routed")
    await link.close()


async def a_worker_finds_no_permit_for_a_connection(url: str) -> None:
    link = Link(url)
    gate = Gate(link, "bounded", connections=1)
    assert await gate.take_permit()
    await gate.report_success()
    assert not await gate.take_permit()
    await link.close()


async def an_item_waits_in_a_digest_and_is_taken_back(it: System) -> None:
    task = Mail(to="ana@example.com", template="task_assigned", values={"task": "Cierre", "due": "hoy"})
    digest = Digest(mail=task, template="tasks_assigned", collapse="tasks:7", window=timedelta(days=1))
    receipt = await it.producer.send_digest(digest)
    assert await it.producer.cancel(receipt.id) == "cancelled"


async def a_job_of_the_ledger_is_pushed_and_ends(it: System) -> None:
    content = {"v": 1, "f": Note.kind, "t": None, "a": [], "k": {"text": "a"}, "et": 0, "l": 20786}
    job = StagedJob("{mail}staged", 20786, MAIL.lane, orjson.dumps(content), due_ms=4_102_444_800_000)
    assert await wake_relay(group_of(MAIL.lane)).run(it.redis.execute_command)
    assert (await push_jobs(it.redis.execute_command, [job])).refusals == []
    assert await it.redis.hget(MAIL.ledger, job.id) == b"20786"
    await cancel_job(it.redis, job.id)


async def a_refresh_is_asked_for_while_one_runs(it: System) -> None:
    connection = await asyncpg.connect(it.database)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE organisation.tasks IN ACCESS EXCLUSIVE MODE")
            receipt = await it.producer.request_refresh("management", scope=None, delay=timedelta(0))
            await eventually(lambda: it.redis.zscore(REPORTS.leases, receipt.id))
            await it.producer.refresh("management", scope=1)
            assert await it.redis.hexists(REPORTS.next, receipt.id)
    finally:
        await connection.close()

    async def followed() -> bool:
        return not await it.redis.hlen(REPORTS.next) and not await it.redis.zcard(REPORTS.queue)

    await eventually(followed, timeout=20)


async def a_report_audits_itself(it: System, url: str) -> None:
    link = Link(url)
    cron = replace(audit_cron(), name="audit.now", schedule=Schedule())
    assert await CronClock(link, [cron]).request_tick(cron, datetime.now(UTC)) == 1
    await link.close()
    await eventually(lambda: it.redis.exists(audit("default", "management")))


async def a_day_is_closed_and_somebody_finds_a_report_old(it: System) -> None:
    store = ReportStore(it.redis, tenant="default")
    day = NewSet(
        report="management",
        as_of=datetime.now(UTC),
        documents={},
        meta={"verified_us": 0},
        day="2026-01-01",
        keep=timedelta(days=1),
    )
    assert await store.publish_set(day, StoredSet(0, {}), SetChange([], [])) == "stored"
    nodes: dict[NodeId, Document] = dict.fromkeys(
        range(1, 400), Document("0" * 16, b"{}", b'{"etag":"0000000000000000"}')
    )
    large = replace(day, day="2026-01-02", documents=nodes)
    assert await store.publish_set(large, StoredSet(0, {}), SetChange(list(nodes), [])) == "stored"
    await it.redis.set(wanted("default", "management"), 1, nx=True, px=30_000)


async def a_report_that_no_worker_declares_is_withdrawn(it: System) -> None:
    store = ReportStore(it.redis, tenant="default")
    former = NewSet(report="former", as_of=datetime.now(UTC), documents={}, meta={"verified_us": 0})
    assert await store.publish_set(former, StoredSet(0, {}), SetChange([], [])) == "stored"
    await it.redis.zadd(declared("default"), {"former": 1})
    assert await store.declarations.withdraw("former") == 0


async def a_worker_with_another_report_looks_after_it(it: System) -> None:
    store = ReportStore(it.redis, tenant="default")
    await eventually(lambda: it.redis.exists("momentus:{reports}:prober:default"))
    assert await store.take_prober_lease("another", ["another"], lasting=timedelta(seconds=3)) == frozenset(
        {"another"}
    )


async def a_manager_logs_in_reads_and_is_logged_out(it: System, url: str) -> None:
    sessions = Sessions.connect(url, deadline=timedelta(seconds=5))
    try:
        token, session = await sessions.create(USER, {"roots": [1]})
        await sessions.save(session, {"roots": [1], "locale": "es"})
        await eventually(lambda: it.redis.hexists(snapshot("default", "management"), "_meta"))
        await eventually(lambda: status(it.reader_port, "/v1/reports/management/1", token))
        await sessions.revoke(token)
        await sessions.create(USER, {})
        await sessions.revoke_user(USER)
    finally:
        await sessions.close()


async def status(port: int, path: str, token: str) -> bool:
    """Whether the reader answers with a document; a busy machine may make it wait for Redis too long once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode("ascii"))
        return (await reader.readline()).split(b" ")[1:2] == [b"200"]
    finally:
        writer.close()


async def test_every_key_that_is_written_is_on_the_page_and_every_key_on_the_page_is_written(
    valkey: OwnValkey, organisation: str, smtp_sink: MailSink
) -> None:
    rows = documented()
    async with watched(valkey.url) as watch, system(valkey.url, smtp_sink, organisation) as it:
        await mails_arrive_are_put_off_and_given_up(it)
        await a_job_of_a_stock_arq_producer_is_done(it)
        await a_worker_dies_between_mark_and_reply(it)
        await a_lane_is_held_and_a_running_mail_is_cancelled(it)
        await a_worker_is_quieted_and_resumed(it)
        await deletions_are_kept_for_a_while(it)
        await a_job_is_parked_and_another_tells_how_far_it_is(it, valkey.url)
        await a_limit_lets_one_through_and_others_wait(it, valkey.url)
        await a_cron_ticks(it, valkey.url)
        await minutes_of_a_promise_are_judged(it, valkey.url)
        await addresses_fail_and_bounces_come(it)
        await a_mail_that_only_some_accounts_may_send_is_routed(valkey.url)
        await a_worker_finds_no_permit_for_a_connection(valkey.url)
        await an_item_waits_in_a_digest_and_is_taken_back(it)
        await a_job_of_the_ledger_is_pushed_and_ends(it)
        await a_refresh_is_asked_for_while_one_runs(it)
        await a_report_audits_itself(it, valkey.url)
        await a_day_is_closed_and_somebody_finds_a_report_old(it)
        await a_report_that_no_worker_declares_is_withdrawn(it)
        await a_worker_with_another_report_looks_after_it(it)
        await a_manager_logs_in_reads_and_is_logged_out(it, valkey.url)
    rows_of = {key: [row for row in rows if row.fits(key)] for key in watch.keys}
    assert {key: len(found) for key, found in rows_of.items() if len(found) != 1} == {}
    row_of = {key: row for key, (row,) in rows_of.items()}
    assert {row.pattern for row in rows} - {row.pattern for row in row_of.values()} == set()
    wrong = {(row.pattern, kind) for key, row in row_of.items() for kind in watch.keys[key].types - {row.type}}
    assert wrong == set()
    lived = {row.pattern for key, row in row_of.items() if watch.keys[key].has_life}
    assert lived == {row.pattern for row in rows if row.has_life}


async def test_all_keys_on_the_page_are_found_and_told_apart() -> None:
    patterns = [row.pattern for row in documented()]
    assert len(patterns) == len(set(patterns)) > 20
    (row,) = [row for row in documented() if row.fits("arq:job:{reports}refresh:default:management")]
    assert (row.pattern, row.type, row.has_life) == ("arq:job:<id>", "string", False)
    assert not any(row.fits("arq:job:without-a-tag") for row in documented())


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not on this machine")
async def test_a_producer_written_in_node_from_the_page_hands_over_a_mail_that_arrives(
    valkey: OwnValkey, organisation: str, smtp_sink: MailSink
) -> None:
    async with system(valkey.url, smtp_sink, organisation) as it:
        (state, first), (again, same) = [await from_node(valkey.port, "Reunión del jueves") for _ in range(2)]
        (arrived,) = await smtp_sink.mailbox.wait_for(1)
        await eventually(it.reached("done", 1))
        verdict, _ = await from_node(valkey.port, "Otra reunión")
        assert await it.counts("accepted") == 1
    assert (state, again, same) == ("queued", "duplicate", first)
    assert verdict == "conflict"
    assert arrived.recipients == ("ana@example.com",)
    assert arrived.subject == "Reunión del jueves"
    assert arrived.message_id == f"<{first.replace('{', '').replace('}', '')}@momentus.example>"


async def from_node(port: int, subject: str) -> tuple[str, str]:
    """What became of the one mail that Node wanted to queue, and the id that stands."""
    arguments = [str(port), str(SCRIPT), "ana@example.com", subject, "Nos vemos a las 10.", "meeting:7"]
    node = await asyncio.create_subprocess_exec(
        "node", str(CLIENT), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    answer, complaints = await node.communicate()
    assert node.returncode == 0, complaints.decode()
    state, job_id = json.loads(answer)
    return state, job_id


async def greet(_: dict[str, Any], name: str) -> str:
    return f"Hola, {name}"


async def test_a_stock_arq_producer_enqueues_to_us_and_reads_the_result(valkey_url: str) -> None:
    ours = Worker(
        [handler(greet, kind="person.greet")],
        redis_url=valkey_url,
        lanes=[LaneSlots(MAIL.lane, 1)],
        handle_signals=False,
    )
    running = asyncio.create_task(ours.async_run())
    async with ArqRedis.from_url(valkey_url) as arq:
        arq.job_serializer, arq.job_deserializer, arq.expires_extra_ms = orjson.dumps, orjson.loads, 60_000
        job = await arq.enqueue_job("person.greet", "Ana", _queue_name=MAIL.queue)
        assert job is not None
        seen = Job(job.job_id, arq, _queue_name=MAIL.queue, _deserializer=orjson.loads)

        async def complete() -> bool:
            return await seen.status() is JobStatus.complete

        await eventually(complete)
        assert await seen.result(timeout=1) == "Hola, Ana"
    ours.handle_sig(signal.SIGTERM)
    await running
    await ours.close()


async def test_a_stock_arq_worker_runs_our_jobs(valkey_url: str) -> None:
    seen: list[str] = []

    async def note(_: dict[str, Any], **mail: str) -> None:
        seen.append(mail["to"])

    async with Producer.connect(valkey_url, budget=5) as producer:
        await producer.send(mail("ana@example.com"))
    theirs = ArqWorker(
        [handler(note, kind=Mail.kind)],
        queue_name=MAIL.queue,
        redis_settings=RedisSettings.from_dsn(valkey_url),
        job_serializer=orjson.dumps,
        job_deserializer=orjson.loads,
        burst=True,
        handle_signals=False,
        poll_delay=0.01,
    )
    await theirs.async_run()
    await theirs.pool.aclose(close_connection_pool=True)
    assert seen == ["ana@example.com"]
