"""The cost of counting and of being scraped: the same worker with and without, in turns.

Run: ./run bench metrics_cost [--rounds 5] [--jobs 20000] [--mails 2000]

Everything is real and private to the run: Valkey, the mail sink, one worker process for each turn. `off` is a
worker whose counting does nothing and that serves no page; `on` counts and is scraped each 5 s. Each round
takes both, in changing order. Printed: jobs per second from the first outcome to the last, and the worker's own
processor time for a job, both as ratio of on to off, the median of the rounds with the smallest and the largest;
the time of a scrape.
"""

import sys
from pathlib import Path

# A script's folder comes first on the path, where `queue.py` would hide the standard library's.
if sys.path[0] == str(Path(__file__).parent):
    sys.path.pop(0)

import argparse
import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from bench.queue_peers.conditions import machine
from bench.worker_turns import DRAIN, Site, Turn, measuring_site, spread, take_turn
from local.embedded.ports import free_port

_SCRAPE_S = 5
_OFF = """
from metrics.histogram import Histogram
from worker.engine.job_counts import JobCounts
Histogram.observe = lambda *_: None
JobCounts.count = lambda *_: None
import sys
from worker.__main__ import main
sys.exit(main())
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--mails", type=int, default=2_000)
    asked = parser.parse_args()
    asyncio.run(_measure(asked.rounds, asked.jobs, asked.mails))


async def _measure(rounds: int, jobs: int, mails: int) -> None:
    scrapes: list[float] = []
    async with measuring_site() as site:
        for name, count, settings in (("drain", jobs, DRAIN), ("mail", mails, site.mail)):
            turns = [
                await _round(site, count, settings, scrapes, swap=bool(number % 2)) for number in range(rounds)
            ]
            _print(name, count, turns)
    _print_scrapes(scrapes)


async def _round(
    site: Site, count: int, settings: Mapping[str, str], scrapes: list[float], *, swap: bool
) -> tuple[Turn, Turn]:
    """Return the turns without and with counting."""
    turns = {}
    for is_on in (True, False) if swap else (False, True):
        turns[is_on] = await _turn(site, count, settings, scrapes if is_on else None)
    return turns[False], turns[True]


async def _turn(site: Site, count: int, settings: Mapping[str, str], scrapes: list[float] | None) -> Turn:
    port = free_port()
    if scrapes is None:
        return await take_turn(site, count, settings, (sys.executable, "-c", _OFF))
    scraping = asyncio.create_task(_scrape(port, scrapes))
    try:
        return await take_turn(
            site,
            count,
            {**settings, "MOMENTUS_METRICS__WORKER": str(port)},
            (sys.executable, "-m", "worker"),
        )
    finally:
        scraping.cancel()


async def _scrape(port: int, took: list[float]) -> None:
    """Scrape each five seconds, as often as it is answered."""
    while True:
        await asyncio.sleep(_SCRAPE_S)
        with suppress(OSError):
            began = time.perf_counter()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.read()
            writer.close()
            took.append((time.perf_counter() - began) * 1000)


def _print(name: str, count: int, turns: Sequence[tuple[Turn, Turn]]) -> None:
    rate = [on.per_second / off.per_second for off, on in turns]
    processor = [on.processor_us / off.processor_us for off, on in turns]
    off_rate = statistics.median(off.per_second for off, _ in turns)
    off_us = statistics.median(off.processor_us for off, _ in turns)
    print(f"{name}, {count} in each turn, {len(turns)} rounds; {machine()}")
    print(f"  off: {off_rate:,.0f} a second, {off_us:.1f} us of the processor each")
    print(f"  on / off: jobs per second {spread(rate)}, processor {spread(processor)}", flush=True)


def _print_scrapes(took: Sequence[float]) -> None:
    if took:
        print(f"scrape of a busy worker, ms: {spread(took)} of {len(took)}")


if __name__ == "__main__":
    main()
