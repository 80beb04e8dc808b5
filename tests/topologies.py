"""More than one server at a time, from the embedded binary on free ports: a primary with replica and sentinels.

async with sentinels() as three:
    Link(three.url)
    await three.kill_primary()      # the replica takes over within seconds
"""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from redis.asyncio import Redis

from ops.embedded.binaries import find_valkey
from ops.embedded.ports import free_port
from ops.embedded.valkey import Valkey
from ops.supervisor import Supervisor
from ops.supervisor_process import Process, Restart
from tests.support import ask_valkey, eventually, scratch_directory

SERVICE = "momentus"
_DOWN_AFTER_MS = 500
_FAILOVER_MS = 3000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentinels:
    """A primary, a replica, and three sentinels that watch them."""

    nodes: dict[str, int]
    sentinels: list[int]
    running: Supervisor

    @property
    def url(self) -> str:
        """What clients are given."""
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        return f"sentinel://{hosts}/{SERVICE}/0"

    async def primary(self) -> str:
        """The name of the node that the first sentinel holds for the primary."""
        port = await _named_by(self.sentinels[0])
        return next(name for name, known in self.nodes.items() if known == port)

    async def kill(self, name: str) -> None:
        """SIGKILL, for good."""
        self.running.send_signal(name, signal.SIGKILL)
        await self.running.wait_exit(name)

    def pause(self, name: str) -> None:
        """Freeze it."""
        self.running.send_signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let a frozen one go on."""
        self.running.send_signal(name, signal.SIGCONT)

    async def took_over(self, name: str) -> bool:
        """Whether this node is the primary, by its own word and by every sentinel's."""
        port = self.nodes[name]
        if not ask_valkey(port, "ROLE").startswith(b"*3"):
            return False
        return all([await _named_by(sentinel) == port for sentinel in self.sentinels])


async def _named_by(sentinel: int) -> int:
    async with Redis(port=sentinel) as client:
        _, port = await client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)  # type: ignore[no-untyped-call]
        return int(port)


@asynccontextmanager
async def sentinels() -> AsyncIterator[Sentinels]:
    """All five, once each sentinel knows the others and the replica is in step."""
    with scratch_directory() as scratch:
        first = Valkey.in_directory(scratch / "first", protected=False)
        follow = ("--replicaof", "127.0.0.1", str(first.port), "--repl-diskless-sync-delay", "0")
        second = Valkey.in_directory(scratch / "second", protected=False, arguments=follow)
        ports = [free_port() for _ in range(3)]
        watchers = [_sentinel(scratch / f"sentinel {port}", port, first.port) for port in ports]
        nodes = [
            replace(one.process(name), restart=Restart.NEVER)
            for name, one in zip(("first", "second"), (first, second), strict=True)
        ]
        async with Supervisor([*nodes, *watchers], scratch=scratch) as running:
            three = Sentinels(nodes={"first": first.port, "second": second.port}, sentinels=ports, running=running)
            await eventually(lambda: _is_complete(three), timeout=60, every=0.1)
            yield three


def _sentinel(directory: Path, port: int, primary: int) -> Process:
    directory.mkdir()
    configuration = directory / "sentinel.conf"
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        f"sentinel monitor {SERVICE} 127.0.0.1 {primary} 2",
        f"sentinel down-after-milliseconds {SERVICE} {_DOWN_AFTER_MS}",
        f"sentinel failover-timeout {SERVICE} {_FAILOVER_MS}",
    ]
    configuration.write_text("\n".join([*lines, ""]), "utf-8")

    async def ready(_: int) -> bool:
        return ask_valkey(port, "PING") == b"+PONG"

    return Process(
        name=f"sentinel {port}",
        argv=[str(find_valkey()), configuration.name, "--sentinel"],
        cwd=directory,
        ready=ready,
        restart=Restart.NEVER,
    )


async def _is_complete(three: Sentinels) -> bool:
    for port in three.sentinels:
        async with Redis(port=port) as sentinel:
            others = await sentinel.execute_command("SENTINEL", "SENTINELS", SERVICE)  # type: ignore[no-untyped-call]
            replicas = await sentinel.execute_command("SENTINEL", "REPLICAS", SERVICE)  # type: ignore[no-untyped-call]
        if len(others) != 2 or len(replicas) != 1:
            return False
    async with Redis(port=three.nodes["second"]) as replica:
        return (await replica.info("replication"))["master_link_status"] == "up"
