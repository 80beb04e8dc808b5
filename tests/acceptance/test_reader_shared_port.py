"""Several readers on one port: all answer, and whoever stops fails nobody."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import random

import pytest
from redis.asyncio import Redis

from local.embedded.ports import free_port
from tests.reader_process import REPORT, ROOT, Reply, document, meta, read_reply, reader_process, request
from tests.support import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux shares ports between processes so")
URL = "/v1/reports/general/1"


@pytest.fixture
async def port(valkey_url: str) -> int:
    """A free one; the report is there for the tenant of the tests."""
    async with Redis.from_url(valkey_url) as redis:
        body = json.dumps({"scope": 1}).encode()
        await redis.hset(REPORT, mapping=document(1, [1], body) | meta(soft_s=3000, hard_s=3000))
    return free_port()


def sharing(url: str, log: Path, port: int, **more: str) -> contextlib.AbstractAsyncContextManager[int]:
    return reader_process(url, log, READER__PORT=str(port), READER__SHARE_PORT="on", READER__ACCESS="open", **more)


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection, closed to the end afterwards, whatever happened to it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def ask_once(port: int) -> Reply:
    """One request on a connection of its own."""
    async with connected(port) as (reader, writer), asyncio.timeout(20):
        writer.write(request(URL, Connection="close"))
        return await read_reply(reader)


async def test_two_readers_on_one_port_both_answer(valkey_url: str, port: int, tmp_path: Path) -> None:
    """One of them has another tenant, whose report is not there, so that one knows who answers."""
    async with (
        sharing(valkey_url, tmp_path / "a", port),
        sharing(valkey_url, tmp_path / "b", port, TENANT="other"),
    ):
        seen: set[int] = set()

        async def both() -> bool:
            seen.add((await ask_once(port)).status)
            return seen >= {200, 404}

        await eventually(both)
        assert seen <= {200, 404, 503}, "503 while this machine is too busy"


@dataclass
class Load:
    """Clients that come for one answer, and clients that stay; each answer must come, and whole."""

    port: int
    answered: int = 0
    kept: int = 0
    closed: int = 0
    statuses: set[int] = field(default_factory=set)

    async def come_and_go(self) -> None:
        while True:
            self.statuses.add((await ask_once(self.port)).status)
            self.answered += 1

    async def stay(self, pause_s: float) -> None:
        """A connection is used until an answer says that it was the last on it: it must not end before."""
        while True:
            try:
                async with connected(self.port) as (reader, writer):
                    is_last = False
                    while not is_last:
                        writer.write(request(URL))
                        reply = await answer(reader)
                        self.statuses.add(reply.status)
                        self.kept += 1
                        is_last = reply.headers.get("connection") == "close"
                        await asyncio.sleep(random() * pause_s)  # noqa: S311  whatever a client does meanwhile
            except (asyncio.IncompleteReadError, ConnectionError):
                self.closed += 1

    async def more(self, count: int) -> None:
        enough = self.answered + count
        await eventually(lambda: self.answered >= enough, timeout=30)


async def answer(reader: asyncio.StreamReader) -> Reply:
    """The next answer; fails for one that ends in its middle."""
    await reader.readexactly(len("H"))
    try:
        return await read_reply(reader)
    except asyncio.IncompleteReadError as cut:
        raise AssertionError("an answer was cut off") from cut


@asynccontextmanager
async def under_load(port: int) -> AsyncIterator[Load]:
    load = Load(port)
    tasks = [asyncio.create_task(load.come_and_go()) for _ in range(24)]
    tasks += [asyncio.create_task(load.stay(pause_s)) for pause_s in (0, 0, 0, 0, 0.01, 0.01, 0.1, 0.1, 0.5)]
    try:
        yield load
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    faults = [end for end in ends if not isinstance(end, asyncio.CancelledError)]
    assert not faults, faults


@pytest.mark.parametrize("rounds", [1, pytest.param(20, marks=[pytest.mark.long, pytest.mark.timeout(300)])])
async def test_readers_are_replaced_one_after_the_other_and_no_request_fails(
    valkey_url: str, port: int, tmp_path: Path, rounds: int
) -> None:
    async with AsyncExitStack() as running:
        await running.enter_async_context(sharing(valkey_url, tmp_path / "0", port))
        async with under_load(port) as load:
            await load.more(50)
            for number in range(rounds):
                after = AsyncExitStack()
                await after.enter_async_context(sharing(valkey_url, tmp_path / f"{number + 1}", port))
                await load.more(20)
                await running.aclose()
                running.push_async_callback(after.aclose)
                await load.more(50)
        assert load.kept > 500 * rounds
        assert not load.closed, f"{load.closed} connections ended under their clients in {load.kept} requests"
        assert load.statuses <= {200, 503}, "503 while this machine is too busy"


async def test_a_reader_that_shares_does_not_take_a_port_from_who_does_not(valkey_url: str, port: int) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MOMENTUS_")}
    environment |= {"MOMENTUS_REDIS_URL": valkey_url, "MOMENTUS_READER__PORT": str(port)}
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", port):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "reader"),
            cwd=ROOT,
            env=environment | {"MOMENTUS_READER__SHARE_PORT": "on"},
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await process.communicate()
    assert process.returncode == 2
    assert b"MOMENTUS_READER__SHARE_PORT" in said
