"""Applications that stage jobs in their transactions: by a producer, by SQL, and where Redis' reply is lost."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal

import asyncpg

from producers import KeyConflict, NotEnqueued, Producer
from producers.entry import EntryReceipt
from producers.operation import Operation
from producers.queue import Queue
from tests.ledger_model.oracle import AskedJob

By = Literal["producer", "many", "sql"]
OLD = timedelta(days=2)
"""Age of rows whose day may be removed once they have ended; a transaction of then has just committed."""
_STAGE = "SELECT momentus_ledger.stage('note.take', $1::jsonb, $2, key => $3, due_at => $4, id => $5)"
_MAKE_OLD = (
    "UPDATE momentus_ledger.jobs SET day = day - 2 WHERE id = ANY ($1)",
    "UPDATE momentus_ledger.pending SET day = day - 2 WHERE id = ANY ($1)",
)


@dataclass(frozen=True)
class Asked:
    """A job as it is drawn: a message of a producer too."""

    kind: ClassVar[str] = "note.take"

    job_id: str
    lane: str
    text: str
    key: str | None = None
    delay: timedelta = timedelta(0)

    def fingerprint(self) -> str:
        return self.text

    def compose(self, *, job_id: str, now: datetime) -> Mapping[str, object]:
        del job_id, now
        return {"text": self.text}

    def noted(self, by: str, *, is_direct: bool = False) -> AskedJob:
        """The job as the oracle has it. SQL and producers make different fingerprints."""
        group = self.lane.partition(".")[0]
        return AskedJob(self.job_id, (group, self.key) if self.key else None, f"{by} {self.text}", is_direct)


class DeafQueue:
    """A producer's queue that carries out what it is asked for, and never hears a reply."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self.taken: list[EntryReceipt] = []

    async def run(self, operation: Operation[list[EntryReceipt]]) -> Any:
        self.taken = await self._queue.run(operation)
        raise NotEnqueued("the reply was lost")


@dataclass(slots=True)
class Application:
    """One connection, with a transaction or without."""

    dsn: str
    producer: Producer
    connection: asyncpg.Connection | None = None
    transaction: Any = field(default=None)

    @property
    def is_open(self) -> bool:
        return self.transaction is not None

    async def begin(self) -> None:
        connection = await self._connected()
        self.transaction = connection.transaction()
        await self.transaction.start()

    async def commit(self) -> None:
        transaction, self.transaction = self.transaction, None
        await transaction.commit()

    async def roll_back(self) -> None:
        transaction, self.transaction = self.transaction, None
        await transaction.rollback()

    def die(self) -> None:
        """End as by SIGKILL: the server rolls back what was open."""
        if self.connection is not None:
            self.connection.terminate()
        self.connection = self.transaction = None

    async def stage(self, asked: Sequence[Asked], by: By, *, old: bool) -> None:
        """Stage jobs in the open transaction."""
        connection = await self._connected()
        match by:
            case "sql":
                for one in asked:
                    await self._stage_by_sql(connection, one)
            case "many":
                await self.producer.send_many(asked, level="ledger", connection=connection)
            case "producer":
                for one in asked:
                    sending = self.producer.send(
                        one, key=one.key, delay=one.delay, level="ledger", connection=connection
                    )
                    await sending
        if old:
            for statement in _MAKE_OLD:
                await connection.execute(statement, [one.job_id for one in asked])

    async def _stage_by_sql(self, connection: asyncpg.Connection, one: Asked) -> None:
        due = await connection.fetchval("SELECT clock_timestamp() + $1::interval", one.delay)
        await connection.fetchval(
            _STAGE, json.dumps({"text": one.text}), one.lane, one.key, due if one.delay else None, one.job_id
        )

    async def stage_unheard(self, one: Asked) -> AskedJob | None:
        """Send at level ``fallback``; Redis takes the job unheard. None if its key has other content."""
        levels = self.producer._levels
        deaf = DeafQueue(levels._redis)
        levels._redis = deaf  # type: ignore[assignment]  # the part that a level uses
        try:
            connection = await self._connected()
            await self.producer.send(one, key=one.key, delay=one.delay, level="fallback", connection=connection)
        except KeyConflict:
            return None
        finally:
            levels._redis = deaf._queue
        return one.noted("producer", is_direct=deaf.taken[0].new)

    async def close(self) -> None:
        if self.connection is not None:
            await self.connection.close()

    async def _connected(self) -> asyncpg.Connection:
        if self.connection is None:
            self.connection = await asyncpg.connect(self.dsn)
        return self.connection
