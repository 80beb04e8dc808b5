"""One part of the measurement; a program that bench/ledger.py starts. Prints its figures as JSON."""

import argparse
import json
import logging
from pathlib import Path

import structlog
import uvloop

from bench.ledger_costs.life import whole_life
from bench.ledger_costs.relaying import claimable, emptied, handing_over
from bench.ledger_costs.sending import level_redis
from bench.ledger_costs.servers import Servers, connected
from bench.ledger_costs.size import DAYS, size
from bench.ledger_costs.staging import bulk, transactions, writers

_MOST_MOVED = 50_000


async def _measure(servers: Servers, asked: argparse.Namespace) -> dict[str, float]:  # noqa: PLR0911  a row each
    jobs, moved = min(asked.jobs, asked.rows // 10), min(asked.rows, _MOST_MOVED)
    match asked.part:
        case "send":
            return await transactions(servers, jobs)
        case "writers":
            return await writers(servers, 2 * jobs)
        case "bulk":
            return await bulk(servers, moved)
        case "relay":
            return await handing_over(servers, moved)
        case "claimable":
            return await claimable(servers, max(2, jobs // 4), min(asked.looks, jobs // 50))
        case "wal":
            return await whole_life(servers, jobs)
        case "emptied":
            return await emptied(servers, asked.rows)
        case "redis":
            return await level_redis(servers, jobs, asked.beside)
        case "size":
            return await size(servers, asked.rows)
    raise SystemExit(f"{asked.part}: is no part")


async def _main(asked: argparse.Namespace) -> None:
    days = max(asked.days, DAYS) if asked.part == "size" else asked.days
    async with connected(asked.dsn, asked.url, days=days) as servers:
        print(json.dumps(await _measure(servers, asked)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("dsn")
    parser.add_argument("url")
    parser.add_argument("part")
    for name in ("rows", "jobs", "looks", "days"):
        parser.add_argument(name, type=int)
    parser.add_argument("--beside", type=Path)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    uvloop.run(_main(parser.parse_args()))
