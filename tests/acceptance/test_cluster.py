"""On a cluster: each lane group lives with its own primary, and follows it wherever the cluster says it is."""

import asyncio
import json
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import ConnectionError as ConnectionLost, RedisError, ResponseError

from jobs import Mail
from local.embedded.ports import free_port
from local.installation import worker_ready
from local.organisation import OrganisationSize, generate_organisation
from local.organisation.postgres import install_schema, load_rows
from local.sink.smtp import MailSink
from local.supervisor.process import Process
from local.supervisor.ready import http_ok
from local.supervisor.supervisor import Supervisor
from ops.depth.read import read_depth
from producers import InvalidRequest, NotEnqueued, Producer, RedisUnavailable, SyncProducer
from producers.keys import LaneKeys
from producers.link import Link
from producers.link.address import read_address
from producers.link.client import connect
from reports.keys import snapshot
from sessions import Sessions, SessionsUnavailable, SyncSessions
from sessions.token import tag_of
from tests.notes import Note, running
from tests.session_tokens import TOKENS, awaitable, check_operations
from tests.support import eventually
from tests.topologies import Cluster, cluster, lasting_cluster
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler
from worker.engine.lane import Lane
from worker.engine.shard import group_lanes

MAIL, REPORTS = LaneKeys("mail.normal"), LaneKeys("reports")
PATIENCE = 40.0


class Report(Note):
    """A note in the other lane group."""

    lane: ClassVar[str] = REPORTS.lane


@pytest.fixture(scope="module")
def lasting() -> Iterator[Cluster]:
    with lasting_cluster() as formed:
        yield formed


@pytest.fixture
async def three(lasting: Cluster) -> Cluster:
    for name in lasting.nodes:
        await lasting.ask(name, "FLUSHALL")
    return lasting


@pytest.fixture(scope="module")
def numbered() -> Iterator[Cluster]:
    """A cluster with more than one database, which Valkey has since 9."""
    with lasting_cluster("--cluster-databases", "16") as formed:
        yield formed


@pytest.fixture
async def six() -> AsyncIterator[Cluster]:
    async with cluster(replicas=1) as formed:
        yield formed


@asynccontextmanager
async def working(url: str, ran: Counter[str]) -> AsyncIterator[Worker]:
    async def take(_: dict[str, Any], text: str) -> None:
        ran[text] += 1

    worker = Worker(
        [handler(take, kind=Note.kind)],
        redis_url=url,
        handle_signals=False,
        lanes=[LaneSlots(MAIL.lane, 10), LaneSlots(REPORTS.lane, 10)],
        lease=timedelta(seconds=2),
        renew_every=timedelta(milliseconds=200),
        grace=timedelta(seconds=1),
    )
    task = asyncio.create_task(worker.async_run())
    try:
        yield worker
        assert not task.done()
    finally:
        worker.handle_sig(signal.SIGTERM)
        await task
        await worker.close()


# A job that is claimed where it still runs


async def test_a_job_that_is_claimed_while_it_runs_here_waits_for_the_attempt_before_and_others_go_on(
    three: Cluster,
) -> None:
    attempts: list[tuple[str, int]] = []
    cleaned, go = asyncio.Event(), asyncio.Event()

    async def take(context: dict[str, Any], text: str) -> None:
        attempts.append((text, context["job_try"]))
        if attempts[-1] == ("lost", 1):
            try:
                await asyncio.Event().wait()
            finally:
                await cleaned.wait()
        await go.wait()

    worker = Worker(
        [handler(take, kind=Note.kind)],
        redis_url=three.url,
        handle_signals=False,
        lanes=[LaneSlots(MAIL.lane, 2), LaneSlots(REPORTS.lane, 2)],
        lease=timedelta(milliseconds=500),
        renew_every=timedelta(hours=1),  # as if the renewal were paused
    )
    async with Producer.connect(three.url, budget=5) as producer, running(worker):
        await producer.send(Note("lost"))
        await eventually(lambda: len(worker.runner) == 2)
        assert attempts == [("lost", 1)]
        await producer.send(Report("beside"))
        await eventually(lambda: ("beside", 1) in attempts)
        cleaned.set()
        await eventually(lambda: ("lost", 2) in attempts)
        go.set()
        await eventually(lambda: worker.jobs_complete >= 2)


# The whole life


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


def processes(url: str, sink: MailSink, database: str, reader_port: int) -> list[Process]:
    mail = {"MOMENTUS_MAIL__HOST": "127.0.0.1", "MOMENTUS_MAIL__PORT": str(sink.port), "MOMENTUS_MAIL__TLS": "off"}
    worker = {"MOMENTUS_REDIS_URL": url, "MOMENTUS_POSTGRES_DSN": database, "MOMENTUS_MAIL__MODE": "live", **mail}
    reader = {"MOMENTUS_REDIS_URL": url, "MOMENTUS_READER__PORT": str(reader_port)}
    return [
        Process(name="worker", argv=[sys.executable, "-m", "worker"], environment=worker, ready=worker_ready(url)),
        Process(
            name="reader", argv=[sys.executable, "-m", "reader"], environment=reader, ready=http_ok(reader_port)
        ),
    ]


async def ops(url: str, *words: str) -> tuple[int | None, str, str]:
    """The exit code, and what was said and complained of."""
    command = [sys.executable, "-m", "ops", *words]
    process = await asyncio.create_subprocess_exec(
        *command,
        env={"MOMENTUS_REDIS_URL": url, "PATH": "/usr/bin:/bin"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complaints = await process.communicate()
    return process.returncode, said.decode(), complaints.decode()


async def test_a_mail_a_report_and_a_session_live_their_whole_life_on_a_cluster(
    three: Cluster, organisation: str, smtp_sink: MailSink
) -> None:
    assert await three.owner(MAIL.tag) != await three.owner(REPORTS.tag)
    await the_whole_life(three.url, organisation, smtp_sink)


@pytest.mark.long
async def test_all_of_them_live_their_whole_life_in_another_database_than_0(
    numbered: Cluster, organisation: str, smtp_sink: MailSink
) -> None:
    await the_whole_life(f"{numbered.url}/2", organisation, smtp_sink)


async def the_whole_life(url: str, organisation: str, smtp_sink: MailSink) -> None:
    port = free_port()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(Supervisor(processes(url, smtp_sink, organisation, port)))
        producer = await stack.enter_async_context(Producer.connect(url, budget=5))
        redis = await stack.enter_async_context(connect(url))
        await producer.send(Mail(to="ana@example.com", subject="Hola", text="Buenos días"))
        (arrived,) = await smtp_sink.mailbox.wait_for(1, timeout=20)
        assert arrived.subject == "Hola"
        await eventually(lambda: redis.hexists(snapshot("default", "management"), "_meta"), timeout=20)
        await a_manager_reads_and_logs_out(url, port)
        depth = await read_depth(redis, tenant="default")
        assert depth.conserved
        assert [("reports" in one.lanes, len(one.lanes) > 1) for one in depth.workers].count((True, False)) == 1
        assert len(depth.workers) == 2  # mails, and the process for reports that belongs to it
        code, said, complaints = await ops(url, "depth", "--json")
        assert (code, complaints) == (0, "")
        assert json.loads(said)["conserved"]


async def a_manager_reads_and_logs_out(url: str, port: int) -> None:
    sessions = Sessions.connect(url, deadline=timedelta(seconds=5))
    try:
        token, session = await sessions.create("u-1", {"roots": [1]})
        await sessions.save(session, {"roots": [1], "locale": "es"})
        await eventually(lambda: is_answered(port, "/v1/reports/management/1", token), timeout=20)
        assert await sessions.revoke(token)
        assert await sessions.load(token) is None
        assert not await is_answered(port, "/v1/reports/management/1", token)
    finally:
        await sessions.close()


async def is_answered(port: int, path: str, token: str) -> bool:
    """Whether the reader answers with a document."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode("ascii"))
        return (await reader.readline()).split(b" ")[1:2] == [b"200"]
    finally:
        writer.close()


async def test_a_slot_that_nobody_serves_is_waited_out_and_the_other_group_goes_on(three: Cluster) -> None:
    """CLUSTERDOWN."""
    ran: Counter[str] = Counter()
    owner, slot = await three.owner(MAIL.tag), key_slot(MAIL.tag.encode())
    async with Producer.connect(three.url, budget=5) as producer, working(three.url, ran):
        with SyncProducer.connect(three.url, budget=5) as same:
            await producer.send(Note("before"), key="before")
            await three.ask(owner, "CLUSTER", "DELSLOTS", slot)
            try:
                with pytest.raises(RedisUnavailable):
                    await producer.send(Note("during"), key="during")
                with pytest.raises(RedisUnavailable):
                    same.send(Note("during"), key="during")
                await producer.send(Report("report"), key="report")
                await eventually(lambda: ran["report"])
            finally:
                await three.ask(owner, "CLUSTER", "ADDSLOTS", slot)
            assert same.send(Note("during"), key="during").state == "queued"
            await producer.send(Note("after"), key="after")
        await eventually(lambda: ran.keys() == {"before", "during", "report", "after"})
        assert set(ran.values()) == {1}


# Slots that move


class Load:
    """Sends notes to both lane groups, one after the other, each until it is taken."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self.acknowledged: dict[str, set[str]] = {MAIL.lane: set(), REPORTS.lane: set()}
        self.refused: Counter[str] = Counter()

    async def send(self, note: Note) -> None:
        taken = self.acknowledged[note.lane]
        while note.text not in taken:
            try:
                await self._producer.send(note, key=note.text)
                taken.add(note.text)
            except NotEnqueued:
                self.refused[note.lane] += 1
                await asyncio.sleep(0.02)

    async def send_for_ever(self, kind: type[Note]) -> None:
        for number in range(1_000_000):
            await self.send(kind(f"{kind.lane} {number}"))

    async def more(self, lane: str, number: int) -> None:
        """Wait for so many more."""
        known = len(self.acknowledged[lane])
        await eventually(lambda: len(self.acknowledged[lane]) >= known + number, timeout=PATIENCE)

    @property
    def everything(self) -> set[str]:
        """What was acknowledged."""
        return set().union(*self.acknowledged.values())


@asynccontextmanager
async def under_load(producer: Producer) -> AsyncIterator[Load]:
    load = Load(producer)
    sending = [asyncio.create_task(load.send_for_ever(kind)) for kind in (Note, Report)]
    try:
        await load.more(MAIL.lane, 20)
        yield load
    finally:
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)


async def is_conserved(redis: Redis) -> bool:
    depth = await read_depth(redis, tenant="default")
    return depth.conserved and not any(lane.ready or lane.leased for lane in depth.lanes)


async def test_a_slot_that_moves_under_load_loses_nothing_and_no_call_fails(three: Cluster) -> None:
    """Moved at once, as Valkey does since 9."""
    ran: Counter[str] = Counter()
    source = await three.owner(MAIL.tag)
    target = next(name for name in three.nodes if name != source)
    async with Producer.connect(three.url, budget=5) as producer, working(three.url, ran):
        async with under_load(producer) as load:
            try:
                await move_at_once(three, MAIL.tag, source, target)
                await load.more(MAIL.lane, 20)
            finally:
                await eventually(lambda: three.took_over(target, MAIL.tag), timeout=PATIENCE)
                await move_at_once(three, MAIL.tag, target, source)
                await eventually(lambda: three.took_over(source, MAIL.tag), timeout=PATIENCE)
            await load.more(MAIL.lane, 20)
        await eventually(lambda: load.everything <= set(ran), timeout=PATIENCE)
        assert not load.refused
        assert set(ran.values()) == {1}
        async with connect(three.url) as redis:
            await eventually(lambda: is_conserved(redis), timeout=PATIENCE)


async def move_at_once(formed: Cluster, tag: str, source: str, target: str) -> None:
    slot = key_slot(tag.encode())
    number = (await formed.ask(target, "CLUSTER", "MYID")).decode()
    try:
        await formed.ask(source, "CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", slot, slot, "NODE", number)
    except ResponseError as refusal:
        pytest.skip(f"this server moves slots key by key only: {refusal}")


@pytest.mark.long
async def test_while_a_slot_moves_key_by_key_its_scripts_are_refused_as_a_whole(three: Cluster) -> None:
    """Half of the keys are elsewhere; a script that began would end in its middle."""
    ran: Counter[str] = Counter()
    slot, source = key_slot(MAIL.tag.encode()), await three.owner(MAIL.tag)
    target = next(name for name in three.nodes if name != source)
    numbers = {name: (await three.ask(name, "CLUSTER", "MYID")).decode() for name in three.nodes}
    async with Producer.connect(three.url, budget=5) as producer:
        await producer.send_many([Note(f"before {number}") for number in range(20)])
        await three.ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", numbers[source])
        await three.ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", numbers[target])
        keys = await three.ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 1000)
        async with working(three.url, ran):
            with pytest.raises(RedisUnavailable):
                await producer.send(Note("during"), key="during")
            with SyncProducer.connect(three.url, budget=5) as same, pytest.raises(RedisUnavailable):
                same.send(Note("during"), key="during")
            async with connect(three.url) as redis:
                with pytest.raises((RedisError, OSError)):
                    await read_depth(redis, tenant="default")
            left = set(await three.ask(source, "CLUSTER", "GETKEYSINSLOT", slot, 1000))
            assert left - {MAIL.wake.encode()} == set(keys) - {MAIL.wake.encode()}
            await three.ask(source, "MIGRATE", "127.0.0.1", three.nodes[target], "", 0, 5000, "KEYS", *keys)
            with pytest.raises(RedisUnavailable):
                await producer.send(Note("during"), key="during")
            for name in (target, source, *(three.nodes.keys() - {target, source})):
                await three.ask(name, "CLUSTER", "SETSLOT", slot, "NODE", numbers[target])
            await producer.send(Note("during"), key="during")
            await eventually(lambda: len(ran) == 21, timeout=PATIENCE)
            async with connect(three.url) as redis:
                await eventually(lambda: is_conserved(redis), timeout=PATIENCE)
        assert set(ran.values()) == {1}
    await move_at_once(three, MAIL.tag, target, source)
    await eventually(lambda: three.took_over(source, MAIL.tag), timeout=PATIENCE)


# Primaries that are lost


@pytest.mark.long
async def test_what_was_confirmed_survives_the_primary_of_its_slot_and_the_other_group_goes_on(
    six: Cluster,
) -> None:
    ran: Counter[str] = Counter()
    lost = await six.owner(MAIL.tag)
    heir = await six.replica_of(lost)
    async with Producer.connect(six.url, budget=1, confirm_replicas=1) as producer, working(six.url, ran):
        async with under_load(producer) as load:
            await six.kill(lost)
            await eventually(lambda: load.refused[MAIL.lane], timeout=PATIENCE)
            await load.more(REPORTS.lane, 50)
            await eventually(lambda: six.took_over(heir, MAIL.tag), timeout=PATIENCE)
            await six.start(lost)  # as a replica of its heir
            await load.more(MAIL.lane, 50)
        await eventually(lambda: load.everything <= set(ran), timeout=PATIENCE)
        assert not load.refused[REPORTS.lane]
        async with connect(six.url) as redis:
            await eventually(lambda: is_empty(redis), timeout=PATIENCE)


async def is_empty(redis: Redis) -> bool:
    """After a failover the counts may be off by what the lost primary alone had seen finish."""
    depth = await read_depth(redis, tenant="default")
    return not any(lane.ready or lane.leased for lane in depth.lanes)


@pytest.mark.long
async def test_a_producer_without_asyncio_survives_the_primary_of_its_slot(six: Cluster) -> None:
    lost = await six.owner(MAIL.tag)
    heir = await six.replica_of(lost)
    with SyncProducer.connect(six.url, budget=1, confirm_replicas=1) as producer:
        first = producer.send(Note("before"), key="before")
        await six.kill(lost)
        with pytest.raises(NotEnqueued):
            producer.send(Note("after"), key="after")
        await eventually(lambda: six.took_over(heir, MAIL.tag), timeout=PATIENCE)
        await eventually(lambda: is_sent(producer, "after"), timeout=PATIENCE)
        with pytest.raises(NotEnqueued, match="replica"):  # the heir has none
            producer.send(Note("unconfirmed"), key="unconfirmed")
    with SyncProducer.connect(six.url, budget=1) as producer:
        assert producer.send(Note("before"), key="before").id == first.id


def is_sent(producer: SyncProducer, text: str) -> bool:
    """Sent, or on the primary without a replica yet: there is one server less now."""
    try:
        producer.send(Note(text), key=text)
    except NotEnqueued as refusal:
        return "replica" in str(refusal)
    return True


@pytest.mark.long
@pytest.mark.parametrize("fault", ["killed", "frozen"])
async def test_without_its_primary_a_producer_answers_in_time_with_a_typed_error(six: Cluster, fault: str) -> None:
    lost = await six.owner(MAIL.tag)
    async with Producer.connect(six.url) as producer:
        with SyncProducer.connect(six.url) as same:
            await producer.send(Note("a"))
            same.send(Note("b"))
            await (six.kill(lost) if fault == "killed" else frozen(six, lost))
            try:
                with pytest.raises(RedisUnavailable):
                    await producer.send(Note("c"))
                with pytest.raises(RedisUnavailable):
                    same.send(Note("d"))
            finally:
                six.resume(lost)


async def frozen(formed: Cluster, name: str) -> None:
    formed.pause(name)


@pytest.mark.long
async def test_a_frozen_primary_that_comes_back_as_a_replica_is_left(six: Cluster) -> None:
    ran: Counter[str] = Counter()
    old = await six.owner(MAIL.tag)
    heir = await six.replica_of(old)
    async with Producer.connect(six.url, budget=1, confirm_replicas=1) as producer, working(six.url, ran):
        load = Load(producer)
        await load.send(Note("before"))
        await eventually(lambda: ran["before"], timeout=PATIENCE)
        six.pause(old)
        try:
            await eventually(lambda: six.took_over(heir, MAIL.tag), timeout=PATIENCE)
        finally:
            six.resume(old)
        async with asyncio.timeout(PATIENCE):
            await load.send(Note("after"))
        await eventually(lambda: ran["after"], timeout=PATIENCE)


@pytest.mark.long
async def test_everything_away_and_back_is_waited_out_by_all(six: Cluster) -> None:
    """Worker, producers, sessions and ops are told what is wrong meanwhile, and need no restart."""
    ran: Counter[str] = Counter()
    sessions = Sessions.connect(six.url, deadline=timedelta(seconds=2))
    async with AsyncExitStack() as stack:
        producer = await stack.enter_async_context(Producer.connect(six.url, budget=1))
        redis = await stack.enter_async_context(connect(six.url))
        await stack.enter_async_context(working(six.url, ran))
        same = stack.enter_context(SyncProducer.connect(six.url, budget=1))
        stack.push_async_callback(sessions.close)
        load = Load(producer)
        await load.send(Note("before"))
        await eventually(lambda: ran["before"], timeout=PATIENCE)
        token, _ = await sessions.create("u-1", {})
        for name in six.nodes:
            await six.kill(name)
        with pytest.raises(RedisUnavailable):
            await producer.send(Note("during"))
        with pytest.raises(RedisUnavailable):
            same.send(Note("during"))
        with pytest.raises(SessionsUnavailable):
            await sessions.load(token)
        with pytest.raises((RedisError, OSError)):
            await read_depth(redis, tenant="default")
        for name in six.nodes:
            await six.start(name)
        async with asyncio.timeout(PATIENCE):
            await load.send(Note("after"))
        await eventually(lambda: ran["after"], timeout=PATIENCE)
        await eventually(lambda: is_known(sessions, token), timeout=PATIENCE)
        await eventually(lambda: is_sent(same, "same"), timeout=PATIENCE)
        await eventually(lambda: is_conserved_if_there(redis), timeout=PATIENCE)


async def is_known(sessions: Sessions, token: str) -> bool:
    with suppress(SessionsUnavailable):
        return await sessions.load(token) is not None
    return False


async def is_conserved_if_there(redis: Redis) -> bool:
    with suppress(RedisError, OSError):
        return await is_conserved(redis)
    return False


@pytest.mark.long
async def test_the_reader_and_sessions_follow_the_primaries(six: Cluster) -> None:
    """The reader is a process that has seen both primaries before they are lost."""
    port = free_port()
    environment = {"MOMENTUS_REDIS_URL": six.url, "MOMENTUS_READER__PORT": str(port)}
    reader = Process(
        name="reader", argv=[sys.executable, "-m", "reader"], environment=environment, ready=http_ok(port)
    )
    sessions = Sessions.connect(six.url, deadline=timedelta(seconds=2))
    async with Supervisor([reader]), connect(six.url) as redis:
        token, _ = await sessions.create("u-1", {"roots": [1]})
        await eventually(lambda: status_of(port, token), timeout=PATIENCE)
        for tag in (REPORTS.tag, MAIL.tag):  # one after the other: the other primaries elect the heir
            lost = await six.owner(tag)
            heir = await six.replica_of(lost)
            await six.kill(lost)
            await eventually(lambda heir=heir, tag=tag: six.took_over(heir, tag), timeout=PATIENCE)
        await eventually(lambda: is_known(sessions, token), timeout=PATIENCE)
        await eventually(lambda: is_conserved_if_there(redis), timeout=PATIENCE)
        await eventually(lambda: status_of(port, token), timeout=PATIENCE)
    await sessions.close()


async def status_of(port: int, token: str) -> bool:
    """Whether the reader could ask: it says that there is no such report, not that Redis is away."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = "GET /v1/reports/unknown/1 HTTP/1.1\r\nHost: x\r\n"
        writer.write(f"{head}Authorization: Bearer {token}\r\nConnection: close\r\n\r\n".encode("ascii"))
        return (await reader.readline()).split(b" ")[1:2] == [b"404"]
    finally:
        writer.close()


# Sessions without asyncio

PLENTY = timedelta(seconds=2)


async def test_sessions_without_asyncio_lie_with_every_primary(three: Cluster) -> None:
    """Asked of one node that is there, behind one that is not; what one client writes, the other reads."""
    users = [f"u-{number}" for number in range(12)]
    assert len({await three.owner(f"s:{tag_of(user)}") for user in users}) == 3
    url = f"cluster://127.0.0.1:{free_port()},127.0.0.1:{three.nodes['b']}"
    other = Sessions.connect(three.url, deadline=PLENTY)
    with closing(SyncSessions.connect(url, deadline=PLENTY)) as sessions:
        for user in users:
            token, session = sessions.create(user, {"roots": [1]})
            assert await other.load(token) == sessions.load(token) == session
            saved = sessions.save(session, {"roots": [2]})
            rotated = sessions.rotate(token)
            assert rotated is not None
            assert rotated[1].version == saved.version
            assert len(sessions.sessions_of(user)) == 1
            assert sessions.revoke_user(user) == 1
            assert sessions.load(rotated[0]) is None
    await other.close()


@pytest.mark.parametrize("state", TOKENS, ids=lambda state: state.__name__)
async def test_a_token_can_do_on_a_cluster_what_its_state_allows(three: Cluster, state: Any) -> None:
    sessions = Sessions.connect(three.url, deadline=PLENTY)
    await check_operations(sessions, state)
    await sessions.close()
    with closing(SyncSessions.connect(three.url, deadline=PLENTY)) as without_asyncio:
        await check_operations(awaitable(without_asyncio), state)


async def test_sessions_without_asyncio_go_with_a_slot_that_moves(three: Cluster) -> None:
    tag = f"s:{tag_of('u-1')}"
    source = await three.owner(tag)
    target = next(name for name in three.nodes if name != source)
    with closing(SyncSessions.connect(three.url, deadline=PLENTY)) as sessions:
        token, session = sessions.create("u-1", {"roots": [1]})
        try:
            await move_at_once(three, tag, source, target)
            await eventually(lambda: three.took_over(target, tag), timeout=PATIENCE)
            assert sessions.load(token) == session
        finally:
            await move_at_once(three, tag, target, source)
            await eventually(lambda: three.took_over(source, tag), timeout=PATIENCE)
        assert sessions.load(token) == session


@pytest.mark.long
async def test_sessions_without_asyncio_follow_the_primary_of_their_slot(six: Cluster) -> None:
    slot = f"s:{tag_of('u-1')}"
    with closing(SyncSessions.connect(six.url, deadline=PLENTY)) as sessions:
        token, _ = sessions.create("u-1", {"roots": [1]})
        lost = await six.owner(slot)
        heir = await six.replica_of(lost)
        async with Redis(port=six.nodes[lost]) as primary:
            assert await primary.wait(1, 5000) == 1, "the replica has it"
        await six.kill(lost)
        with pytest.raises(SessionsUnavailable):
            sessions.load(token)
        await eventually(lambda: six.took_over(heir, slot), timeout=PATIENCE)
        await eventually(lambda: is_there(sessions, token), timeout=PATIENCE)
        assert sessions.revoke(token)


def is_there(sessions: SyncSessions, token: str) -> bool:
    with suppress(SessionsUnavailable):
        return sessions.load(token) is not None
    return False


# People's commands


COMMANDS = [
    *("depth", "dead", "parked", "pause mail.bulk --reason x", "resume mail.bulk"),
    *("hold mail.bulk --for 10m --reason x", "release mail.bulk", "why ID", "edit ID --set text=a", "revive ID"),
    *("unpark ID", "cancel ID", "discard ID", "doctor", "mail accounts", "mail trace ID", "mail uncertain"),
    *("mail eta", "mail suppressed", "mail unsuppress --domain example.com", "mail forget ana@example.com"),
]


@pytest.mark.long
@pytest.mark.timeout(300)  # a process for each command
async def test_every_command_answers(three: Cluster) -> None:
    """Fine, a finding, or an argument; never a fault of ours, nor that Redis was not to be reached."""
    async with Producer.connect(three.url, budget=5) as producer:
        waiting = await producer.send(Note("waiting"), delay=timedelta(hours=1))
    for command in COMMANDS:
        code, _, complaints = await ops(three.url, *command.replace("ID", waiting.id).split(" "))
        assert (command, code in {0, 1, 2}, "Traceback" in complaints) == (command, True, False), complaints


# One server


@pytest.mark.parametrize(
    ("url", "shards"),
    [("redis://a:1/0", 1), ("sentinel://a:1,b:2/name", 1), ("unix:///a", 1), ("cluster://a:1,b:2", 2)],
)
def test_only_a_cluster_parts_the_lane_groups(url: str, shards: int) -> None:
    """Anywhere else all lanes share one round trip, one blocking read and one renewal."""
    lanes = [Lane(LaneKeys(name), 1) for name in ("mail.urgent", "mail.normal", "reports")]
    members = [[lane.name for lane in group] for _, group in group_lanes(lanes, url)]
    assert len(members) == shards
    assert [name for group in members for name in group] == [lane.name for lane in lanes]


async def test_a_worker_on_one_server_has_one_connection_for_each_use(valkey_url: str) -> None:
    async with Redis.from_url(valkey_url) as redis:
        before = {one["id"] for one in await redis.client_list()}
        async with working(valkey_url, Counter()):
            await eventually(lambda: has_a_blocking_read(redis))
            clients = [one for one in await redis.client_list() if one["id"] not in before]
            assert len(clients) == 3  # commands, the blocking read, the renewal thread


async def has_a_blocking_read(redis: Redis) -> bool:
    return [one["cmd"] for one in await redis.client_list()].count("blpop") == 1


# Addresses


def test_an_address_of_a_cluster_is_read_in_full() -> None:
    address = read_address("clusters://ana:p%40ss@one:1,two,[::1]:3/0?ssl_ca_certs=/etc/ca.pem")
    assert address.cluster == (("one", 1), ("two", 6379), ("::1", 3))
    assert address.secure
    assert address.options == {"username": "ana", "password": "p@ss", "ssl_ca_certs": "/etc/ca.pem"}


@pytest.mark.parametrize("make", [Producer.connect, SyncProducer.connect, Sessions.connect, connect])
def test_what_is_no_number_of_a_database_is_refused_and_the_password_is_not_told(
    make: Callable[[str], object],
) -> None:
    with pytest.raises((InvalidRequest, ValueError), match="the number of a database") as refusal:
        make("cluster://:secret@127.0.0.1:7000/momentus")
    assert "secret" not in str(refusal.value)


def test_an_address_of_a_cluster_may_name_a_database() -> None:
    assert read_address("cluster://a:1,b:2/12").options == {"db": 12}
    assert read_address("cluster://a:1,b:2/0").options == read_address("cluster://a:1,b:2").options == {}


async def test_everybody_works_in_the_database_that_the_address_names(numbered: Cluster) -> None:
    ran: Counter[str] = Counter()
    url = f"{numbered.url}/2"
    async with AsyncExitStack() as stack:
        producer = await stack.enter_async_context(Producer.connect(url, budget=5))
        redis = await stack.enter_async_context(connect(url, seconds=10))
        other = await stack.enter_async_context(connect(numbered.url, seconds=10))
        await stack.enter_async_context(working(url, ran))
        same = stack.enter_context(SyncProducer.connect(url, budget=5))
        await producer.send_many([Note(f"{number}") for number in range(20)])
        same.send(Report("report"))
        await eventually(lambda: len(ran) == 21, timeout=PATIENCE)
        await eventually(lambda: is_conserved(redis), timeout=PATIENCE)
        assert (await read_depth(redis, tenant="default")).workers
        assert not await other.exists(MAIL.counters, MAIL.workers)
        await sessions_in(url, numbered.url)
        code, said, complaints = await ops(url, "depth", "--json")
        assert (code, complaints) == (0, "")
        assert json.loads(said)["conserved"]


async def sessions_in(url: str, other_url: str) -> None:
    sessions, others = (Sessions.connect(one, deadline=timedelta(seconds=10)) for one in (url, other_url))
    with closing(SyncSessions.connect(url, deadline=timedelta(seconds=10))) as same:
        token, session = await sessions.create("u-1", {"roots": [1]})
        assert await sessions.load(token) == same.load(token) == session
        assert await others.load(token) is None
    await sessions.close()
    await others.close()


async def test_a_database_that_the_cluster_does_not_have_is_told_in_words(three: Cluster) -> None:
    url = f"{three.url}/2"
    async with Producer.connect(url, budget=5) as producer:
        with pytest.raises(NotEnqueued, match="names a database that this Redis does not have"):
            await producer.send(Note("a"))
    with (
        SyncProducer.connect(url, budget=5) as same,
        pytest.raises(NotEnqueued, match="names a database that this Redis does not have"),
    ):
        same.send(Note("a"))
    sessions = Sessions.connect(url, deadline=PLENTY)
    with pytest.raises(SessionsUnavailable, match="DB index is out of range"):
        await sessions.create("u-1", {})
    await sessions.close()
    with (
        closing(SyncSessions.connect(url, deadline=PLENTY)) as others,
        pytest.raises(SessionsUnavailable, match="DB index is out of range"),
    ):
        others.create("u-1", {})
    _, said, complaints = await ops(url, "depth")
    assert "DB index is out of range" in said + complaints


@pytest.mark.parametrize("url", ["cluster://", "cluster://a:1,", "cluster://a:x", "cluster://a/name"])
def test_an_address_that_cannot_be_read_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"cluster|host"):
        read_address(url)


async def test_a_single_server_is_no_cluster(valkey_url: str) -> None:
    port = valkey_url.rpartition(":")[2].partition("/")[0]
    with pytest.raises(ConnectionLost, match="no node of the cluster"):
        await Link(f"cluster://127.0.0.1:{port}", MAIL.tag).call("PING")
    with SyncProducer.connect(f"cluster://127.0.0.1:{port}") as producer, pytest.raises(RedisUnavailable):
        producer.send(Note("a"))
    with (
        closing(SyncSessions.connect(f"cluster://127.0.0.1:{port}")) as sessions,
        pytest.raises(SessionsUnavailable),
    ):
        sessions.create("u-1", {})
    async with connect(f"cluster://127.0.0.1:{port}") as redis:
        with pytest.raises(ConnectionLost):
            await redis.get("a")
