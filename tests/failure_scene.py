"""Backends, workers and a mail server as real processes on stores that fail; sets of mails are the verdict.

    backend      tests/failure_backend.py: keeps on disk what was accepted
    worker       ./run worker, restarted whenever it ends
    mail server  the sink of ./run demo: keeps what arrived

`failing` starts them, a test spoils what it wants to, and `verdict` compares the sets once all is quiet: each
accepted mail has arrived, none of a transaction that was rolled back, and none twice but those that are counted as
uncertain.
"""

import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import asyncpg

from local.sink.mailbox import Mailbox
from local.sink.smtp import MailSink, SinkFaults
from local.supervisor.process import Backoff, Process
from local.supervisor.supervisor import Supervisor
from producers.keys import LaneKeys
from producers.link.client import connect
from tests.failure_backend import ROLLED_BACK
from tests.ledgers import ledger_of
from tests.support import eventually

KEYS = LaneKeys("mail.normal")
PATIENCE = 60.0
"""Seconds, for what is certain to happen however slow the machine."""
_SUBJECTS = (
    "SELECT id, convert_from(payload, 'UTF8')::jsonb -> 'k' ->> 'subject' AS subject FROM momentus_ledger.jobs"
)
_UNCERTAIN = (
    "SELECT id FROM momentus_ledger.ends WHERE uncertain "
    "UNION SELECT id FROM momentus_ledger.effects WHERE counted"
)
_UNENDED = "SELECT id FROM momentus_ledger.jobs EXCEPT SELECT id FROM momentus_ledger.ends LIMIT 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is wrong; nothing by default.

    Attributes:
        lost: accepted mails that did not arrive.
        doubled: mails that arrived twice although that is not counted as uncertain.
        unwanted: mails that arrived although their transactions were rolled back.
    """

    lost: frozenset[str] = frozenset()
    doubled: frozenset[str] = frozenset()
    unwanted: frozenset[str] = frozenset()


@dataclass(slots=True, kw_only=True)
class FailureScene:
    """All processes, and what was accepted and has arrived.

    Attributes:
        url: Redis, as the workers and the verdict reach it.
        dsn: the database with the ledger.
    """

    url: str
    dsn: str
    sink: MailSink
    processes: Supervisor
    file: Path

    def accepted(self) -> dict[str, str]:
        """The ids of accepted mails, by subject."""
        lines = self.file.read_text("utf-8").split("\n")[:-1] if self.file.exists() else []
        return dict(line.split("\t") for line in lines)

    def arrived(self) -> Counter[str]:
        """How often each mail arrived."""
        return Counter(mail.subject for mail in self.sink.mailbox.mails)

    async def accepts(self, more: int) -> None:
        """Wait until so many more mails were accepted."""
        wanted = len(self.accepted()) + more
        await eventually(lambda: len(self.accepted()) >= wanted, timeout=PATIENCE)

    async def delivers(self, more: int) -> None:
        """Wait until so many more mails have arrived."""
        await self.sink.mailbox.wait_for(self.sink.mailbox.accepted + more, timeout=PATIENCE)

    async def rows(self, query: str) -> list[asyncpg.Record]:
        """Rows of the ledger, over a connection that no fault has touched."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return list(await connection.fetch(query))
        finally:
            await connection.close()

    async def verdict(self) -> Verdict:
        """End the backend, wait until nothing is under way any more, and compare."""
        await self.processes.stop("backend")
        await eventually(self._is_quiet, timeout=PATIENCE, every=0.05)
        accepted, arrived = self.accepted().keys(), self.arrived()
        doubled = {subject for subject, times in arrived.items() if times > 1}
        return Verdict(
            lost=frozenset(accepted - arrived.keys()),
            doubled=frozenset(doubled - await self._uncertain()),
            unwanted=frozenset(subject for subject in arrived if subject.startswith(ROLLED_BACK)),
        )

    async def _is_quiet(self) -> bool:
        async with connect(self.url, seconds=10) as redis:
            held = [await redis.zcard(KEYS.queue), await redis.zcard(KEYS.leases), await redis.hlen(KEYS.ended)]
        return not any(held) and not await self.rows(_UNENDED)

    async def _uncertain(self) -> set[str]:
        """The subjects of mails that are counted as uncertain, by Redis or by the ledger."""
        subjects = {job_id: subject for subject, job_id in self.accepted().items()}
        subjects |= {row["id"]: row["subject"] for row in await self.rows(_SUBJECTS)}
        counted = {row["id"] for row in await self.rows(_UNCERTAIN)}
        async with connect(self.url, seconds=10) as redis:
            counted |= {job_id.decode() for job_id in await redis.zrange(KEYS.uncertain, 0, -1)}
        return {subjects[job_id] for job_id in counted & subjects.keys()}


def backend(file: Path, level: str, url: str, dsn: str, *, replicas: int = 0) -> Process:
    """A backend that asks for mails at a level."""
    argv = [sys.executable, "-m", "tests.failure_backend", str(file), level, url, dsn, str(replicas)]
    return Process(name="backend", argv=argv, backoff=Backoff(first=timedelta(milliseconds=50)))


def worker(name: str, url: str, dsn: str, sink: MailSink, **settings: str) -> Process:
    """A worker that sends to the sink; further settings by name: `WORKER__CONFIRM_REPLICAS="1"`."""
    named = {
        "REDIS_URL": url,
        "POSTGRES_DSN": dsn,
        "REPORTS__SHIPPED": "off",
        "MAIL__HOST": sink.host,
        "MAIL__PORT": str(sink.port),
        "MAIL__TLS": "off",
        "WORKER__REPORTS_SLOTS": "0",
        "WORKER__LEASE": "1s",
        "WORKER__LEASE_RENEW": "300ms",
        **settings,
    }
    return Process(
        name=name,
        argv=[sys.executable, "-m", "worker"],
        environment={f"MOMENTUS_{setting}": value for setting, value in named.items()},
        backoff=Backoff(first=timedelta(milliseconds=50)),
        drain=timedelta(seconds=2),
    )


@asynccontextmanager
async def failing(
    folder: Path,
    dsn: str,
    url: str,
    *,
    level: str = "ledger",
    apart: str = "",
    replicas: int = 0,
    **settings: str,
) -> AsyncIterator[FailureScene]:
    """A backend, a worker and the mail server at work.

    Args:
        folder: for the file of what was accepted.
        apart: address of Redis for the backend, and for a worker `apart` of its own.
        replicas: those that must have a job before the backend counts it as accepted.
        settings: of the workers; see `worker`.
    """
    file = folder / "accepted"
    busy = SinkFaults(delay_min=timedelta(milliseconds=10), delay_max=timedelta(milliseconds=50))
    async with ledger_of(dsn):
        pass
    async with MailSink(Mailbox(keep=100_000), busy) as sink:
        processes = [
            backend(file, level, apart or url, dsn, replicas=replicas),
            worker("worker", url, dsn, sink, **settings),
            *([worker("apart", apart, dsn, sink, **settings)] if apart else []),
        ]
        async with Supervisor(processes) as running:
            yield FailureScene(url=url, dsn=dsn, sink=sink, processes=running, file=file)
