"""A fault campaign: a workload, a nemesis that spoils what it stands on, and a checker that compares at the end.

    workload   a backend sends mails without pause, each under a key, again until the call returns
    nemesis    one fault after another, drawn at random from a seed: processes frozen beyond their leases or
               killed, lines to Redis and to the mail server cut, stalled, or swallowing what goes one way
    checker    every accepted mail arrived, no copy more than recorded as uncertain, all jobs accounted for, no
               fault in any log that nobody foresaw, and nothing private in one

The words are Jepsen's. What the machine's load decides (how many faults fit into the time) is told, not asserted.
"""

import asyncio
import random
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

from redis.asyncio import Redis

from jobs import Mail
from jobs.lanes import MAIL_NORMAL
from local.supervisor.process import Backoff, Process
from local.supervisor.supervisor import Supervisor
from ops.depth.read import read_depth
from producers import NotEnqueued, Producer
from producers.keys import LaneKeys
from tests.faulty_proxy import FaultyProxy
from tests.provider import Provider
from tests.support import OwnValkey, eventually

LEASE = timedelta(seconds=2)
WORKERS = ("worker0", "worker1")
CANARY = "canary-7f3a"
_PAUSE = 0.05
_UNFORESEEN = re.compile(
    r"Traceback|was never retrieved|was never awaited|Unclosed|unclosed|Exception ignored|Exception in|KeyError"
)
"""How Python and asyncio tell of a fault that nobody caught."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checker found.

    Attributes:
        faults: how often the nemesis did each thing.
        sent, arrived: accepted mails, and those that the provider took.
        copies, uncertain: second copies that it took, and those recorded as possible.
        refused: calls that raised before the one that returned.
        unforeseen: lines of the logs that tell of a fault that nobody caught.
        private: lines that hold an address or a content.
        unaccounted: lanes whose jobs do not add up.
        dead: jobs that were given up.
    """

    faults: Counter[str]
    sent: int
    arrived: int
    copies: int
    uncertain: int
    refused: int
    unforeseen: list[str]
    private: list[str]
    unaccounted: list[str]
    dead: int


@dataclass(slots=True, kw_only=True)
class Campaign:
    """Everything that a fault may touch."""

    valkey: OwnValkey
    provider: Provider
    to_redis: FaultyProxy
    to_provider: FaultyProxy
    workers: Supervisor
    redis: Redis
    chance: random.Random
    sent: set[str] = field(default_factory=set)
    refused: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    log: list[str] = field(default_factory=list)

    # the workload

    async def work(self, until: asyncio.Event) -> None:
        """Send mails of all lanes, each under its key, until it is accepted."""
        async with Producer.connect(f"redis://127.0.0.1:{self.to_redis.port}/0") as producer:
            for number in range(10**9):
                if until.is_set():
                    return
                urgency = ("urgent", "normal", "bulk")[number % 3]
                mail = Mail(to=f"{CANARY}@example.com", subject=f"{CANARY} {number}", text=CANARY, urgency=urgency)  # type: ignore[arg-type]  # one of the three
                await self._send(producer, mail, f"mail:{number}")
                await asyncio.sleep(_PAUSE)

    async def _send(self, producer: Producer, mail: Mail, key: str) -> None:
        while True:
            try:
                receipt = await producer.send(mail, key=key)
            except NotEnqueued:
                self.refused += 1
                await asyncio.sleep(_PAUSE)
            else:
                self.sent.add(receipt.id)
                return

    # the nemesis

    async def spoil(self, until: asyncio.Event) -> None:
        """One fault after another, with a rest between them in which work goes on."""
        while not until.is_set():
            fault = self.chance.choice(_FAULTS)
            self.faults[fault.__name__] += 1
            await fault(self)
            await asyncio.sleep(self.chance.uniform(0.2, 2))

    async def wait(self, least: float, most: float) -> None:
        """A duration of a fault."""
        await asyncio.sleep(self.chance.uniform(least, most))

    # the checker

    async def drained(self) -> bool:
        """Whether nothing waits or runs any more."""
        depth = await read_depth(self.redis, tenant="default")
        return not any(lane.ready + lane.leased + lane.scheduled for lane in depth.lanes)

    async def verdict(self) -> Verdict:
        """Compare, once all is drained."""
        depth = await read_depth(self.redis, tenant="default")
        return Verdict(
            faults=self.faults,
            sent=len(self.sent),
            arrived=len(self.provider.mails),
            copies=self.provider.duplicates,
            uncertain=sum(lane.uncertain for lane in depth.lanes),
            refused=self.refused,
            unforeseen=[line for line in self.log if _UNFORESEEN.search(line)],
            private=[line for line in self.log if CANARY in line or "@example.com" in line],
            unaccounted=[lane.lane for lane in depth.lanes if not lane.conserved],
            dead=sum(lane.dead for lane in depth.lanes),
        )


async def kill_a_worker(it: Campaign) -> None:
    """SIGKILL; the supervisor starts another."""
    it.workers.send_signal(it.chance.choice(WORKERS), signal.SIGKILL)


async def stop_a_worker(it: Campaign) -> None:
    """SIGTERM, as a deploy does."""
    it.workers.send_signal(it.chance.choice(WORKERS), signal.SIGTERM)


async def freeze_a_worker(it: Campaign) -> None:
    """SIGSTOP for longer than its leases last."""
    name = it.chance.choice(WORKERS)
    it.workers.send_signal(name, signal.SIGSTOP)
    await it.wait(1.2 * LEASE.total_seconds(), 3 * LEASE.total_seconds())
    it.workers.send_signal(name, signal.SIGCONT)


async def freeze_redis(it: Campaign) -> None:
    """SIGSTOP, for less and for more than a lease."""
    it.valkey.pause()
    await it.wait(0.1, 1.5 * LEASE.total_seconds())
    it.valkey.resume()


async def kill_redis(it: Campaign) -> None:
    """SIGKILL, and back on its append-only file."""
    await it.valkey.restart()


async def forget_scripts(it: Campaign) -> None:
    """SCRIPT FLUSH, as after a failover."""
    await it.redis.script_flush()


async def cut_redis(it: Campaign) -> None:
    """Reset all connections to it."""
    it.to_redis.cut()


async def stall_redis(it: Campaign) -> None:
    """Nothing gets through either way; all of it comes later."""
    await _stalled(it, it.to_redis, 1.5 * LEASE.total_seconds())


async def lose_replies_of_redis(it: Campaign) -> None:
    """What was asked for is carried out, and nobody hears of it."""
    await _swallowed(it, it.to_redis, to_client=True)


async def lose_commands_to_redis(it: Campaign) -> None:
    """What is sent never arrives."""
    await _swallowed(it, it.to_redis, to_client=False)


async def cut_the_provider(it: Campaign) -> None:
    """Reset all connections to the mail server, whatever they are at."""
    it.to_provider.cut()


async def stall_the_provider(it: Campaign) -> None:
    """The mail server answers late, for some mails later than a lease."""
    await _stalled(it, it.to_provider, 2 * LEASE.total_seconds())


async def lose_replies_of_the_provider(it: Campaign) -> None:
    """It takes mails, and the worker does not hear of it."""
    await _swallowed(it, it.to_provider, to_client=True)


async def hang_up_behind_the_dot(it: Campaign) -> None:
    """The next few mails are taken and the line dropped without a reply."""
    it.provider.silent += it.chance.randrange(1, 4)


async def _stalled(it: Campaign, proxy: FaultyProxy, most: float) -> None:
    proxy.stall()
    await it.wait(0.1, most)
    proxy.let_pass()


async def _swallowed(it: Campaign, proxy: FaultyProxy, *, to_client: bool) -> None:
    proxy.swallow("to_client" if to_client else "to_server")
    await it.wait(0.05, 1)
    proxy.let_pass()
    proxy.cut()


_FAULTS: tuple[Callable[[Campaign], Awaitable[None]], ...] = (
    *(kill_a_worker, stop_a_worker, freeze_a_worker, freeze_a_worker),
    *(freeze_redis, kill_redis, forget_scripts, cut_redis, stall_redis),
    *(lose_replies_of_redis, lose_replies_of_redis, lose_commands_to_redis),
    *(cut_the_provider, stall_the_provider, lose_replies_of_the_provider, hang_up_behind_the_dot),
)
"""Drawn evenly; those that have found most stand twice."""


async def run(valkey: OwnValkey, *, seconds: float, seed: int) -> Verdict:
    """A whole campaign: faults for so long, then as long as it takes to drain."""
    async with _prepared(valkey, seed) as it:
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(it.work(over))
            group.create_task(it.spoil(over))
            await asyncio.sleep(seconds)
            over.set()
        it.provider.silent = 0
        await eventually(it.drained, timeout=180, every=0.2)
        return await it.verdict()


@asynccontextmanager
async def _prepared(valkey: OwnValkey, seed: int) -> AsyncIterator[Campaign]:
    log: list[str] = []
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(Provider(seconds=0.05))
        to_redis = await stack.enter_async_context(FaultyProxy(valkey.port))
        to_provider = await stack.enter_async_context(FaultyProxy(provider.port))
        processes = [_worker(name, to_redis.port, to_provider.port, valkey.url) for name in WORKERS]
        workers = await stack.enter_async_context(Supervisor(processes, log=lambda _, line: log.append(line)))
        yield Campaign(
            valkey=valkey,
            provider=provider,
            to_redis=to_redis,
            to_provider=to_provider,
            workers=workers,
            redis=await stack.enter_async_context(Redis.from_url(valkey.url)),
            chance=random.Random(seed),  # noqa: S311  a repeatable campaign, not a secret
            log=log,
        )


def _worker(name: str, redis_port: int, smtp_port: int, url: str) -> Process:
    async def ready(_: int) -> bool:
        async with Redis.from_url(url) as redis:
            return bool(await redis.zcard(LaneKeys(MAIL_NORMAL).workers))

    return Process(
        name=name,
        argv=[sys.executable, "-X", "dev", "-m", "worker"],
        environment={
            "MOMENTUS_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
            "MOMENTUS_MAIL__HOST": "127.0.0.1",
            "MOMENTUS_MAIL__PORT": str(smtp_port),
            "MOMENTUS_MAIL__TLS": "off",
            "MOMENTUS_WORKER__LEASE": f"{LEASE.total_seconds():g}s",
            "MOMENTUS_WORKER__LEASE_RENEW": f"{LEASE.total_seconds() / 4:g}s",
            "MOMENTUS_WORKER__GRACE": "1s",
            "MOMENTUS_LOG_LEVEL": "debug",
        },
        ready=ready,
        backoff=Backoff(first=timedelta(milliseconds=50), longest=timedelta(milliseconds=500)),
        drain=timedelta(seconds=20),
    )
