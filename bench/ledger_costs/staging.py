"""What staging costs, beside an INSERT of the same payload into a table with a primary key.

none    BEGIN and COMMIT with nothing between: what is taken off the others
plain   one INSERT into one table
ledger  ``Producer.send(..., level="ledger")``: composing, the statement, the token for the relay
rows    its statement alone, with a row that was made before
"""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from itertools import product
from statistics import median
from typing import Any

import asyncpg

from bench.ledger_costs.servers import Processors, Servers
from bench.ledger_costs.staged import ROWS_TOGETHER, Row, mail, rows, stage
from producers import Producer
from producers.staging.asyncpg_rows import AsyncpgRows

Figures = dict[str, float]
Write = Callable[[Any, Row], Awaitable[object]]

KINDS = ("none", "plain", "rows", "ledger")
_BLOCK = 100
_WRITERS = 16
_TURNS = 4
_INSERT = "INSERT INTO plain (id, lane, kind, payload) VALUES ($1, $2, $3, $4)"
_TOGETHER = (
    "INSERT INTO plain (id, lane, kind, payload) "
    "SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[])"
)


async def _none(_connection: Any, _row: Row) -> None:  # noqa: ANN401  asyncpg's
    """Write nothing."""


async def insert_plain(connection: Any, row: Row) -> None:  # noqa: ANN401  as above
    """Insert the payload of a row into the plain table."""
    await connection.execute(_INSERT, row["id"], row["lane"], row["kind"], row["payload"])


async def _rows(connection: Any, row: Row) -> None:  # noqa: ANN401  as above
    await AsyncpgRows(connection).insert([row], alone=False)


def _writes(producer: Producer) -> dict[str, Write]:
    async def ledger(connection: Any, row: Row) -> None:  # noqa: ANN401  as above
        await producer.send(mail(len(row)), level="ledger", connection=connection)

    return {"none": _none, "plain": insert_plain, "rows": _rows, "ledger": ledger}


class Spent:
    """What transactions of one kind took."""

    def __init__(self) -> None:
        self.statements: list[float] = []
        self.transactions: list[float] = []
        self.own_us = self.postgres_us = 0.0

    async def run(self, connection: Any, write: Write, made: list[Row]) -> None:  # noqa: ANN401  as above
        """Write rows, each in its own transaction."""
        for row in made:
            began = time.perf_counter()
            async with connection.transaction():
                asked = time.perf_counter()
                await write(connection, row)
                written = time.perf_counter()
            self.statements.append(written - asked)
            self.transactions.append(time.perf_counter() - began)


async def transactions(servers: Servers, jobs: int) -> Figures:
    """One connection, one transaction after the other; the kinds take turns, a hundred each."""
    await servers.empty()
    connection = await asyncpg.connect(servers.dsn)
    spent = {kind: Spent() for kind in KINDS}
    async with Producer.connect(servers.url) as producer:
        for write in _writes(producer).values():  # statements are prepared once
            await Spent().run(connection, write, rows(5))
        for _ in range(max(1, jobs // _BLOCK)):
            for kind, write in _writes(producer).items():
                made = rows(_BLOCK)
                async with Processors(servers) as used:
                    await spent[kind].run(connection, write, made)
                spent[kind].own_us += used.own_us
                spent[kind].postgres_us += used.postgres_us
    await connection.close()
    return _told(spent)


def _told(spent: dict[str, Spent]) -> Figures:
    none, figures = spent["none"], dict[str, float]()
    for kind in KINDS[1:]:
        one = spent[kind]
        count = len(one.statements)
        figures |= {
            f"{kind}: statement p50, ms": median(one.statements) * 1e3,
            f"{kind}: transaction p50, ms": median(one.transactions) * 1e3,
            f"{kind}: client adds, us": (one.own_us - none.own_us) / count,
            f"{kind}: Postgres adds, us": (one.postgres_us - none.postgres_us) / count,
            f"{kind}: both add, us": (one.own_us + one.postgres_us - none.own_us - none.postgres_us) / count,
        }
    for kind in KINDS[2:]:
        for name in ("statement p50, ms", "transaction p50, ms", "Postgres adds, us"):
            plain = figures[f"plain: {name}"]
            figures[f"{kind} / plain: {name.partition(',')[0]}"] = figures[f"{kind}: {name}"] / plain
    return figures


async def writers(servers: Servers, jobs: int) -> Figures:
    """16 connections of one process, each with its own transactions; commits per second, and what one costs.

    The kinds take turns, since the disk of a shared machine changes its pace.
    """
    await servers.empty()
    spent = {kind: [0.0, 0.0, 0.0, 0.0] for kind in KINDS[1:]}
    async with Producer.connect(servers.url) as producer:
        connections = [await asyncpg.connect(servers.dsn) for _ in range(_WRITERS)]
        writes = {kind: write for kind, write in _writes(producer).items() if kind in spent}
        for connection, write in product(connections, writes.values()):  # statements are prepared once
            await Spent().run(connection, write, rows(1))
        for turn in range(_TURNS):
            for kind, write in list(writes.items())[:: -1 if turn % 2 else 1]:
                shares = [rows(max(1, jobs // _TURNS // _WRITERS)) for _ in connections]
                pairs = zip(connections, shares, strict=True)
                async with Processors(servers) as used:
                    await asyncio.gather(*(Spent().run(one, write, share) for one, share in pairs))
                told = (sum(map(len, shares)), used.seconds, used.own_us, used.postgres_us)
                spent[kind] = [before + now for before, now in zip(spent[kind], told, strict=True)]
        for connection in connections:
            await connection.close()
    figures = dict[str, float]()
    for kind, (count, seconds, own_us, postgres_us) in spent.items():
        figures[f"{kind}: commits/s"] = count / seconds
        figures[f"{kind}: client, us/commit"] = own_us / count
        figures[f"{kind}: Postgres, us/commit"] = postgres_us / count
    for kind in KINDS[2:]:
        figures[f"{kind} / plain: commits/s"] = figures[f"{kind}: commits/s"] / figures["plain: commits/s"]
    return figures


async def bulk(servers: Servers, count: int) -> Figures:
    """Many in one transaction, a thousand in a statement."""
    figures = dict[str, float]()
    messages, made = [mail(number) for number in range(count)], rows(count)
    async with Producer.connect(servers.url, budget=10) as producer:
        connection = await asyncpg.connect(servers.dsn)

        async def plain() -> None:
            async with connection.transaction():
                for at in range(0, count, ROWS_TOGETHER):
                    some = made[at : at + ROWS_TOGETHER]
                    columns = ([row[name] for row in some] for name in ("id", "lane", "kind", "payload"))
                    await connection.execute(_TOGETHER, *columns)

        async def ledger() -> None:
            async with connection.transaction():
                await producer.send_many(messages, level="ledger", connection=connection)

        ways: dict[str, Callable[[], Awaitable[object]]] = {
            "plain": plain,
            "rows": lambda: stage(connection, made),
            "ledger": ledger,
            "redis": lambda: producer.send_many(messages),
        }
        gc.freeze()  # what is measured is not charged for looking through what was made before
        for name, way in ways.items():
            await servers.empty()
            async with Processors(servers) as used:
                await way()
            figures[f"{name}: rows/s"] = count / used.seconds
            figures[f"{name}: client, us/row"] = used.own_us / count
            figures[f"{name}: Postgres, us/row"] = used.postgres_us / count
        await connection.close()
    return figures
