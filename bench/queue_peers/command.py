"""The command line of the measurement: what is asked for, the rounds, what is printed."""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from pathlib import Path

from redis.asyncio import Redis

from bench.queue_peers.conditions import conditions
from bench.queue_peers.figures import markdown, short
from bench.queue_peers.install import Installed, NotInstalled, install
from bench.queue_peers.measure import Bench, Figures
from bench.queue_peers.peers import OURS, PEERS, QUICK_LEASE, Peer
from bench.queue_peers.report import Row, report
from bench.queue_peers.server import Server
from local.embedded.valkey import Valkey
from local.supervisor.supervisor import Supervisor

PARTS = ("drain", "enqueue", "bulk", "pickup", "memory", "crash", "depth")
_USUAL = PARTS[:-1]
_FACTS = ("version", "jobs at a time", "keeps results", "jobs")
_DEPTHS = (10_000, 1_000_000)
_CRASH_PATIENCE = 60.0
_SLOW_CRASH_PATIENCE = 400.0

Step = tuple[str, Callable[[], Awaitable[Figures]]]


def main(description: str) -> None:
    """Measure and print; the description is for --help."""
    asked = _arguments(description).parse_args()
    rows: dict[str, Row] = {}
    peers = [peer for peer in PEERS if peer.name in asked.only]
    if "crash" in asked.what and OURS in peers:
        peers.insert(1, QUICK_LEASE)
    installed = _install(peers, rows, asked.jobs)
    scratch = Path(tempfile.mkdtemp(prefix="momentus-bench-"))
    scratch.chmod(0o711)  # a server that runs as another user must get in
    asyncio.run(_measure(installed, rows, asked, scratch))


def _arguments(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./run bench queue", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = tuple(peer.name for peer in PEERS)
    parser.add_argument("--jobs", type=_positive, default=20_000)
    parser.add_argument("--rounds", type=_positive, default=3)
    parser.add_argument("--only", type=_some_of(names), default=names, metavar="NAME,...", help=", ".join(names))
    parser.add_argument("--what", type=_some_of(PARTS), default=_USUAL, metavar="PART,...", help=", ".join(PARTS))
    parser.add_argument("--slow", action="store_true", help="crash: the other libraries too")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _some_of(allowed: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    def chosen(text: str) -> tuple[str, ...]:
        words = tuple(text.split(","))
        if unknown := [word for word in words if word not in allowed]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)} is not one of {', '.join(allowed)}")
        return words

    return chosen


def _install(peers: Sequence[Peer], rows: dict[str, Row], jobs: int) -> list[Installed]:
    ready = []
    for peer in peers:
        facts = (peer.slots, peer.keeps, f"{round(jobs * peer.share):,}")
        try:
            ready.append(install(peer))
            rows[peer.name] = Row((ready[-1].version or "this one", *facts))
        except NotInstalled as reason:
            _say(f"{peer.name}: {reason}")
            rows[peer.name] = Row(("-", *facts), failure=str(reason))
    return ready


async def _measure(
    peers: Sequence[Installed], rows: dict[str, Row], asked: argparse.Namespace, scratch: Path
) -> None:
    load, _, _ = os.getloadavg()
    valkey = Valkey.in_directory(scratch / "valkey")
    async with Supervisor([valkey.process()], scratch=scratch), Redis.from_url(valkey.url) as redis:
        server = Server(redis, valkey.url)
        bench = Bench(server, scratch, asked.jobs)
        for number in range(asked.rounds):
            for peer in peers:
                _say(f"round {number + 1} of {asked.rounds}: {peer.peer.name}")
                await _one_round(rows[peer.peer.name], list(_steps(bench, peer, asked)))
        print(conditions(await server.name(), jobs=asked.jobs, rounds=asked.rounds, load=load), end="\n\n")
        print("\n\n".join(report(rows, _FACTS)))
        if "depth" in asked.what:
            print(await _depth(bench))


def _steps(bench: Bench, installed: Installed, asked: argparse.Namespace) -> Iterator[Step]:
    """What is taken of this peer in a round."""
    what, ours = asked.what, installed.peer.folder == OURS.folder
    if installed.peer is not QUICK_LEASE:
        if "drain" in what:
            yield "drain, 1 process", lambda: bench.drain(installed)
            yield "drain, 2 processes", lambda: bench.drain_two(installed)
        elif "bulk" in what or "memory" in what:
            yield "fill", lambda: bench.fill(installed)
        if "enqueue" in what:
            yield "enqueue", lambda: bench.enqueue(installed)
        if "pickup" in what:
            yield "pick-up", lambda: bench.pickup(installed)
    if "crash" in what and (ours or asked.slow):
        within = _CRASH_PATIENCE if ours else _SLOW_CRASH_PATIENCE
        yield "crash", lambda: bench.crash(installed, within=within)


async def _one_round(row: Row, steps: Sequence[Step]) -> None:
    for name, step in steps:
        if row.failure:
            return
        try:
            figures = await step()
        except Exception as error:  # noqa: BLE001  whatever stops one library must not stop the others
            row.failure = f"failed: {name}: {str(error) or type(error).__name__}"
            _say(f"  {row.failure}")
        else:
            row.add(figures)
            _say(f"  {name}: " + ", ".join(f"{one} {short(value)}" for one, value in figures.items()))


async def _depth(bench: Bench) -> str:
    ours = install(OURS)
    lines = []
    for waiting in _DEPTHS:
        _say(f"depth: {waiting:,} waiting")
        figures = await bench.depth(ours, waiting)
        lines.append([f"{waiting:,}", short(figures["scripts"]), short(figures["drain"])])
    header = ["jobs waiting", "server µs in scripts per job", "drain, 1 process, jobs/s"]
    return f"\n### {OURS.name} with many jobs waiting\n\n" + markdown(header, lines)


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
