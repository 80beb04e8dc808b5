"""What handing over costs, how soon a job can be claimed, and how long the return of lost ones takes.

The relay of the figures for each row is the worker's own object, alone in the process that measures. Latencies and
the return are those of a process of its own with all that a worker does for the ledger (``ledger_process.py``).
"""

import asyncio
import random
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles

import asyncpg

from bench.ledger_costs.servers import Processors, Servers
from bench.ledger_costs.staged import LANE, mail, rows, stage
from producers import Producer
from producers.keys import LaneKeys
from worker.ledger.links import GroupLinks
from worker.ledger.relay import Relay
from worker.ledger.tables_postgres import LedgerTables

Figures = dict[str, float]

_PROGRAM = Path(__file__).parent / "ledger_process.py"
_KEYS = LaneKeys(LANE)
_IDLE_SECONDS = 3.0
_LOOK = 0.0002
_REST = 0.05
_SECONDS = 300.0
_STEPS = 10


@asynccontextmanager
async def _relay(servers: Servers) -> AsyncIterator[Relay]:
    tables, links = LedgerTables(servers.dsn), GroupLinks(servers.url)
    try:
        relay = Relay(tables, links)
        await stage(servers.database, rows(1))
        await relay.move_batch()  # statements are prepared once, and the script is loaded
        yield relay
    finally:
        await links.close()
        await tables.close()


async def move_all(servers: Servers, relay: Relay) -> None:
    """Hand over all that is pending; a relay that found none may have looked at a part."""
    while await relay.move_batch() or await _is_left(servers):
        pass


async def _is_left(servers: Servers) -> bool:
    is_left = await servers.database.fetchval("SELECT EXISTS (SELECT FROM momentus_ledger.pending)")
    if is_left:
        await asyncio.sleep(_REST)
    return bool(is_left)


async def handing_over(servers: Servers, count: int) -> Figures:
    """Rows per second, with all rows pending at first; then with a transaction open since before staging."""
    await servers.empty()
    async with _relay(servers) as relay:
        await stage(servers.database, rows(count))
        async with Processors(servers) as used:
            await move_all(servers, relay)
        figures = {
            "rows/s": count / used.seconds,
            "relay, us/row": used.own_us / count,
            "Postgres, us/row": used.postgres_us / count,
            "Redis, us/row": used.redis_us / count,
            "all, us/row": used.all_us / count,
        }
        figures |= await _beside_an_open_transaction(servers, relay, count)
        figures |= await _idle(servers, relay)
    return figures


async def _beside_an_open_transaction(servers: Servers, relay: Relay, count: int) -> Figures:
    """The cost of the first and the last tenth of as many rows, none of which Postgres may clean up."""
    await servers.empty()
    holder = await asyncpg.connect(servers.dsn)
    costs: list[float] = []
    async with holder.transaction(isolation="repeatable_read"):
        await holder.fetchval("SELECT count(*) FROM plain")
        for _ in range(_STEPS):
            await stage(servers.database, rows(max(1, count // _STEPS)))
            async with Processors(servers) as used:
                await move_all(servers, relay)
            costs.append(used.all_us / max(1, count // _STEPS))
    await holder.close()
    return {
        "first tenth beside an open transaction, us/row": costs[0],
        "last tenth beside an open transaction, us/row": costs[-1],
        "last tenth / first tenth": costs[-1] / costs[0],
    }


async def _idle(servers: Servers, relay: Relay) -> Figures:
    async with Processors(servers) as used:
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                await relay.run()
        except TimeoutError:
            pass
    share = 1e-4 / used.seconds
    return {
        "idle: relay, % of a core": used.own_us * share,
        "idle: Postgres, % of a core": used.postgres_us * share,
        "idle: all, % of a core": used.all_us * share,
    }


@asynccontextmanager
async def _ledger_process(servers: Servers) -> AsyncIterator[None]:
    program = [sys.executable, "-P", str(_PROGRAM), servers.dsn, servers.url]
    process = await asyncio.create_subprocess_exec(*program, stdin=PIPE, stdout=PIPE)
    if process.stdin is None or process.stdout is None:
        raise TypeError("pipes were asked for")
    try:
        if await process.stdout.readline() != b"found\n":
            raise SystemExit("the ledger's process has ended, see above")
        yield
    finally:
        process.stdin.close()
        await process.wait()


async def claimable(servers: Servers, jobs: int, looks: int) -> Figures:
    """Milliseconds from the return of COMMIT until the queue in Redis has the id."""
    await servers.empty()
    connection = await asyncpg.connect(servers.dsn)
    async with _ledger_process(servers), Producer.connect(servers.url) as producer:
        by_token = [await _sent(servers, producer, connection) for _ in range(jobs)]
        by_poll = [await _staged(servers, connection) for _ in range(looks)]
    await connection.close()
    return {
        "token: p50, ms": median(by_token),
        "token: p99, ms": quantiles(by_token, n=100, method="inclusive")[98],
        "token: longest, ms": max(by_token),
        "poll alone: p50, ms": median(by_poll),
        "poll alone: longest, ms": max(by_poll),
    }


async def _sent(servers: Servers, producer: Producer, connection: "asyncpg.Connection[asyncpg.Record]") -> float:
    await asyncio.sleep(random.uniform(0.005, 0.05))  # noqa: S311  out of step with the relay
    async with connection.transaction():
        receipt = await producer.send(mail(1), level="ledger", connection=connection)
    return await _until_queued(servers, receipt.id)


async def _staged(servers: Servers, connection: "asyncpg.Connection[asyncpg.Record]") -> float:
    await asyncio.sleep(random.uniform(0.05, 1.05))  # noqa: S311  as above
    made = rows(1)
    await stage(connection, made)
    return await _until_queued(servers, str(made[0]["id"]))


async def _until_queued(servers: Servers, job_id: str) -> float:
    began = time.perf_counter()
    async with asyncio.timeout(_SECONDS):
        while await servers.redis.zscore(_KEYS.queue, job_id) is None:  # noqa: ASYNC110  the event is in the server
            await asyncio.sleep(_LOOK)
    return (time.perf_counter() - began) * 1e3


async def emptied(servers: Servers, count: int) -> Figures:
    """Seconds from FLUSHALL with so many live jobs until the queue has all of them again."""
    await servers.empty()
    await stage(servers.database, rows(count))
    async with _ledger_process(servers):
        await _identify(servers, "before")
        await _until_all(servers, count)
        await asyncio.sleep(2)  # it has looked at the identity of the data
        await servers.redis.flushall()
        await _identify(servers, "after")
        seconds = await _until_all(servers, count)
    return {"s": seconds, "rows/s": count / seconds}


async def _identify(servers: Servers, dataset: str) -> None:
    """Name the data, as the first worker does that finds it without a name."""
    await servers.redis.hset(_KEYS.dataset, "id", dataset)  # type: ignore[misc]  # redis-py's type is of both kinds


async def _until_all(servers: Servers, count: int) -> float:
    began = time.perf_counter()
    async with asyncio.timeout(_SECONDS):
        while await servers.redis.zcard(_KEYS.queue) < count:  # noqa: ASYNC110  the event is in the server
            await asyncio.sleep(0.02)
    return time.perf_counter() - began
