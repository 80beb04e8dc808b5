"""The cost of tracing: the same worker that does not trace, that does, and an earlier build, in turns.

Run: ./run bench tracing_cost [--rounds 5] [--jobs 20000] [--mails 2000] [--before CHECKOUT]

Everything is real and private to the run: Valkey, the mail sink, one worker process for each turn. `off` is a
worker as it is installed. `on` makes and batches all spans, which an exporter then drops; `sampled out` has a
sampler that keeps no trace. `before` is the worker of another checkout, to see what the code for tracing costs a
worker that does not trace. Each round takes all of them, each time with another first. Printed: jobs per second
from the first outcome to the last, and the worker's own processor time for a job, both as ratios to `off`, the
median of the rounds with the smallest and the largest.
"""

import sys
from pathlib import Path

# A script's folder comes first on the path, where `queue.py` would hide the standard library's.
if sys.path[0] == str(Path(__file__).parent):
    sys.path.pop(0)

import argparse
import asyncio
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bench.queue_peers.conditions import machine
from bench.worker_turns import DRAIN, ROOT, Site, Turn, measuring_site, spread, take_turn

_WORKER = (sys.executable, "-m", "worker")
_ON = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
class Dropping(SpanExporter):
    def export(self, spans):
        return SpanExportResult.SUCCESS
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(Dropping()))
trace.set_tracer_provider(provider)
import sys
from worker.__main__ import main
sys.exit(main())
"""


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to run the worker: its command, further variables, and the checkout."""

    words: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    root: Path = ROOT


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--mails", type=int, default=2_000)
    parser.add_argument("--before", type=Path, help="another checkout, with a bench/worker_turns.py")
    asked = parser.parse_args()
    asyncio.run(_measure(asked.rounds, asked.jobs, asked.mails, asked.before))


async def _measure(rounds: int, jobs: int, mails: int, before: Path | None) -> None:
    tracing = (sys.executable, "-c", _ON)
    variants = {
        "off": Variant(_WORKER),
        "on": Variant(tracing),
        "sampled out": Variant(tracing, {"OTEL_TRACES_SAMPLER": "always_off"}),
    }
    if before is not None:
        variants["before"] = Variant(_WORKER, root=before)
    async with measuring_site() as site:
        for name, count, settings in (("drain", jobs, DRAIN), ("mail", mails, site.mail)):
            turns = [await _round(site, count, settings, variants, first=number) for number in range(rounds)]
            _print(name, count, turns)


async def _round(
    site: Site,
    count: int,
    settings: Mapping[str, str],
    variants: Mapping[str, Variant],
    *,
    first: int,
) -> dict[str, Turn]:
    """Return a turn of each variant, beginning with another one in each round."""
    names = [*variants][first % len(variants) :] + [*variants][: first % len(variants)]
    turns = {}
    for name in names:
        one = variants[name]
        turns[name] = await take_turn(site, count, {**settings, **one.environment}, one.words, root=one.root)
    return turns


def _print(name: str, count: int, turns: Sequence[Mapping[str, Turn]]) -> None:
    off = [turn["off"] for turn in turns]
    rate, processor = statistics.median(one.per_second for one in off), [one.processor_us for one in off]
    print(f"{name}, {count} in each turn, {len(turns)} rounds; {machine()}")
    print(f"  off: {rate:,.0f} a second, {statistics.median(processor):.1f} us of the processor each")
    for other in [one for one in turns[0] if one != "off"]:
        rates = [turn[other].per_second / turn["off"].per_second for turn in turns]
        costs = [turn[other].processor_us / turn["off"].processor_us for turn in turns]
        print(f"  {other} / off: jobs per second {spread(rates)}, processor {spread(costs)}", flush=True)


if __name__ == "__main__":
    main()
