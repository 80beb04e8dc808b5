"""What the ledger costs, and how fast it is.

    ./run bench ledger [--parts send,writers,...] [--rounds N] [--rows N] [--jobs N] [--beside FOLDER]

A Postgres with fsync and a Valkey of its own, both embedded, emptied before each measurement. Mails with an
envelope of about 1 KiB, by asyncpg, on uvloop. Medians of the rounds (smallest-largest).

    send       one transaction after the other on one connection, the kinds in turn: with nothing in it, with an
               INSERT into a `plain` table that has a primary key, with the `rows` of the ledger alone, and with
               the whole of `send` at level `ledger`
    writers    the same by 16 connections of one process: commits per second
    bulk       many in one transaction, a thousand in a statement; `redis` is `send_many` without a ledger
    relay      handing over, by the worker's relay alone in this process; beside a transaction that is held open;
               idle
    claimable  from the return of COMMIT until the queue in Redis has the id, by a process with all that a worker
               does for the ledger: with the producer's token, and by the look of each second alone
    wal        bytes that a job writes to Postgres' log, from staging to the record of its end
    emptied    FLUSHALL with --rows live jobs, until the queue has all of them again, by such a process
    redis      `send` at level `redis`, and with --beside by another checkout in turn; the least of two turns
    peers      PgQueuer, Procrastinate and Oban for Python beside level `ledger`, see bench/ledger_peers
    killed     the same: from kill -9 of a worker until another has begun its jobs again; at most 7 minutes
    size       the ledger's tables and WAL over --rows jobs in their whole life, a tenth of them a day, and after
               the days were removed

Processor time is the kernel's account: `client` is this process, Postgres the backends of its connections
(without its writers of WAL and checkpoints), Redis all of the server. Of a `send`, `adds` is what is above an
empty transaction. Times by the clock are those of the machine as it is; on a busy one compare ratios of one run.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections import defaultdict
from pathlib import Path

from bench.ledger_peers.peers import measure_killed, measure_peers
from bench.queue_peers.conditions import machine
from bench.queue_peers.figures import markdown, summary
from local.embedded.postgres import Postgres
from local.embedded.valkey import Valkey
from local.supervisor.supervisor import Supervisor

_MEASURE = Path(__file__).parent / "ledger_costs" / "measure.py"
_PARTS = ("send", "writers", "bulk", "relay", "claimable", "wal", "emptied", "redis", "peers", "killed", "size")


async def _measure(dsn: str, url: str, part: str, asked: argparse.Namespace) -> dict[str, float]:
    if part == "peers":
        return await measure_peers(dsn, url, asked.jobs)
    if part == "killed":
        return await measure_killed(dsn, url)
    program = [sys.executable, "-P", str(_MEASURE), dsn, url, part]
    numbers = map(str, (asked.rows, asked.jobs, asked.looks, asked.days))
    beside = ["--beside", str(asked.beside.resolve())] if asked.beside else []
    process = await asyncio.create_subprocess_exec(*program, *numbers, *beside, stdout=PIPE)
    told, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"{part}: failed, see above")
    figures: dict[str, float] = json.loads(told)
    return figures


async def _main(asked: argparse.Namespace) -> None:
    print(f"- {machine()}\n- load average before the run: {os.getloadavg()[0]:.2f}")
    print(f"- rounds: {asked.rounds}; rows: {asked.rows:,}; jobs: {asked.jobs:,}; past days: {asked.days}\n")
    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="momentus-bench-") as scratch:
        os.chmod(scratch, 0o711)  # noqa: PTH101, S103  the server is another user
        postgres = Postgres.in_directory(Path(scratch) / "postgres")
        valkey = Valkey.in_directory(Path(scratch) / "valkey")
        async with Supervisor([postgres.process(), valkey.process()]):
            for _ in range(asked.rounds):
                for part in asked.parts:
                    for figure, value in (await _measure(postgres.dsn, valkey.url, part, asked)).items():
                        found[part, figure].append(value)
                    print(f"{part}: load average {os.getloadavg()[0]:.2f}", file=sys.stderr)
    lines = [[part, figure, summary(values)] for (part, figure), values in found.items()]
    print(markdown(["part", "figure", "median (smallest-largest)"], lines))


def _chosen(text: str) -> list[str]:
    names = text.split(",")
    if unknown := set(names) - set(_PARTS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: must be of {', '.join(_PARTS)}")
    return names


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="./run bench ledger", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", type=_chosen, default=_PARTS, help=f"some of {','.join(_PARTS)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=100_000, help="of bulk and relay (at most 50,000) and emptied")
    parser.add_argument(
        "--jobs", type=int, default=2_000, help="transactions of each kind; at most a tenth of --rows"
    )
    parser.add_argument("--looks", type=int, default=20, help="jobs that wait for a look")
    parser.add_argument("--days", type=int, default=0, help="past days of which the ledger has partitions")
    parser.add_argument("--beside", type=Path, help="another checkout, for `redis`")
    asyncio.run(_main(parser.parse_args()))
