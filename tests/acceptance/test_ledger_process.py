"""Staged mails through real workers, while workers, Redis and Postgres fail: sets of mails are the verdict.

Each mail has a subject of its own. A mail that was staged and committed arrives; it arrives twice only if that was
counted as uncertain.
"""

import json
import shutil
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from local.installation import worker_ready
from local.sink.smtp import MailSink, SinkFaults
from local.supervisor.process import Backoff, Process, RestartPolicy
from local.supervisor.supervisor import Supervisor
from producers.keys import LaneKeys
from tests.ledgers import ledger_of
from tests.support import OwnValkey, eventually

KEYS = LaneKeys("mail.normal")
STAGE = "SELECT momentus_ledger.stage_mail('ana@example.com', $1, 'Hola', key => $2)"


@dataclass(frozen=True, slots=True)
class Scene:
    """A worker with a ledger and a mail server, which keeps all mails."""

    connection: asyncpg.Connection
    sink: MailSink
    running: Supervisor
    url: str
    log: list[str] = field(default_factory=list)
    ids: dict[str, str] = field(default_factory=dict)

    async def stage(self, *subjects: str, key: str | None = None) -> None:
        async with self.connection.transaction():
            for subject in subjects:
                self.ids[subject] = str(await self.connection.fetchval(STAGE, subject, key))

    def arrived(self) -> Counter[str]:
        return Counter(mail.subject for mail in self.sink.mailbox.mails)

    def told(self, *names: str) -> Counter[str]:
        """The events of these names in the worker's log, each with its part or lane."""
        lines = [json.loads(line) for line in self.log if line.startswith("{")]
        wanted = [one for one in lines if one.get("event_name") in names]
        return Counter(
            " ".join(one[key] for key in ("event_name", "part", "lane") if key in one) for one in wanted
        )

    async def all_done(self, number: int) -> bool:
        ends = await self.connection.fetchval(
            "SELECT count(*) FROM momentus_ledger.ends WHERE state IN ('done', 'duplicate')"
        )
        return bool(ends == number)

    async def wait_for_ends(self, number: int) -> None:
        await eventually(lambda: self.all_done(number), timeout=60)

    async def uncertain(self) -> set[str]:
        """The subjects of mails of which an attempt was counted as uncertain."""
        async with Redis.from_url(self.url) as redis:
            found = {job_id.decode() for job_id in await redis.zrange(KEYS.uncertain, 0, -1)}
        return self._subjects(found)

    async def counted_in_ledger(self) -> set[str]:
        """The same by the ledger, which keeps what Redis loses."""
        rows = await self.connection.fetch("SELECT id FROM momentus_ledger.effects WHERE counted")
        return self._subjects({row["id"] for row in rows})

    def _subjects(self, job_ids: set[str]) -> set[str]:
        return {subject for subject, job_id in self.ids.items() if job_id in job_ids}

    async def handed_over(self) -> bool:
        return not await self.connection.fetchval("SELECT count(*) FROM momentus_ledger.pending")

    async def kill_worker(self) -> None:
        self.running.send_signal("worker", signal.SIGKILL)
        await self.running.wait_exit("worker")

    def lost_or_doubled(self, uncertain: set[str]) -> set[str]:
        """The mails that did not arrive, and those that did so twice although that was not counted."""
        arrived = self.arrived()
        doubled = {subject for subject, times in arrived.items() if times > 1}
        return (self.ids.keys() - arrived.keys()) | (doubled - uncertain)


def worker(url: str, dsn: str, sink: MailSink) -> Process:
    return Process(
        name="worker",
        argv=[sys.executable, "-m", "worker"],
        environment={
            "MOMENTUS_REDIS_URL": url,
            "MOMENTUS_POSTGRES_DSN": dsn,
            "MOMENTUS_WORKER__REPORTS_SLOTS": "0",
            "MOMENTUS_MAIL__HOST": "127.0.0.1",
            "MOMENTUS_MAIL__PORT": str(sink.port),
            "MOMENTUS_MAIL__TLS": "off",
            "MOMENTUS_WORKER__LEASE": "1s",
            "MOMENTUS_WORKER__LEASE_RENEW": "300ms",
            "MOMENTUS_REPORTS__SHIPPED": "off",
        },
        ready=worker_ready(url),
        restart=RestartPolicy.NEVER,
        backoff=Backoff(first=timedelta(milliseconds=50)),
        drain=timedelta(seconds=20),
    )


@asynccontextmanager
async def scene(url: str, dsn: str, sink: MailSink, *, before: str = "") -> AsyncIterator[Scene]:
    """A worker on a new ledger; `before` is a statement that was carried out on it first."""
    log: list[str] = []
    async with ledger_of(dsn) as connection:
        if before:
            await connection.execute(before)
        async with Supervisor([worker(url, dsn, sink)], log=lambda _, line: log.append(line)) as running:
            yield Scene(connection, sink, running, url, log)


@asynccontextmanager
async def locked(dsn: str, table: str) -> AsyncIterator[None]:
    """Let nobody write to a table meanwhile."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE momentus_ledger.{table} IN SHARE MODE")
            yield
    finally:
        await connection.close()


def forget_data(valkey: OwnValkey) -> None:
    """Remove the folders in which a server that is away keeps its data."""
    for part in valkey.directory.iterdir():
        if part.is_dir():
            shutil.rmtree(part)


def copy_folders(source: Path, target: Path) -> None:
    for part in source.iterdir():
        if part.is_dir():
            shutil.copytree(part, target / part.name)


def names(number: int) -> list[str]:
    return [f"Tarea {one}" for one in range(number)]


async def test_a_committed_mail_arrives_once_and_one_that_was_rolled_back_never_of_one_worker_and_of_two(
    valkey_url: str, database: str, smtp_sink: MailSink
) -> None:
    async with scene(valkey_url, database, smtp_sink) as it:
        rolled_back = it.connection.transaction()
        await rolled_back.start()
        await it.connection.execute(STAGE, "rolled back", None)
        await rolled_back.rollback()
        await it.stage(*names(20))
        await it.wait_for_ends(20)
        records = await it.connection.fetch("SELECT account, attempt FROM momentus_ledger.ends")
        assert {tuple(one) for one in records} == {("default", 1)}
        more = [f"Otra {number}" for number in range(50)]
        async with Supervisor([worker(valkey_url, database, smtp_sink)]):
            for name in more:
                await it.stage(name)
            await it.wait_for_ends(70)
    assert it.arrived() == Counter([*names(20), *more])


async def test_a_worker_killed_between_push_and_commit_of_its_relay_sends_each_mail_once(
    valkey_url: str, redis: Redis, database: str, smtp_sink: MailSink
) -> None:
    async with scene(valkey_url, database, smtp_sink) as it:
        async with locked(database, "ends"):  # the end of the duplicate is written behind the push
            await it.stage("Una", "Una", key="una")
            await eventually(lambda: redis.hget(KEYS.counters, "done:mail.normal"))
            await it.kill_worker()
            assert await it.connection.fetchval("SELECT count(*) FROM momentus_ledger.pending") == 2
        await it.running.start("worker")
        await it.wait_for_ends(2)
    assert it.arrived() == Counter({"Una": 1})


async def test_an_end_is_recorded_although_the_worker_died_after_redis_had_it(
    valkey_url: str, redis: Redis, database: str, smtp_sink: MailSink
) -> None:
    async with scene(valkey_url, database, smtp_sink) as it:
        async with locked(database, "ends"):
            await it.stage(*names(5))
            await eventually(lambda: _has_ended(redis, 5))
            await it.kill_worker()
            assert await it.connection.fetchval("SELECT count(*) FROM momentus_ledger.ends") == 0
        await it.running.start("worker")
        await it.wait_for_ends(5)
        await eventually(lambda: _has_ended(redis, 0))
    assert it.arrived() == Counter(names(5))


async def _has_ended(redis: Redis, number: int) -> bool:
    return bool(await redis.hlen(KEYS.ended) == number)


async def test_mails_that_wait_when_redis_is_emptied_all_arrive(
    valkey_url: str, redis: Redis, database: str, smtp_sink: MailSink
) -> None:
    smtp_sink.faults = SinkFaults(delay_min=timedelta(milliseconds=50), delay_max=timedelta(milliseconds=150))
    async with scene(valkey_url, database, smtp_sink) as it:
        await it.stage(*names(200))
        await smtp_sink.mailbox.wait_for(40)
        await redis.flushall()
        await it.wait_for_ends(200)
        uncertain = await it.uncertain()
    assert it.lost_or_doubled(uncertain) == set()


async def test_a_redis_that_comes_back_empty_gets_all_mails_again(
    own_valkey: Callable[..., Awaitable[OwnValkey]], database: str, smtp_sink: MailSink
) -> None:
    smtp_sink.faults = SinkFaults(delay_min=timedelta(milliseconds=50), delay_max=timedelta(milliseconds=150))
    valkey = await own_valkey()
    async with scene(valkey.url, database, smtp_sink) as it:
        await it.stage(*names(100))
        await smtp_sink.mailbox.wait_for(20)
        await valkey.kill()
        forget_data(valkey)
        more = [f"Otra {number}" for number in range(20)]
        await it.stage(*more)  # while it is away
        await valkey.start()
        await it.wait_for_ends(120)
        uncertain = await it.uncertain()
    assert it.lost_or_doubled(uncertain) == set()


async def test_a_redis_that_goes_back_to_an_earlier_state_sends_no_mail_twice_in_silence(
    own_valkey: Callable[..., Awaitable[OwnValkey]], database: str, smtp_sink: MailSink, tmp_path: Path
) -> None:
    smtp_sink.faults = SinkFaults(delay_min=timedelta(milliseconds=100), delay_max=timedelta(milliseconds=200))
    valkey = await own_valkey()
    async with scene(valkey.url, database, smtp_sink) as it:
        await it.stage(*names(150))
        await eventually(it.handed_over)
        await valkey.kill()
        copy_folders(valkey.directory, tmp_path)
        await valkey.start()
        await smtp_sink.mailbox.wait_for(80, timeout=30)
        more = [f"Otra {number}" for number in range(20)]
        await it.stage(*more)
        await eventually(it.handed_over)
        await valkey.kill()
        forget_data(valkey)
        copy_folders(tmp_path, valkey.directory)
        await valkey.start()
        await it.wait_for_ends(170)
        uncertain = await it.uncertain() | await it.counted_in_ledger()  # what Redis counted before went with it
    assert it.lost_or_doubled(uncertain) == set()


@pytest.mark.long
async def test_a_killed_worker_and_an_emptied_redis_together_lose_no_mail(
    valkey_url: str, redis: Redis, database: str, smtp_sink: MailSink
) -> None:
    smtp_sink.faults = SinkFaults(delay_min=timedelta(milliseconds=50), delay_max=timedelta(milliseconds=150))
    async with scene(valkey_url, database, smtp_sink) as it:
        await it.stage(*names(100))
        await smtp_sink.mailbox.wait_for(20)
        await it.kill_worker()
        await redis.flushall()
        await it.running.start("worker")
        await it.wait_for_ends(100)
        uncertain = await it.uncertain()
    assert it.lost_or_doubled(uncertain) == set()


async def test_while_postgres_takes_no_mark_no_mail_goes_out_and_then_each_once(
    valkey_url: str, redis: Redis, database: str, smtp_sink: MailSink
) -> None:
    async with scene(valkey_url, database, smtp_sink) as it:
        async with locked(database, "effects"):
            await it.stage("Una")
            await eventually(lambda: redis.lrange(KEYS.history(it.ids["Una"]), 0, -1))
            assert not it.arrived()
        await it.wait_for_ends(1)
    assert it.arrived() == Counter({"Una": 1})


# What the log tells

LATER = (
    "SELECT momentus_ledger.stage_mail('ana@example.com', 'Cierre', 'Hola', due_at => now() + interval '1 hour')"
)


async def test_the_log_tells_once_of_what_was_found_lost_and_set_aside_of_a_lane_that_rests_and_of_each_wait(
    own_valkey: Callable[..., Awaitable[OwnValkey]], database: str, smtp_sink: MailSink
) -> None:
    valkey = await own_valkey()
    async with scene(valkey.url, database, smtp_sink) as it, Redis.from_url(valkey.url) as redis:
        await a_lost_job_is_told_once(it, redis)
        await a_row_set_aside_and_a_resting_lane_are_told_once(it, redis)
        await each_part_that_waits_for_redis_is_told_once_and_that_it_goes_on(it, valkey)


async def a_lost_job_is_told_once(it: Scene, redis: Redis) -> None:
    await it.connection.execute(LATER)
    await eventually(it.handed_over)
    await redis.flushall()
    await eventually(lambda: it.told("ledger.jobs_lost"))
    await eventually(lambda: redis.zcard(KEYS.queue))
    await it.stage("Una")
    await it.wait_for_ends(1)
    told = it.told("ledger.found", "ledger.jobs_lost", "ledger.away")
    assert told == {"ledger.found": 1, "ledger.jobs_lost": 1}


async def a_row_set_aside_and_a_resting_lane_are_told_once(it: Scene, redis: Redis) -> None:
    await it.connection.execute(
        "WITH job AS (INSERT INTO momentus_ledger.jobs (day, id, lane, kind, payload) "
        "VALUES (current_date, '{mail}bad', 'mail.normal', 'mail.send', 'no envelope')) "
        "INSERT INTO momentus_ledger.pending (id, day) VALUES ('{mail}bad', current_date)"
    )
    await eventually(lambda: it.told("ledger.quarantined"))
    await redis.delete(KEYS.queue)
    await redis.set(KEYS.queue, "not a queue")
    await it.stage("Otra")
    await eventually(lambda: it.told("ledger.lane_rests"))
    await redis.delete(KEYS.queue)
    await it.wait_for_ends(2)
    told = it.told("ledger.quarantined", "ledger.lane_rests")
    assert told == {"ledger.quarantined": 1, "ledger.lane_rests mail.normal": 1}


async def each_part_that_waits_for_redis_is_told_once_and_that_it_goes_on(it: Scene, valkey: OwnValkey) -> None:
    parts = ("recorder", "reconcile", "relay")
    it.log.clear()
    await valkey.kill()
    await it.stage("Otra más")
    await eventually(lambda: len(it.told("ledger.away")) == len(parts))
    await valkey.start()
    await it.wait_for_ends(3)
    await eventually(lambda: len(it.told("ledger.back")) == len(parts))
    told = it.told("ledger.away", "ledger.back")
    assert told == {f"{event} {part}": 1 for event in ("ledger.away", "ledger.back") for part in parts}


async def test_the_log_tells_once_of_a_ledger_of_another_build_of_which_no_job_is_taken(
    valkey_url: str, redis: Redis, database: str, smtp_sink: MailSink
) -> None:
    newer = "UPDATE momentus_ledger.version SET number = number + 1"
    async with scene(valkey_url, database, smtp_sink, before=newer) as it:
        await it.stage("Una")
        await eventually(lambda: it.told("ledger.unusable"))
        await redis.lpush(KEYS.staged, "1")
        assert it.told("ledger.found", "ledger.unusable") == {"ledger.unusable schema": 1}
        assert not await it.handed_over()
