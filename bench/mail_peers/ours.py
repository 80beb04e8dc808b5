"""Ours, the whole way: mails wait in Valkey, one worker process takes them and hands them over."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from bench.mail_peers.content import SENDER, html, recipient, subject, text
from bench.queue_peers.server import Server
from jobs import Mail
from local.supervisor.process import Process, RestartPolicy
from local.supervisor.supervisor import Supervisor
from producers import Producer
from producers.keys import LaneKeys

NAME = "momentus"
_KEYS = LaneKeys("mail.normal")
_LOOK = 0.01
_PATIENCE = 300.0
_AT_ONCE = 1000
_MORE_SLOTS = 10


def slots(connections: int) -> int:
    """Mails at a time: one on each connection, one behind it, and some that are prepared or recorded meanwhile."""
    return 3 * connections + _MORE_SLOTS


async def burst(server: Server, port: int, connections: int, mails: int) -> dict[str, float]:
    """Mails per second of a worker that waits with one open connection, from the first call to the last reply."""
    await server.reset()
    async with Producer.connect(server.url, budget=30) as producer, _worker(server.url, port, connections):
        await producer.send(_mail(0))
        await _reach(server, 1)
        began = time.perf_counter()
        await producer.send_many([_mail(number) for number in range(1, mails + 1)])
        await _reach(server, mails + 1)
        return {"rate": mails / (time.perf_counter() - began)}


async def drain(server: Server, port: int, connections: int, mails: int) -> dict[str, float]:
    """Mails per second, from the first accepted to the last, and the worker's CPU microseconds for each."""
    await server.reset()
    async with Producer.connect(server.url, budget=30) as producer:
        for first in range(0, mails, _AT_ONCE):
            await producer.send_many([_mail(number) for number in range(first, min(first + _AT_ONCE, mails))])
    async with _worker(server.url, port, connections) as pid:
        counted, began, cpu = await _reach(server, 1), time.perf_counter(), _cpu(pid)
        await _reach(server, mails)
        seconds = time.perf_counter() - began
        spent = _cpu(pid) - cpu
    return {"rate": (mails - counted) / seconds, "cpu": spent / (mails - counted) * 1e6}


def _mail(number: int) -> Mail:
    return Mail(to=recipient(number), sender=SENDER, subject=subject(number), text=text(number), html=html(number))


async def _reach(server: Server, count: int) -> int:
    """Wait until so many are done; how many are."""
    async with asyncio.timeout(_PATIENCE):
        while True:
            counted = int(await server.redis.hget(_KEYS.counters, "done:mail.normal") or 0)  # type: ignore[misc]  # typed for both clients
            if counted >= count:
                return counted
            await asyncio.sleep(_LOOK)


@asynccontextmanager
async def _worker(url: str, port: int, connections: int) -> AsyncIterator[int]:
    """Its process number; stopped in good order."""
    environment = {
        "MOMENTUS_REDIS_URL": url,
        "MOMENTUS_MAIL__HOST": "127.0.0.1",
        "MOMENTUS_MAIL__PORT": str(port),
        "MOMENTUS_MAIL__TLS": "off",
        "MOMENTUS_MAIL__CONNECTIONS": str(connections),
        "MOMENTUS_MAIL__MESSAGES_PER_CONNECTION": "10000",
        "MOMENTUS_WORKER__NORMAL_SLOTS": str(slots(connections)),
        "MOMENTUS_LOG_LEVEL": "warning",
    }
    argv = [sys.executable, "-m", "worker"]
    root = Path(__file__).parents[2]
    process = Process(name=NAME, argv=argv, environment=environment, cwd=root, restart=RestartPolicy.NEVER)
    async with Supervisor([process], log=lambda _name, line: print(line, file=sys.stderr)) as running:
        yield running.pid(NAME)


def _cpu(pid: int) -> float:
    """Seconds of CPU so far; not a number where the system has no /proc."""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    return float("nan")
