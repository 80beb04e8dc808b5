"""What a job writes to Postgres' log (WAL) in its whole life, by steps; commits and full pages are in it.

Each job is staged in a transaction of its own, as `send` does it. The other steps are taken one after the other,
each of all jobs: relay and recorder have full batches then, as on a busy day. A mail's mark is written with those
of others that are sent at the same time.
"""

import asyncio
import signal

import asyncpg

from bench.ledger_costs.relaying import move_all
from bench.ledger_costs.servers import Servers
from bench.ledger_costs.staged import LANE, mail, rows
from bench.ledger_costs.staging import Spent, insert_plain
from producers import Producer
from producers.keys import LaneKeys
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler
from worker.ledger.links import GroupLinks
from worker.ledger.marks import LedgerMarks
from worker.ledger.recorder import EndRecorder
from worker.ledger.relay import Relay
from worker.ledger.tables_postgres import LedgerTables

Figures = dict[str, float]

_TOGETHER = 50
"""Mails that are sent at the same time."""
LAST_WORDS = {"account": "primary", "reply": "250 2.0.0 Ok: queued as 4hX2vW0qzJz1Kf"}
_KEYS = LaneKeys(LANE)
_PAYLOAD = "SELECT avg(octet_length(payload))::float8 FROM momentus_ledger.jobs"


async def whole_life(servers: Servers, jobs: int) -> Figures:
    """Bytes of WAL for a job, of each step and of all."""
    await servers.empty()
    plain = await _insert_plain(servers, jobs)
    tables, links = LedgerTables(servers.dsn), GroupLinks(servers.url)
    at = [await servers.wal()]
    ids = await _stage(servers, jobs)
    at.append(await servers.wal())
    await move_all(servers, Relay(tables, links))
    at.append(await servers.wal())
    day = int(await servers.database.fetchval("SELECT min(day) - date '1970-01-01' FROM momentus_ledger.jobs"))
    await mark_all(LedgerMarks(tables), day, ids)
    at.append(await servers.wal())
    await _run(servers)
    await EndRecorder(tables, links).record_all()
    at.append(await servers.wal())
    await links.close()
    await tables.close()
    ended = await servers.database.fetchval("SELECT count(*) FROM momentus_ledger.ends WHERE state = 'done'")
    if ended != jobs:
        raise SystemExit(f"{ended} of {jobs} jobs were recorded")
    steps = ("staged", "handed over", "marked", "recorded")
    figures = {
        f"{step}, bytes": (after - before) / jobs for step, before, after in zip(steps, at, at[1:], strict=False)
    }
    whole = sum(figures.values())
    return {
        "payload, bytes": await servers.database.fetchval(_PAYLOAD),
        "plain INSERT, bytes": plain,
        **figures,
        "whole life, bytes": whole,
        "whole life without a mark, bytes": whole - figures["marked, bytes"],
    }


async def _insert_plain(servers: Servers, jobs: int) -> float:
    """Insert the payloads of as many jobs into a table with a primary key, each in a transaction of its own."""
    before = await servers.wal()
    await Spent().run(servers.database, insert_plain, rows(jobs))
    return (await servers.wal() - before) / jobs


async def _stage(servers: Servers, jobs: int) -> list[str]:
    ids: list[str] = []
    connection = await asyncpg.connect(servers.dsn)
    async with Producer.connect(servers.url) as producer:
        for number in range(jobs):
            async with connection.transaction():
                ids.append((await producer.send(mail(number), level="ledger", connection=connection)).id)
    await connection.close()
    return ids


async def mark_all(marks: LedgerMarks, day: int, ids: list[str]) -> None:
    """Store the marks of mails of one day (since 1970), as many at a time as are sent at the same time."""
    for first in range(0, len(ids), _TOGETHER):
        some = ids[first : first + _TOGETHER]
        await asyncio.gather(*(marks.store(day, job_id, 1, "primary") for job_id in some))


async def _run(servers: Servers) -> None:
    """Run all that is queued, until no job of the ledger is live."""

    async def take(_context: dict[str, object], **_mail: object) -> dict[str, str]:
        return LAST_WORDS

    worker = Worker([handler(take, kind="mail.send")], redis_url=servers.url, lanes=[LaneSlots(LANE, _TOGETHER)])
    await asyncio.gather(worker.async_run(), _stop(servers, worker))
    await worker.close()


async def _stop(servers: Servers, worker: Worker) -> None:
    while await servers.redis.hlen(_KEYS.ledger):  # type: ignore[misc]  # noqa: ASYNC110  the event is in the server
        await asyncio.sleep(0.05)
    worker.handle_sig(signal.SIGTERM)
