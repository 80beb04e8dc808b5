"""`ops metrics`: the fleet's metrics, once on standard output or served for Prometheus until a signal.

One-off output is for a file that another exporter reads (the textfile collector of the node exporter), or for a
quick look.
"""

import argparse
import asyncio
import sys
from collections.abc import Mapping

from metrics.health import Health
from metrics.listener import PATH, serve_page
from metrics.place import ListenPlace, bind, name_of
from metrics.process import LoopLag
from metrics.readings import Labels, Readings
from ops.command import Command, CommandRefused, CommandResult, Tools
from ops.language import Language
from ops.metrics.page import FleetPage
from ops.stop_signal import until_stopped

WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "serves": "The fleet's metrics are at {where}, until Ctrl-C.",
        "stopped": "The metrics are no longer served.",
    },
    "es": {
        "serves": "Las métricas del sistema están en {where}, hasta Ctrl-C.",
        "stopped": "Ya no se sirven las métricas.",
    },
}


def _place(text: str) -> ListenPlace:
    try:
        return ListenPlace.read(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not an address to listen on; allowed: PORT, HOST:PORT and unix:/PATH"
        ) from None


def _add_listen(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--listen",
        type=_place,
        metavar="PLACE",
        help="serve them until Ctrl-C: a port of this machine, HOST:PORT or unix:/PATH",
    )


async def _act(tools: Tools, args: argparse.Namespace) -> CommandResult:
    if args.listen is not None:
        await until_stopped(_serve(tools, args.listen))
        return CommandResult(WORDS[tools.language]["stopped"], {"served": str(args.listen)})
    page = FleetPage(tools.redis, tenant=tools.tenant, clock_bound=tools.clock_bound)
    readings = await page.read()
    _, text = page.write(readings, "")
    return CommandResult(text.decode().rstrip(), facts_of(readings), done=readings.value("momentus_redis_up") == 1)


async def _serve(tools: Tools, place: ListenPlace) -> None:
    """Serve the page until cancelled.

    Raises:
        CommandRefused: the place is taken, or not on this machine.
    """
    from ops.metrics.counted import SlowCounts  # noqa: PLC0415  with the driver of Postgres, which loads slowly

    try:
        listening = bind(place)
    except OSError as error:
        raise CommandRefused(
            f"--listen: cannot listen on {place}: {error.strerror}; name another port (0 = any free one) or path"
        ) from error
    lag, slow = LoopLag(), SlowCounts(tools)
    page = FleetPage(tools.redis, tenant=tools.tenant, clock_bound=tools.clock_bound, lag=lag, slow=slow)
    where = f"unix:{place.path}" if place.path else f"http://{name_of(listening)}{PATH}"
    health = Health(find_waiting=page.find_waiting)
    async with lag.measure(), slow.keep_counting(), serve_page(page.respond, listening, place, health):
        sys.stderr.write(f"{WORDS[tools.language]['serves'].format(where=where)}\n")
        await asyncio.Event().wait()


def facts_of(readings: Readings) -> dict[str, object]:
    """Return plain values: a number, or a number for each combination of labels, joined by spaces."""
    return {name: _plain(series) for name, series in readings.values.items()}


def _plain(series: Mapping[Labels, float]) -> object:
    return series[()] if () in series else {" ".join(labels): value for labels, value in series.items()}


METRICS = Command(
    "metrics",
    "print the fleet's metrics for Prometheus, or serve them",
    "metrics --listen 9313",
    _add_listen,
    _act,
)
