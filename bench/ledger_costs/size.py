"""How large the ledger's tables grow over many jobs, and what they write to Postgres' log (WAL).

The jobs are of ten past days. Each day's are staged, handed over by the worker's relay, marked as mails are before
their dot, ended and recorded by the worker's recorder, ten thousand at a time; then the sixth day back is removed,
as retention does it. Ends are put into Redis in the form in which its scripts leave them, so that a million jobs
take minutes. WAL counts full pages.
"""

from datetime import UTC, datetime, timedelta

import orjson

from bench.ledger_costs.life import LAST_WORDS, mark_all
from bench.ledger_costs.relaying import move_all
from bench.ledger_costs.servers import Servers
from bench.ledger_costs.staged import LANE, rows, stage
from ledger.retention_postgres import remove_days
from producers.keys import LaneKeys
from worker.ledger.links import GroupLinks
from worker.ledger.marks import LedgerMarks
from worker.ledger.recorder import EndRecorder
from worker.ledger.relay import Relay
from worker.ledger.tables_postgres import LedgerTables

Figures = dict[str, float]

DAYS = 10
"""Past days of the jobs: the first is eleven days ago, the last two."""
_KEPT = 5
_TOGETHER = 10_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ENDED = LaneKeys(LANE).ended
_BYTES = """
SELECT sum(pg_total_relation_size(class.oid))::float8 FROM pg_class AS class
WHERE class.relnamespace = 'momentus_ledger'::regnamespace AND class.relkind = 'r' AND class.relname LIKE $1
"""
_UPDATES = """
SELECT sum(n_tup_upd)::float8, sum(n_tup_hot_upd)::float8 FROM pg_stat_user_tables
WHERE schemaname = 'momentus_ledger' AND relname LIKE $1
"""


async def size(servers: Servers, count: int) -> Figures:
    """Bytes of the tables after each day, of a job in them, and of its WAL; and how many rows were updated."""
    await servers.empty()
    today = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0)
    before, sizes, of_day, updates = await servers.wal(), [], 0.0, [0.0, 0.0]
    for age in range(DAYS + 1, 1, -1):
        day = today - timedelta(days=age)
        await _live_through(servers, day, count // DAYS)
        of_day = await servers.database.fetchval(_BYTES, f"%{day:_%Y_%m_%d}")
        updates = await _with_updates(servers, updates, f"%{day:_%Y_%m_%d}")
        await remove_days(servers.database, (day - timedelta(days=_KEPT - 1)).date())
        sizes.append(await servers.database.fetchval(_BYTES, "%"))
    updated, hot = await _with_updates(servers, updates, "pending")
    figures = {
        "jobs": count // DAYS * DAYS,
        "WAL, bytes/job": (await servers.wal() - before) / (count // DAYS * DAYS),
        "tables and indexes of a day, bytes/job": of_day / (count // DAYS),
        f"after day {_KEPT}, MB": sizes[_KEPT - 1] / 1e6,
        f"after day {DAYS}, MB": sizes[-1] / 1e6,
        f"after day {DAYS} / after day {_KEPT}": sizes[-1] / sizes[_KEPT - 1],
        "pending, MB": await servers.database.fetchval(_BYTES, "pending") / 1e6,
        "rows updated": updated,
        "of these not HOT": updated - hot,
    }
    await remove_days(servers.database, (today - timedelta(days=1)).date())
    return figures | {"after all days were removed, MB": await servers.database.fetchval(_BYTES, "%") / 1e6}


async def _live_through(servers: Servers, day: datetime, count: int) -> None:
    """Let so many jobs of a day live their whole life."""
    tables, links = LedgerTables(servers.dsn), GroupLinks(servers.url)
    relay, marks, recorder = Relay(tables, links), LedgerMarks(tables), EndRecorder(tables, links)
    number = (day - _EPOCH).days
    for at in range(0, count, _TOGETHER):
        made = rows(min(_TOGETHER, count - at), now=day)
        ids = [str(one["id"]) for one in made]
        await stage(servers.database, made)
        await move_all(servers, relay)
        await mark_all(marks, number, ids)
        await servers.redis.hset(_ENDED, mapping=dict.fromkeys(ids, _end(number)))  # type: ignore[misc]  # redis-py's type is of both kinds
        await recorder.record_all()
        await servers.redis.flushall()
    await links.close()
    await tables.close()


def _end(day: int) -> bytes:
    return orjson.dumps({"day": day, "state": "done", "attempt": 1, "at_ms": day * 86_400_000, **LAST_WORDS})


async def _with_updates(servers: Servers, found: list[float], tables: str) -> list[float]:
    """Return the updates of these tables, all and HOT ones, above those that were found before."""
    await servers.database.execute("SELECT pg_stat_force_next_flush()")
    more = await servers.database.fetchrow(_UPDATES, tables)
    return [one + other for one, other in zip(found, more, strict=True)]
