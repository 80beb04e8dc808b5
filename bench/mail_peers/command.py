"""The command line of the measurement: what is asked for, the rounds, what is printed."""

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from redis.asyncio import Redis

from bench.mail_peers import ours
from bench.mail_peers.conditions import conditions
from bench.mail_peers.others import Sender, find_aiosmtplib, find_nodemailer, find_smtp_source
from bench.mail_peers.server import find_tool, smtp_sink
from bench.queue_peers.figures import markdown, ratio, summary
from bench.queue_peers.install import NotInstalled
from bench.queue_peers.server import Server
from local.embedded.valkey import Valkey
from local.supervisor.supervisor import Supervisor
from tests.faulty_proxy import FaultyProxy

PARTS = ("rate", "slow", "distance")
_SLOW_SECONDS = 2
_SLOW_CONNECTIONS = (10, 50, 200)
_SLOW_MAILS = 15
_ONE_WAY = 0.025
_DISTANT_MAILS = 60

Run = Callable[[int, int, int], Awaitable[dict[str, float]]]
"""Given a port, connections and mails: the rate, and the CPU for each mail."""
_FINDERS: dict[str, Callable[[], Sender]] = {
    "nodemailer": find_nodemailer,
    "aiosmtplib-message": lambda: find_aiosmtplib("message"),
    "aiosmtplib-bytes": lambda: find_aiosmtplib("bytes"),
    "smtp-source": find_smtp_source,
}


def main(description: str) -> None:
    """Measure and print; the description is for --help."""
    asked = _arguments(description).parse_args()
    tool = find_tool("smtp-sink")
    if tool is None:
        sys.exit("no smtp-sink on this machine: install Postfix (Debian: apt install postfix)")
    scratch = Path(tempfile.mkdtemp(prefix="momentus-bench-"))
    scratch.chmod(0o711)  # a server that runs as another user must get in
    asyncio.run(_measure(asked, tool, scratch))


def _arguments(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./run bench mail", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = (ours.NAME, *_FINDERS)
    parser.add_argument("--mails", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=_numbers, default=(1, 10, 50))
    parser.add_argument("--only", type=_words, default=names, metavar="NAME,...", help=", ".join(names))
    parser.add_argument("--what", type=_words, default=PARTS, metavar="PART,...", help=", ".join(PARTS))
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(",")))


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


async def _measure(asked: argparse.Namespace, tool: str, scratch: Path) -> None:
    load, _, _ = os.getloadavg()
    valkey = Valkey.in_directory(scratch / "valkey")
    async with Supervisor([valkey.process()], scratch=scratch), Redis.from_url(valkey.url) as redis:
        server = Server(redis, valkey.url)

        print(conditions(await server.name(), rounds=asked.rounds, mails=asked.mails, load=load), end="\n\n")
        if "rate" in asked.what:
            print(await _rates(asked, tool, partial(ours.drain, server)), end="\n\n")
        if "slow" in asked.what:
            print(await _slow(tool, partial(ours.burst, server)), end="\n\n")
        if "distance" in asked.what:
            print(await _distance(tool, partial(ours.burst, server)))


async def _rates(asked: argparse.Namespace, tool: str, our_run: Run) -> str:
    runs, rows = _runs(asked.only, our_run)
    figures: dict[str, dict[str, list[float]]] = {name: {} for name in runs}
    async with smtp_sink(tool) as port:
        for number in range(asked.rounds):
            for name, run in runs.items():
                for connections in asked.connections:
                    _say(f"round {number + 1} of {asked.rounds}: {name}, {connections} connections")
                    for what, value in (await run(port, connections, asked.mails)).items():
                        figures[name].setdefault(f"{what} {connections}", []).append(value)
    most = asked.connections[-1]
    header = ["mails/s with", *[f"{one} connections" for one in asked.connections]]
    header += [f"sender's CPU at {most}, µs/mail", f"ours against it at {most}"]
    ours_most = figures.get(ours.NAME, {}).get(f"rate {most}", [])
    for name, found in figures.items():
        cells = [summary(found[f"rate {one}"]) for one in asked.connections]
        rows.append([name, *cells, summary(found[f"cpu {most}"]), ratio(ours_most, found[f"rate {most}"])])
    return markdown(header, [row + [""] * (len(header) - len(row)) for row in rows])


def _runs(only: Sequence[str], our_run: Run) -> tuple[dict[str, Run], list[list[str]]]:
    """Who can be measured, and a row for each who cannot."""
    runs: dict[str, Run] = {ours.NAME: our_run} if ours.NAME in only else {}
    missing = []
    for name in (name for name in _FINDERS if name in only):
        try:
            sender = _FINDERS[name]()
        except NotInstalled as reason:
            missing.append([name, str(reason)])
        else:
            runs[f"{sender.name} ({sender.version})"] = _in_a_thread(sender)
    return runs, missing


def _in_a_thread(sender: Sender) -> Run:
    async def run(port: int, connections: int, mails: int) -> dict[str, float]:
        return await asyncio.to_thread(sender.run, port, connections, mails)

    return run


async def _slow(tool: str, our_run: Run) -> str:
    rows = []
    async with smtp_sink(tool, seconds=_SLOW_SECONDS) as port:
        for connections in _SLOW_CONNECTIONS:
            _say(f"slow server, {connections} connections")
            figures = await our_run(port, connections, _SLOW_MAILS * connections)
            most = connections / _SLOW_SECONDS
            rows.append([str(connections), f"{figures['rate']:.2f}", f"{figures['rate'] / most:.1%}"])
    return markdown([f"connections, {_SLOW_SECONDS} s per mail", "mails/s", "of what is possible"], rows)


async def _distance(tool: str, our_run: Run) -> str:
    _say("distant server")
    async with smtp_sink(tool) as port, FaultyProxy(port) as proxy:
        proxy.delay(_ONE_WAY)
        figures = await our_run(proxy.port, 1, _DISTANT_MAILS)
    trips = 1 / figures["rate"] / (2 * _ONE_WAY)
    return f"At a server {_ONE_WAY * 2000:.0f} ms away: {trips:.2f} round trips per mail on one kept connection."


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
