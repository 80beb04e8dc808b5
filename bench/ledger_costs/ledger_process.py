"""All that a worker does for the ledger, without jobs; a program: ``python ledger_process.py DSN URL``.

It prints ``found`` once it works, and ends with its input.
"""

import asyncio
import sys

import uvloop

import log
from worker.ledger.service import run_ledger


async def _work(dsn: str, url: str) -> None:
    async with run_ledger(dsn, url):
        print("found", flush=True)
        await asyncio.to_thread(sys.stdin.read)


log.set_up("json", "warning")
uvloop.run(_work(sys.argv[1], sys.argv[2]))
