"""One view of the managers' page: a node and its 50 children in one request, beside 50 requests to FastAPI.

Run: ./run bench page [--children 50] [--days 35] [--views 300] [--rounds 5]

Both servers are one process beside the same Valkey. Ours checks the session, judges the age and sends all
documents, the names above and the closed days, as the page asks for them. The other sends stored documents with
redis-py, without a check, over six connections as browsers open them, and over one. The client is the same small
loop over sockets. Rounds take each in turn; printed are the medians of their median and 99th percentile, and of
the processor time that the server's process took for a view, which other work on the machine changes least.
"""

import argparse
import asyncio
import os
import selectors
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import orjson
from redis.asyncio import Redis

from bench.queue_peers.conditions import machine
from bench.queue_peers.install import NotInstalled
from bench.reader import running
from bench.reader_peers.peers import PEERS
from local.demo.figures import percentile
from local.embedded.ports import free_port
from local.embedded.valkey import Valkey
from local.supervisor.supervisor import Supervisor
from sessions import Sessions

TOP = 1
BROWSERS_OPEN = 6
Rows = dict[str, list[tuple[float, float, float]]]
"""Of each way: median and 99th percentile of a view, and the server's processor time for one, each in ms."""
_STORED = "momentus:{reports}:snapshot:default:bench"
_CLOSED = "momentus:{reports}:closed:default:bench:"
_MEASURES = ("employees", "people_today", "checkins_today", "active_blockers", "open_tasks", "overdue_tasks")


async def main() -> None:
    """Measure and print."""
    it = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    it.add_argument("--children", type=int, default=50)
    it.add_argument("--days", type=int, default=35)
    it.add_argument("--views", type=int, default=300)
    it.add_argument("--rounds", type=int, default=5)
    asked = it.parse_args()
    print(f"- {machine()}\n- load average before: {os.getloadavg()[0]:.2f}; {asked.rounds} rounds, medians\n")
    with tempfile.TemporaryDirectory(prefix="momentus-bench-") as scratch:
        os.chmod(scratch, 0o711)  # noqa: PTH101, S103  the server is another user
        valkey = Valkey.in_directory(Path(scratch) / "valkey")
        async with Supervisor([valkey.process()]):
            token = await _fill(valkey.url, asked.children, asked.days)
            rows = await _measure_all(valkey.url, Path(scratch), token, asked)
    print("| a view by | p50 ms | p99 ms | times the first | processor ms | times the first |")
    print("|---|---|---|---|---|---|")
    base = [median(column) for column in zip(*next(iter(rows.values())), strict=True)]
    for name, figures in rows.items():
        p50, p99, work = (median(column) for column in zip(*figures, strict=True))
        times = f"{p50 / base[0]:.1f} x | {work:.2f} | {work / base[2]:.1f} x"
        print(f"| {name} | {p50:.2f} | {p99:.2f} | {times} |")


async def _fill(url: str, children: int, days: int) -> str:
    """Store a report as workers do, and its documents plainly; return the token of a manager of its top."""
    now = time.time_ns() // 1000
    scopes = range(TOP + 1, TOP + 1 + children)
    async with Redis.from_url(url) as redis:
        fields: dict[str, bytes] = {}
        for scope in (TOP, *scopes):
            body = _document(scope, list(scopes) if scope == TOP else [])
            path = [TOP] if scope == TOP else [TOP, scope]
            head = {"etag": f"{scope:016x}", "path": path, "as_of_us": now}
            fields |= {str(scope): body, f"head:{scope}": orjson.dumps(head)}
            await redis.set(str(scope), body)
        for back in range(1, days + 1):
            day = (datetime.now(UTC).date() - timedelta(days=back)).isoformat()
            await redis.hset(_CLOSED + day, mapping={name: fields[name] for name in (f"{TOP}", f"head:{TOP}")})
        limits = {"soft_ms": 10**8, "hard_ms": 10**9, "cost_ms": 20, "valid_until_us": None}
        fields["_meta"] = orjson.dumps({"gen": 1, "verified_us": now, **limits})
        await redis.hset(_STORED, mapping=fields)
    sessions = Sessions.connect(url, deadline=timedelta(seconds=5))
    token, _ = await sessions.create("manager", {"roots": [TOP]})
    await sessions.close()
    return str(token)


def _document(scope: int, children: list[int]) -> bytes:
    node = {
        "id": scope,
        "name": f"Dirección {scope}",
        "kind": "directorate",
        "path": [TOP, scope],
        "children": children,
    }
    values = dict.fromkeys(_MEASURES, scope * 37 % 900) | {"oldest_blocker_at": "2026-11-20T08:00:00.000000Z"}
    data = {"node": node, "total": values, "own": values}
    return orjson.dumps(
        {"report": "bench", "scope": scope, "schema": 1, "as_of": "2026-11-23T10:00:00Z", "data": data}
    )


async def _measure_all(url: str, scratch: Path, token: str, asked: argparse.Namespace) -> Rows:
    children = f"/v1/reports/bench/{TOP}/children"
    many = [f"/{scope}" for scope in range(TOP + 1, TOP + 1 + asked.children)]
    days = f"{children}?days={asked.days}"
    views = {
        f"one request, node and {asked.children} children": ("momentus, session", [children], 1),
        f"one request, with {asked.days} closed days": ("momentus, session", [days], 1),
        f"{asked.children} requests, FastAPI, {BROWSERS_OPEN} connections": ("fastapi", many, BROWSERS_OPEN),
        f"{asked.children} requests, FastAPI, one connection": ("fastapi", many, 1),
    }
    rows: Rows = {name: [] for name in views}
    for _ in range(asked.rounds):
        for name, (server, paths, connections) in views.items():
            try:
                folder = Path(tempfile.mkdtemp(dir=scratch))
                port = free_port()
                start = PEERS[server](url, port, folder)
            except NotInstalled as reason:
                raise SystemExit(str(reason)) from None
            async with running(start, port, folder) as pid:
                requests = [_request(path, token if start.session else "") for path in paths]
                rows[name].append(await asyncio.to_thread(_measure, port, pid, requests, connections, asked.views))
            sys.stderr.write(f"{name}: {rows[name][-1]}\n")
    return rows


def _request(path: str, token: str) -> bytes:
    login = f"Authorization: Bearer {token}\r\n" if token else ""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n{login}\r\n".encode()


def _measure(
    port: int, pid: int, requests: Sequence[bytes], connections: int, views: int
) -> tuple[float, float, float]:
    """Take views one after the other, and a fifth as many before; return the figures of a row."""
    open_ = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(connections)]
    for one in open_:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(views // 5):
        _view(open_, requests)
    began = _processor_ms(pid)
    times = [_view(open_, requests) for _ in range(views)]
    work = (_processor_ms(pid) - began) / views
    for one in open_:
        one.close()
    return percentile(times, 0.5), percentile(times, 0.99), work


def _processor_ms(pid: int) -> float:
    """Return the processor time of all threads of a process so far."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(one.read_text().split()[0]) for one in threads) / 1e6


def _view(connections: Sequence[socket.socket], requests: Sequence[bytes]) -> float:
    """Send all requests, each once its connection has the response before; return the milliseconds until the last.

    Raises:
        SystemExit: a response is not 200: the figure would be one of refusals.
    """
    began, waiting = time.perf_counter(), list(reversed(requests))
    with selectors.DefaultSelector() as selector:
        busy = 0
        for one in connections:
            if waiting:
                one.sendall(waiting.pop())
                selector.register(one, selectors.EVENT_READ)
                busy += 1
        while busy:
            for key, _ in selector.select():
                one = connections[[each.fileno() for each in connections].index(key.fd)]
                _read_response(one)
                if waiting:
                    one.sendall(waiting.pop())
                else:
                    selector.unregister(one)
                    busy -= 1
    return (time.perf_counter() - began) * 1000


def _read_response(connection: socket.socket) -> None:
    data = connection.recv(1 << 18)
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"not every response was good: {head!r}")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    left = length - len(body)
    while left > 0:
        left -= len(connection.recv(1 << 18))


if __name__ == "__main__":
    asyncio.run(main())
