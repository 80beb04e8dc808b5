"""What limits of jobs cost the server: ``./run bench limits [--rounds N] [--keys 1,200] [--beside FOLDER]``.

One private Valkey, emptied before each measurement, and one worker's store that claims and ends jobs, as many in
a round trip as it has slots. With --beside, the scripts of another checkout are measured in turn with ours, on the
same server and by the same worker. CPU is the server's own account, user and system.

    none, places, rate, both  jobs that name so many limits in turn, none of which is ever used up: CPU of each
                              job from its claim to its end. `places` limits how many run at once, `rate` how many
                              begin in a time; of 200 limits a claim of 100 jobs meets 100
    aside                     jobs of one limit without room, until none of them is due any more; 10 slots
    one by one                of these, some that run one after the other while the rest waits
    back                      the rest, when the limit is removed, until all are done

`cpu ms/trip` is the CPU of one round trip, `longest ms` the longest call of a script by the server's clock, which
on a busy machine holds what others took meanwhile. Printed as medians of the rounds (smallest-largest).
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

from bench.queue_peers.conditions import machine
from local.embedded.valkey import Valkey
from local.supervisor.supervisor import Supervisor

_MEASURE = Path(__file__).parent / "limit_costs" / "measure.py"
_SLOTS, _FLOOD_SLOTS = 100, 10

Row = tuple[str, str, str]
"""Build, what was measured, the figure."""


def _measurements(asked: argparse.Namespace) -> Iterator[tuple[str, list[int | str]]]:
    """Names of measurements, and the arguments of the program that takes them."""
    yield "none", ["places", asked.jobs, 0, _SLOTS]
    for keys in asked.keys:
        for kind in ("places", "rate", "both"):
            yield f"{kind}, {keys} limits", [kind, asked.jobs, keys, _SLOTS]
    if asked.flood:
        yield "flood", ["flood", asked.flood, 1, _FLOOD_SLOTS]


async def _measure(url: str, arguments: Sequence[int | str], build: Path | None) -> dict[str, float]:
    beside = ["--scripts", str(build)] if build else []
    program = [sys.executable, "-P", str(_MEASURE), url, *map(str, arguments), *beside]
    process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    told, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"{' '.join(program)} failed, see above")
    figures: dict[str, float] = json.loads(told)
    return figures


async def _main(asked: argparse.Namespace) -> None:
    builds = {"ours": None} | ({"beside": asked.beside.resolve()} if asked.beside else {})
    found: dict[Row, list[float]] = defaultdict(list)
    print(f"- {machine()}\n- load average before the run: {os.getloadavg()[0]:.2f}\n- rounds: {asked.rounds}\n")
    with tempfile.TemporaryDirectory() as scratch:
        valkey = Valkey.in_directory(Path(scratch) / "valkey")
        async with Supervisor([valkey.process()]):
            for _ in range(asked.rounds):
                for name, arguments in _measurements(asked):
                    for build, folder in builds.items():
                        for figure, value in (await _measure(valkey.url, arguments, folder)).items():
                            found[build, name, figure].append(value)
                print(f"load average after a round: {os.getloadavg()[0]:.2f}", file=sys.stderr)
    _print_table(found, asked.counts)


def _print_table(found: dict[Row, list[float]], counts: bool) -> None:  # noqa: FBT001  from the command line
    print("| measured | figure | build | median (smallest-largest) | against none |\n|---|---|---|---|---|")
    for (build, name, figure), values in found.items():
        if figure.startswith("calls ") and not counts:
            continue
        spread = f"{median(values):.3g} ({min(values):.3g}-{max(values):.3g})"
        print(f"| {name} | {figure} | {build} | {spread} | {_against_none(found, (build, name, figure))} |")


def _against_none(found: dict[Row, list[float]], row: Row) -> str:
    """The ratio of each round to the same build without limits in that round, its median."""
    build, name, figure = row
    if figure != "cpu us/job" or name in {"none", "flood"}:
        return ""
    pairs = zip(found[row], found[build, "none", figure], strict=True)
    return f"{median(value / none for value, none in pairs):.2f} x"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="./run bench limits", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--keys", type=lambda text: [int(one) for one in text.split(",")], default=[1, 200])
    parser.add_argument("--flood", type=int, default=100_000, help="jobs of one limit; 0: none")
    parser.add_argument("--beside", type=Path, help="another checkout, whose scripts are measured too")
    parser.add_argument("--counts", action="store_true", help="also the commands for each job, by name")
    asyncio.run(_main(parser.parse_args()))
