"""A hundred mails against a server that takes two seconds for each: what the caller waits, and when all are in.

Run: ./run bench hundred_mails [--rounds 5] [--delay 2]

Everything is real and private to the run: Valkey with its append-only file on, the mail sink, one worker
process with its default settings. Each round hands over a hundred mails, one call each, and waits until all
are accepted. Printed: the median of the rounds, with the smallest and the largest.
"""

import argparse
import asyncio
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from redis.asyncio import Redis

from jobs import Mail
from local.demo.figures import percentile
from local.installation import Installation, InstallationPlan, assemble_installation
from local.supervisor.supervisor import Supervisor
from producers import Producer
from producers.keys import LaneKeys

MAILS = 100
_LOOK = timedelta(milliseconds=20)
_KEYS = LaneKeys("mail.normal")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--delay", type=float, default=2.0, help="seconds the server takes for each mail")
    asked = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="momentus-bench-"))
    scratch.chmod(0o711)  # a server that runs as another user must get in
    asyncio.run(_measure(asked.rounds, asked.delay, scratch))


async def _measure(rounds: int, delay: float, scratch: Path) -> None:
    system = assemble_installation(
        InstallationPlan(data_dir=scratch, postgres_dsn="postgresql://127.0.0.1:1/none", sink_delay=(delay, delay))
    )
    needed = [process for process in system.processes if process.name in {"valkey", "sink", "worker"}]
    async with Supervisor(needed, scratch=scratch), Producer.connect(system.redis_url, budget=2) as producer:
        figures = [await _round(system, producer, number) for number in range(rounds)]
    print(
        f"Python {platform.python_version()}, {platform.machine()}; {MAILS} mails of {delay:g} s, {rounds} rounds"
    )
    for name in figures[0]:
        _print(name, [one[name] for one in figures])
    print(f"{'one after the other':>24}  {MAILS * delay:8.1f} s  (mails x delay)")


async def _round(system: Installation, producer: Producer, number: int) -> dict[str, float]:
    async with Redis.from_url(system.redis_url) as redis:
        before = await _done(redis)
        took = []
        began = time.perf_counter()
        for one in range(MAILS):
            mail = _task(one)
            sent = time.perf_counter()
            await producer.send(mail, key=f"bench:{number}:{one}")
            took.append((time.perf_counter() - sent) * 1000)
        while await _done(redis) < before + MAILS:  # noqa: ASYNC110  the event is in another process
            await asyncio.sleep(_LOOK.total_seconds())
        total = time.perf_counter() - began
    return {
        "enqueue p50 ms": percentile(took, 0.5),
        "enqueue p99 ms": percentile(took, 0.99),
        "all accepted s": total,
    }


def _task(number: int) -> Mail:
    values = {"task": f"Cierre mensual {number}", "due": "2026-11-30"}
    return Mail(to=f"u{number}@example.com", template="task_assigned", values=values)


async def _done(redis: Redis) -> int:
    return int(await redis.hget(_KEYS.counters, "done:mail.normal") or 0)  # type: ignore[misc]  # typed for both clients


def _print(name: str, values: Sequence[float]) -> None:
    print(f"{name:>24}  {statistics.median(values):8.3f}    ({min(values):.3f} to {max(values):.3f})")


if __name__ == "__main__":
    main()
