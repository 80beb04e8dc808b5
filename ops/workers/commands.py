"""`ops workers`: list the live workers; quiet, resume or stop one of them. `ops.__main__` runs them."""

import argparse
import re
from dataclasses import asdict
from functools import partial

from ops.command import Act, Command, CommandResult, Group, Tools
from ops.depth.live_workers import LiveWorker
from ops.depth.read import read_depth
from ops.durations import duration_text
from ops.language import Language
from ops.table import table
from ops.workers.order import WorkerOrder, order_worker
from ops.workers.texts import HEADS, ORDERS, STATES

_ID = re.compile(r"[0-9a-f]{16}")


async def _list(tools: Tools, _args: argparse.Namespace) -> CommandResult:
    workers = (await read_depth(tools.redis, tenant=tools.tenant, clock_bound=tools.clock_bound)).workers
    facts = {"workers": [asdict(one) for one in workers]}
    if not workers:
        return CommandResult(ORDERS[tools.language]["none"], facts)
    rows = [_row(one, tools.language) for one in workers]
    return CommandResult(table(HEADS[tools.language], rows, left={0, 1, 2, 3, 7}), facts)


def _row(worker: LiveWorker, language: Language) -> list[str]:
    busy = ", ".join(f"{lane} {slots.busy}/{slots.total}" for lane, slots in worker.lanes.items())
    return [
        worker.id,
        f"{worker.host}:{worker.pid}",
        STATES[language].get(worker.state, worker.state),
        worker.version or "-",
        duration_text(worker.seen_ms / 1000),
        _milliseconds(worker.loop_lag_ms),
        _milliseconds(worker.lease_lag_ms),
        busy,
    ]


def _milliseconds(value: int | None) -> str:
    return "-" if value is None else f"{value} ms"


async def _order(order: WorkerOrder, tools: Tools, args: argparse.Namespace) -> CommandResult:
    outcome = await order_worker(tools.redis, args.worker, order)
    text = ORDERS[tools.language][order if outcome == "ordered" else outcome].format(id=args.worker)
    facts = {"worker": args.worker, "order": order, "what": outcome}
    return CommandResult(text, facts, done=outcome == "ordered")


def _act(order: WorkerOrder) -> Act:
    return partial(_order, order)


def _add_nothing(_parser: argparse.ArgumentParser) -> None:
    """Add no argument."""


def _add_worker(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "worker", type=_worker_id, metavar="WORKER", help="the id of a live worker, as workers list shows it"
    )


def _worker_id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a worker's id; give its 16 hex digits, see ./run ops workers list"
        )
    return text


_SAMPLE = "9f3c2a71d04e5b68"

WORKERS = Group(
    "workers",
    "list the live workers; quiet, resume or stop one",
    (
        Command(
            "list",
            "list the live workers: state, version, slots, and how late loop and leases are",
            "workers list",
            _add_nothing,
            _list,
        ),
        Command(
            "quiet",
            "let a worker claim no new jobs and finish the running ones; it stays",
            f"workers quiet {_SAMPLE}",
            _add_worker,
            _act("quiet"),
        ),
        Command(
            "resume",
            "let a quiet worker claim jobs again",
            f"workers resume {_SAMPLE}",
            _add_worker,
            _act("resume"),
        ),
        Command(
            "stop",
            "let a worker finish its running jobs and exit",
            f"workers stop {_SAMPLE}",
            _add_worker,
            _act("stop"),
        ),
    ),
)
