"""Queues in Postgres side by side with ours at level `ledger`, each in an environment of its own.

What a library's script does is in contract.py. Each measurement has a database of its own on the same server, so
that no library pays for another's rows. The libraries take turns within each part: a disturbed minute hurts all.
"""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from tests.environments import ROOT, EnvironmentUnavailable, environment


@dataclass(frozen=True, slots=True)
class Peer:
    """A library.

    Attributes:
        name: of its folder here, and in the tables.
        requirements: pinned; none for ourselves.
        python: the lowest version that it runs on.
        share: of the jobs to carry out, so that a slow one does not take minutes.
    """

    name: str
    requirements: tuple[str, ...] = ()
    python: str = "3.11"
    share: float = 1.0

    def interpreter(self) -> Path:
        """Return its Python. Raises EnvironmentUnavailable."""
        if not self.requirements:
            return Path(sys.executable)
        return environment(f"ledger-{self.name}", *self.requirements, "uvloop==0.23.0", python=self.python)


_PSYCOPG = "psycopg[binary,pool]==3.3.9"
PEERS = (
    Peer("momentus"),
    Peer("pgqueuer", ("pgqueuer==1.6.0", "asyncpg==0.32.0")),
    Peer("procrastinate", ("procrastinate==3.10.0", _PSYCOPG), share=0.1),
    Peer("oban", ("oban==0.7.0", _PSYCOPG), python="3.12", share=0.25),
)
_KILLED = 20
"""Jobs of the worker that is killed."""
_UNITS = {"writers": "commits/s", "bulk": "rows/s", "jobs": "jobs/s"}


async def measure_peers(dsn: str, url: str, jobs: int) -> dict[str, float]:
    """Return the rates of each library, and ours over each.

    Args:
        dsn: a superuser's, on a server that is empty otherwise.
        jobs: of `writers`; ten times as many of the other parts.
    """
    figures: dict[str, float] = {}
    for part, unit in _UNITS.items():
        ours = 0.0
        for peer in PEERS:
            if not (took := await _run(peer, part, dsn, url, jobs)):
                continue
            rate, client = took
            ours = ours or rate
            figures |= {f"{part}: {peer.name}, {unit}": rate, f"{part}: {peer.name}, client, us": client}
            figures |= {f"{part}: momentus / {peer.name}": ours / rate} if peer.requirements else {}
    return figures


async def measure_killed(
    dsn: str, url: str, peers: Sequence[Peer] = PEERS, *, patience: float = 420.0
) -> dict[str, float]:
    """Return the seconds from kill -9 of a worker until another has begun all its jobs again, by library.

    The libraries wait at the same time, since nothing happens meanwhile.

    Args:
        patience: seconds after which a library is given up, workers and all; it is left out then.
    """

    async def of(peer: Peer) -> tuple[float, float] | None:
        return await _took(peer, "killed", dsn, url, _KILLED, patience)

    found = zip(peers, await asyncio.gather(*map(of, peers)), strict=True)
    return {f"{peer.name}, s": took[0] for peer, took in found if took}


async def _run(peer: Peer, part: str, dsn: str, url: str, jobs: int) -> tuple[float, float] | None:
    """Return a library's rate and the client's microseconds for a job; None if it cannot be measured."""
    count = jobs if part == "writers" else int(10 * jobs * (peer.share if part == "jobs" else 1))
    if not (took := await _took(peer, part, dsn, url, count)):
        return None
    return count / took[0], took[1] * 1e6 / count


async def _took(
    peer: Peer, part: str, dsn: str, url: str, count: int, patience: float | None = None
) -> tuple[float, float] | None:
    """Return what a library's script prints; None if it fails, or takes longer than the patience (seconds)."""
    try:
        python = await asyncio.to_thread(peer.interpreter)
    except EnvironmentUnavailable as reason:
        print(f"{peer.name}: {reason}", file=sys.stderr)
        return None
    own = await _new_database(dsn, f"{peer.name}_{part}")
    program = [str(python), "-P", "-m", f"bench.ledger_peers.{peer.name}.measure", own, url, part, str(count)]
    process = await asyncio.create_subprocess_exec(
        *program, stdout=PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    try:
        told, _ = await asyncio.wait_for(process.communicate(), patience)
    except TimeoutError:
        process.terminate()  # it ends its workers
        await process.wait()
        print(f"{peer.name}: {part}: not within {patience:.0f} s", file=sys.stderr)
        return None
    if process.returncode:
        print(f"{peer.name}: {part} failed, see above", file=sys.stderr)
        return None
    seconds, processor = map(float, told.split())
    return seconds, processor


async def _new_database(dsn: str, name: str) -> str:
    """Return the address of a new database, in place of a former one of this name."""
    connection = await asyncpg.connect(dsn)
    await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.execute("CHECKPOINT")
    await connection.close()
    return f"{dsn.rpartition('/')[0]}/{name}"
