"""What operators change about jobs of the ledger: a revival outlives Redis, and a staged job is cancelled."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from ledger.recording_lock import exclude_recorders
from ops.jobs.operations import revive_job
from producers import Producer
from tests.acceptance.test_ledger_ends import POLICY, raising
from tests.acceptance.test_ledger_relay import Ledger, done, serving, working
from tests.command_line import run_ops
from tests.ledgers import ledger_of
from tests.notes import LANE, Note
from tests.support import eventually
from worker.engine import GiveUp, TryLater
from worker.ledger.marks import LedgerMarks
from worker.ledger.push import push_jobs
from worker.ledger.staged_job import read_staged
from worker.ledger.tables_postgres import read_jobs, remove_pending

LIVE, ENDED, DEAD = "momentus:{mail}:ledger", "momentus:{mail}:ended", f"momentus:{{mail}}:dead:{LANE}"


@dataclass(frozen=True)
class Desk:
    """An operator's commands, the ledger, and the parts of a worker that serve it."""

    ledger: Ledger
    dsn: str
    url: str

    async def ops(self, *words: str) -> tuple[int, dict[str, Any]]:
        code, out, err = await run_ops(*words, "--json", REDIS_URL=self.url, POSTGRES_DSN=self.dsn)
        return code, json.loads(out) if out else {"error": err}

    async def die(self, *texts: str) -> list[str]:
        """Stage jobs and have them die; their ends stand in Redis."""
        job_ids = [await self.ledger.stage(text) for text in texts]
        await self.ledger.relay.move_batch()
        async with working(self.url, raising(GiveUp("no such mailbox"))):
            await eventually(lambda: self._are_dead(len(job_ids)))
        return job_ids

    async def _are_dead(self, number: int) -> bool:
        return int(await self.ledger.redis.zcard(DEAD)) == number

    async def run_to_the_end(self) -> dict[str, tuple[str, str]]:
        """Let a relay, a worker and a recorder do all that there is to do; return how jobs ended."""
        await self.ledger.relay.move_batch()
        async with working(self.url, done):
            await eventually(self._has_no_live_job)
        await self.ledger.recorder.record_all()
        return await self.ledger.ends()

    async def _has_no_live_job(self) -> bool:
        return not await self.ledger.redis.hlen(LIVE)

    async def uncertain(self) -> int:
        return int(await self.ledger.redis.hget("momentus:{mail}:counters", f"uncertain:{LANE}") or 0)

    async def day(self, job_id: str) -> Any:
        return await self.ledger.connection.fetchval("SELECT day FROM momentus_ledger.jobs WHERE id = $1", job_id)


@pytest.fixture
async def desk(database: str, valkey_url: str, redis: Redis) -> AsyncIterator[Desk]:
    async with ledger_of(database) as connection, serving(database, valkey_url, connection, redis) as ledger:
        yield Desk(ledger, database, valkey_url)


async def _waits_for_a_lock(connection: asyncpg.Connection) -> bool:
    return bool(await connection.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))


# Revivals


@pytest.mark.parametrize("which", ["one", "all"])
async def test_a_revived_job_that_redis_loses_is_handed_over_again(desk: Desk, which: str) -> None:
    (job_id,) = await desk.die("a")
    await desk.ledger.recorder.record_all()
    code, _ = await desk.ops("revive", *([job_id] if which == "one" else ["--all", LANE]))
    assert (code, await desk.ledger.ends()) == (0, {})
    await desk.ledger.redis.flushall()
    assert await desk.ledger.reconciler.return_lost() == 1
    assert await desk.run_to_the_end() == {job_id: ("done", "a")}


async def test_a_dead_job_that_redis_has_lost_is_revived_from_its_row(desk: Desk) -> None:
    (job_id,) = await desk.die("a")
    await desk.ledger.recorder.record_all()
    await desk.ledger.redis.flushall()
    assert await desk.ops("revive", job_id) == (0, {"id": job_id, "lane": LANE, "what": "staged"})
    assert (await desk.ops("revive", job_id))[1]["what"] == "not dead"
    assert await desk.run_to_the_end() == {job_id: ("done", "a")}


async def test_of_a_lane_jobs_without_a_payload_in_redis_are_revived_from_their_rows(desk: Desk) -> None:
    kept, lost = await desk.die("kept", "lost")
    await desk.ledger.recorder.record_all()
    await desk.ledger.redis.delete(f"arq:job:{lost}")
    code, facts = await desk.ops("revive", "--all", LANE)
    assert (code, facts["revived"], facts["staged"], facts["vanished"]) == (0, 1, 1, 0)
    assert await desk.run_to_the_end() == {kept: ("done", "kept"), lost: ("done", "lost")}


@pytest.mark.parametrize("unknown", [0, 2])
async def test_a_revived_job_counts_its_attempts_anew_and_its_effects_too(desk: Desk, unknown: int) -> None:
    """Whether effects of its former life may have happened or not: that was counted before it died."""
    seen = list[tuple[int, int]]()

    async def take(context: dict[str, Any], text: str) -> None:
        del text
        seen.append((context["job_try"], context["unknown_effect"]))
        assert await context["begin_effect"]()
        if len(seen) <= POLICY.tries:
            raise TryLater("no", after=timedelta(0), uncertain=bool(unknown))

    job_id = await desk.ledger.stage("a")
    await desk.ledger.relay.move_batch()
    options: dict[str, Any] = {
        "ledger_marks": LedgerMarks(desk.ledger.tables),
        "policies": {Note.kind: POLICY},
    }
    async with working(desk.url, take, **options):
        await eventually(lambda: desk.ledger.redis.zscore(DEAD, job_id))
        await desk.ledger.recorder.record_all()
        before = await desk.uncertain()
        revived = await revive_job(desk.ledger.redis, job_id, ledger=desk.ledger.connection)
        assert revived == ("revived", LANE)
        await eventually(lambda: desk.ledger.redis.hexists(ENDED, job_id))
    assert seen == [(1, 0), (2, 0), (1, 0)]
    assert await desk.uncertain() == before == unknown
    await desk.ledger.recorder.record_all()
    assert (await desk.ledger.ends())[job_id][0] == "done"


@pytest.mark.parametrize("which", ["one", "all"])
async def test_a_command_without_the_ledger_leaves_its_jobs_dead_and_says_what_to_set(
    desk: Desk, producer: Producer, which: str
) -> None:
    (job_id,) = await desk.die("a")
    other = await producer.send(Note(text="not of the ledger"))
    async with working(desk.url, raising(GiveUp("no such mailbox"))):
        await eventually(lambda: desk._are_dead(2))
    words = ["revive", *([job_id] if which == "one" else ["--all", LANE])]
    code, out, _ = await run_ops(*words, REDIS_URL=desk.url)
    assert (code, "MOMENTUS_POSTGRES_DSN" in out) == (1, True)
    code, out, _ = await run_ops(*words, "--json", REDIS_URL=desk.url)
    assert (code, json.loads(out).get("what", "needs_ledger")) == (1, "needs_ledger")
    dead = await desk.ledger.redis.zrange(DEAD, 0, -1)
    assert sorted(dead) == sorted([job_id.encode(), *([other.id.encode()] if which == "one" else [])])
    assert not await desk.ledger.redis.hlen(LIVE)
    assert (await desk.ops(*words))[0] == 0
    assert (await desk.run_to_the_end())[job_id] == ("done", "a")


async def test_without_a_database_a_job_that_died_of_a_refusal_is_revived_without_doubt(desk: Desk) -> None:
    job_id = await desk.ledger.stage("a")
    await desk.ledger.relay.move_batch()
    refused = [True]

    async def take(context: dict[str, Any], text: str) -> None:
        del text
        assert await context["begin_effect"]()
        if refused:
            raise GiveUp("no such mailbox")

    async with working(desk.url, take, ledger_marks=LedgerMarks(desk.ledger.tables)):
        await eventually(lambda: desk.ledger.redis.zscore(DEAD, job_id))
        refused.clear()
        await revive_job(desk.ledger.redis, job_id, ledger=desk.ledger.connection)
        await eventually(lambda: _has_ended(desk, "done"))
    assert await desk.uncertain() == 0


async def _has_ended(desk: Desk, state: str) -> bool:
    return any(json.loads(end)["state"] == state for end in await desk.ledger.redis.hvals(ENDED))


@pytest.mark.parametrize("loss", ["payload", "all but its key"])
async def test_a_revived_job_that_is_handed_over_again_runs_and_has_its_key(desk: Desk, loss: str) -> None:
    job_id = await desk.ledger.stage("a", "k")
    await desk.ledger.relay.move_batch()
    async with working(desk.url, raising(GiveUp("no such mailbox"))):
        await eventually(lambda: desk.ledger.redis.zscore(DEAD, job_id))
    await desk.ledger.recorder.record_all()
    if loss == "payload":
        await desk.ledger.redis.delete(f"arq:job:{job_id}")
    else:
        await desk.ledger.redis.delete(DEAD, f"arq:job:{job_id}")
        (name,) = [one async for one in desk.ledger.redis.scan_iter("momentus:{mail}:unique:*")]
        await desk.ledger.redis.pexpire(name, 600_000)
    assert (await desk.ops("revive", job_id))[1]["what"] == "staged"
    second = await desk.ledger.stage("a", "k")
    assert await desk.run_to_the_end() == {job_id: ("done", "a"), second: ("duplicate", job_id)}


async def test_a_key_that_another_job_has_by_now_stays_with_it(desk: Desk) -> None:
    job_id = await desk.ledger.stage("a", "k")
    await desk.ledger.relay.move_batch()
    async with working(desk.url, raising(GiveUp("no such mailbox"))):
        await eventually(lambda: desk.ledger.redis.zscore(DEAD, job_id))
    await desk.ledger.recorder.record_all()
    await desk.ledger.redis.flushall()
    other = await desk.ledger.stage("a", "k")
    await desk.ledger.relay.move_batch()
    assert (await desk.ops("revive", job_id))[1]["what"] == "staged"
    assert await desk.run_to_the_end() == {job_id: ("duplicate", other), other: ("done", "a")}


async def test_a_job_of_a_past_day_that_was_revived_is_looked_for_when_redis_is_another(desk: Desk) -> None:
    (job_id,) = await desk.die("a")
    await desk.ledger.recorder.record_all()
    for table in ("jobs", "ends"):
        moving = f"UPDATE momentus_ledger.{table} SET day = day - 20"  # noqa: S608  ours
        await desk.ledger.connection.execute(moving)
    await desk.ledger.reconciler._look()
    await desk.ledger.reconciler._look()
    await desk.ops("revive", job_id)
    await desk.ledger.redis.flushall()
    await desk.ledger.reconciler._look()
    assert await desk.ledger.pending() == {job_id}


async def test_a_death_that_is_being_recorded_is_gone_after_the_revival(desk: Desk) -> None:
    (job_id,) = await desk.die("a")
    async with desk.ledger.connection.transaction():
        await exclude_recorders(desk.ledger.connection)  # as a recorder does
        reviving = asyncio.create_task(desk.ops("revive", job_id))
        await eventually(lambda: _waits_for_a_lock(desk.ledger.connection))
        await desk.ledger.connection.execute(
            "INSERT INTO momentus_ledger.ends (day, id, state) VALUES ($1, $2, 'dead')",
            await desk.day(job_id),
            job_id,
        )
    assert (await reviving)[1]["what"] == "revived"
    await desk.ledger.recorder.record_all()
    assert await desk.ledger.ends() == {}


async def test_a_revival_that_came_to_redis_alone_is_completed_by_the_same_command(desk: Desk) -> None:
    (job_id,) = await desk.die("a")
    await desk.ledger.recorder.record_all()
    await run_ops("revive", job_id, REDIS_URL=desk.url)
    assert (await desk.ledger.ends())[job_id][0] == "dead"
    await desk.ops("revive", job_id)
    assert (await desk.ledger.ends(), await desk.ledger.pending()) == ({}, set())


async def test_no_other_end_is_removed_and_nothing_without_content_revived(desk: Desk) -> None:
    sent, erased = await desk.ledger.stage("sent"), await desk.ledger.stage("erased")
    await desk.run_to_the_end()
    await desk.ledger.redis.flushall()
    await desk.ledger.connection.execute("UPDATE momentus_ledger.ends SET state = 'dead' WHERE id = $1", erased)
    await desk.ledger.connection.execute("UPDATE momentus_ledger.jobs SET payload = '' WHERE id = $1", erased)
    before = await desk.ledger.ends()
    assert (await desk.ops("revive", sent))[1]["what"] == "not dead"
    assert await desk.ops("revive", erased) == (1, {"id": erased, "lane": LANE, "what": "erased"})
    assert (await desk.ledger.ends(), await desk.ledger.pending()) == (before, set())


# Staged jobs


async def test_why_says_that_a_job_is_staged_and_since_when(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = await desk.ledger.stage()
    code, facts = await desk.ops("why", job_id)
    assert (code, facts["state"], facts["lane"], facts["waits_for"]) == (0, "staged", LANE, ["handover"])
    at = await desk.ledger.connection.fetchval("SELECT staged_at FROM momentus_ledger.jobs")
    settings = {"REDIS_URL": desk.url, "POSTGRES_DSN": desk.dsn}
    _, out, _ = await run_ops("why", job_id, **settings)
    assert f"{job_id}: staged" in out
    assert f"{at:%Y-%m-%d %H:%M:%S} UTC" in out
    monkeypatch.setenv("LC_ALL", "es_MX.UTF-8")
    assert f"{job_id}: anotado" in (await run_ops("why", job_id, **settings))[1]


async def test_a_staged_job_that_is_cancelled_has_its_end_and_is_never_handed_over(desk: Desk) -> None:
    job_id = await desk.ledger.stage()
    assert await desk.ops("cancel", job_id) == (0, {"id": job_id, "lane": LANE, "what": "gone"})
    assert await desk.ledger.relay.move_batch() == 0
    assert await desk.ledger.ends() == {job_id: ("cancelled", "")}
    assert (await desk.ops("cancel", job_id))[1]["what"] == "unknown"


async def test_a_staged_job_whose_effect_had_begun_is_cancelled_as_uncertain(desk: Desk) -> None:
    job_id = await desk.ledger.stage()
    await desk.ledger.connection.execute(
        "INSERT INTO momentus_ledger.effects (day, id, attempt, note) VALUES ($1, $2, 2, '')",
        await desk.day(job_id),
        job_id,
    )
    await desk.ops("cancel", job_id)
    ends = await desk.ledger.connection.fetch("SELECT state, attempt, uncertain FROM momentus_ledger.ends")
    assert [tuple(end) for end in ends] == [("cancelled", 2, True)]


async def test_a_job_that_a_relay_hands_over_meanwhile_is_cancelled_in_redis(desk: Desk) -> None:
    job_id, connection = await desk.ledger.stage(), desk.ledger.connection
    day = await connection.fetchval("SELECT day - date '1970-01-01' FROM momentus_ledger.jobs")
    async with connection.transaction():  # as a relay does
        await connection.execute("SELECT FROM momentus_ledger.pending FOR UPDATE")
        cancelling = asyncio.create_task(desk.ops("cancel", job_id))
        await eventually(lambda: _waits_for_a_lock(connection))
        (row,) = await read_jobs(connection, [(job_id, day)])
        await push_jobs(desk.ledger.redis.execute_command, [read_staged(job_id, day, row)])
        await remove_pending(connection, [job_id])
    assert (await cancelling)[1]["what"] == "gone"
    assert await desk.ledger.queued() == []
    await desk.ledger.recorder.record_all()
    assert (await desk.ledger.ends())[job_id][0] == "cancelled"


async def test_a_job_that_ended_before_its_relay_died_keeps_its_end(desk: Desk) -> None:
    job_id = await desk.ledger.stage()
    await desk.ledger.relay.move_batch()
    async with working(desk.url, done):
        await eventually(lambda: desk.ledger.redis.hlen(ENDED))
    await desk.ledger.connection.execute(
        "INSERT INTO momentus_ledger.pending (id, day) VALUES ($1, $2)", job_id, await desk.day(job_id)
    )
    assert (await desk.ops("cancel", job_id))[1]["what"] == "unknown"
    await desk.ledger.recorder.record_all()
    assert (await desk.ledger.ends())[job_id][0] == "done"


@pytest.mark.parametrize("command", ["why", "cancel"])
async def test_a_database_that_does_not_answer_is_named_rather_than_the_job_called_unknown(
    valkey_url: str, redis: Redis, command: str
) -> None:
    del redis
    dsn = "postgresql://nobody@127.0.0.1:1/none"
    code, _, err = await run_ops(command, "{mail}a", REDIS_URL=valkey_url, POSTGRES_DSN=dsn)
    assert code == 2
    assert "MOMENTUS_POSTGRES_DSN" in err
