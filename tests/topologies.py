"""More than one server at a time, from the embedded binary on free ports.

async with sentinels() as three:            # a primary, its replica, and three sentinels that watch them
    Link(three.url)
    await three.kill("first")               # the replica takes over within seconds

async with cluster(replicas=1) as six:      # three primaries, each with a replica
    Link(six.url, "{mail}")
    await six.kill(await six.owner("{mail}"))
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.crc import key_slot
from redis.exceptions import RedisError, ResponseError

from local.embedded.binaries import find_valkey
from local.embedded.ports import free_port
from local.embedded.valkey import Valkey
from local.supervisor.process import Process, RestartPolicy
from local.supervisor.supervisor import Supervisor
from producers.link.client import connect
from tests.faulty_proxy import FaultyProxy
from tests.support import Servers, ask_valkey, eventually, scratch_directory

SERVICE = "momentus"
_DOWN_AFTER_MS = 500
_FAILOVER_MS = 3000
_SLOTS = ((0, 4999), (5000, 10921), (10922, 16383))
"""Of each primary; {mail} and {reports} are not together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentinels:
    """A primary, a replica, and three sentinels that watch them."""

    nodes: dict[str, int]
    sentinels: list[int]
    running: Supervisor
    proxy: FaultyProxy | None = None
    """The way by which the others reach the first node, if they have one."""

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
        try:
            role = ask_valkey(port, "ROLE")
        except OSError:  # it is about to change its part
            return False
        if not role.startswith(b"*3"):
            return False
        return all([await _named_by(sentinel) == port for sentinel in self.sentinels])


async def _named_by(sentinel: int) -> int:
    async with Redis(port=sentinel) as client:
        _, port = await client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)  # type: ignore[no-untyped-call]
        return int(port)


@asynccontextmanager
async def sentinels(*, behind_proxy: bool = False) -> AsyncIterator[Sentinels]:
    """All five, once each sentinel knows the others and the replica is in step.

    Args:
        behind_proxy: the replica and the sentinels reach the first node by a proxy, which can part it from them.
    """
    async with AsyncExitStack() as stack:
        scratch = stack.enter_context(scratch_directory())
        at_once = ("--repl-diskless-sync-delay", "0")  # it is the primary that waits; either may become it
        first = Valkey.in_directory(scratch / "first", protected=False, arguments=at_once)
        proxy = await stack.enter_async_context(FaultyProxy(first.port)) if behind_proxy else None
        way = proxy.port if proxy else first.port
        follow = ("--replicaof", "127.0.0.1", str(way))
        second = Valkey.in_directory(scratch / "second", protected=False, arguments=(*at_once, *follow))
        ports = [free_port() for _ in range(3)]
        watchers = [_sentinel(scratch / f"sentinel {port}", port, way) for port in ports]
        nodes = [
            replace(one.process(name), restart=RestartPolicy.NEVER)
            for name, one in zip(("first", "second"), (first, second), strict=True)
        ]
        running = await stack.enter_async_context(Supervisor([*nodes, *watchers], scratch=scratch))
        known = {"first": first.port, "second": second.port}
        three = Sentinels(nodes=known, sentinels=ports, running=running, proxy=proxy)
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
        restart=RestartPolicy.NEVER,
    )


async def _is_complete(three: Sentinels) -> bool:
    for port in three.sentinels:
        async with Redis(port=port, socket_timeout=10) as sentinel:
            others = await sentinel.execute_command("SENTINEL", "SENTINELS", SERVICE)  # type: ignore[no-untyped-call]
            replicas = await sentinel.execute_command("SENTINEL", "REPLICAS", SERVICE)  # type: ignore[no-untyped-call]
        if len(others) != 2 or len(replicas) != 1:
            return False
    async with Redis(port=three.nodes["second"]) as replica:
        return (await replica.info("replication"))["master_link_status"] == "up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Three primaries, with or without a replica each."""

    nodes: dict[str, int]
    running: Supervisor

    @property
    def url(self) -> str:
        """What clients are given: three of the nodes."""
        return "cluster://" + ",".join(f"127.0.0.1:{port}" for port in list(self.nodes.values())[:3])

    async def owner(self, tag: str, *, told_by: str = "") -> str:
        """The node that is the primary for keys with this hash tag."""
        for name in [told_by] if told_by else self.nodes:
            async with Redis(port=self.nodes[name]) as node:
                with suppress(RedisError, OSError):
                    ranges = await node.execute_command("CLUSTER", "SLOTS")  # type: ignore[no-untyped-call]
                    return self._name(next(_port(one) for one in ranges if _holds(one, tag)))
        raise AssertionError("nobody knows")

    async def replica_of(self, name: str) -> str:
        """The node that follows this one."""
        async with Redis(port=self.nodes[name]) as node:
            ((_, port, _),) = (await node.execute_command("ROLE"))[2]  # type: ignore[no-untyped-call]
        return self._name(int(port))

    async def took_over(self, name: str, tag: str) -> bool:
        """Whether this node is the primary for the tag, by its own word."""
        return await self.owner(tag, told_by=name) == name

    async def ask(self, name: str, *command: str | int) -> Any:
        """One command to one node."""
        async with Redis(port=self.nodes[name]) as node:
            return await node.execute_command(*command)  # type: ignore[no-untyped-call]

    async def kill(self, name: str) -> None:
        """SIGKILL; it stays away until `start`."""
        self.running.send_signal(name, signal.SIGKILL)
        await self.running.wait_exit(name)

    async def start(self, name: str) -> None:
        """Bring it back on the same port and data."""
        await self.running.stop(name)
        await self.running.start(name)

    def pause(self, name: str) -> None:
        """Freeze it."""
        self.running.send_signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """Let a frozen one go on."""
        self.running.send_signal(name, signal.SIGCONT)

    def _name(self, port: int) -> str:
        return next(name for name, known in self.nodes.items() if known == port)


def client_of(url: str) -> Redis:
    """A client for what a test looks at: of the server, or of the cluster."""
    return connect(url, seconds=10) if url.startswith("cluster://") else Redis.from_url(url)


def _port(slots: list[Any]) -> int:
    return int(slots[2][1])


def _holds(slots: list[Any], tag: str) -> bool:
    return bool(slots[0] <= key_slot(tag.encode()) <= slots[1])


@asynccontextmanager
async def cluster(*, replicas: int = 0) -> AsyncIterator[Cluster]:
    """All of them, once every node knows that all slots are served and every replica is in step.

    Args:
        replicas: of each primary, 0 or 1.
    """
    with scratch_directory() as scratch:
        nodes = {
            name: _node(scratch / name) for name in ("a", "b", "c", *(("a2", "b2", "c2") if replicas else ()))
        }
        async with Supervisor(_processes(nodes), scratch=scratch) as running:
            yield await _form(nodes, running)


@contextmanager
def lasting_cluster(*arguments: str) -> Iterator[Cluster]:
    """Three primaries that outlive one test's event loop, not to be broken.

    Args:
        arguments: more for each server.
    """
    with scratch_directory() as scratch:
        nodes = {name: _node(scratch / name, *arguments) for name in ("a", "b", "c")}
        with Servers(_processes(nodes), scratch) as servers:
            yield asyncio.run(_form(nodes, servers.supervisor))


def _processes(nodes: Mapping[str, Valkey]) -> list[Process]:
    return [replace(one.process(name), restart=RestartPolicy.NEVER) for name, one in nodes.items()]


def _node(directory: Path, *more: str) -> Valkey:
    patience = ("--cluster-node-timeout", str(_DOWN_AFTER_MS * 2), "--repl-diskless-sync-delay", "0")
    alone = ("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")
    bus = ("--cluster-port", str(free_port()))
    return Valkey.in_directory(directory, protected=False, arguments=(*more, *alone, *patience, *bus))


def _bus(node: Valkey) -> int:
    return int(node.arguments[-1])


async def _form(nodes: Mapping[str, Valkey], running: Supervisor) -> Cluster:
    formed = Cluster(nodes={name: one.port for name, one in nodes.items()}, running=running)
    primaries = list(formed.nodes)[: len(_SLOTS)]
    for epoch, name in enumerate(formed.nodes, start=1):
        await formed.ask(name, "CLUSTER", "SET-CONFIG-EPOCH", epoch)
    for name, slots in zip(primaries, _SLOTS, strict=True):
        await formed.ask(name, "CLUSTER", "ADDSLOTSRANGE", *slots)
    for name in list(formed.nodes)[1:]:
        await formed.ask("a", "CLUSTER", "MEET", "127.0.0.1", formed.nodes[name], _bus(nodes[name]))
    for name in list(formed.nodes)[len(_SLOTS) :]:
        number = (await formed.ask(name[0], "CLUSTER", "MYID")).decode()
        await eventually(lambda name=name, number=number: _follows(formed, name, number), timeout=60, every=0.05)
    for name in formed.nodes:
        await eventually(lambda name=name: _is_settled(formed, name), timeout=60, every=0.05)
    return formed


async def _follows(formed: Cluster, name: str, primary: str) -> bool:
    """Once it has heard of its primary it can be told to follow it."""
    with suppress(ResponseError):
        return bool(await formed.ask(name, "CLUSTER", "REPLICATE", primary))
    return False


async def _is_settled(formed: Cluster, name: str) -> bool:
    if b"cluster_state:ok" not in await formed.ask(name, "CLUSTER", "INFO"):
        return False
    everybody = [len(one) for one in await formed.ask(name, "CLUSTER", "SLOTS")]
    expected = 3 + (len(formed.nodes) > len(_SLOTS))
    if everybody != [expected] * len(_SLOTS):
        return False
    async with Redis(port=formed.nodes[name]) as node:
        facts = await node.info("replication")
    return facts["role"] == "master" or facts["master_link_status"] == "up"
