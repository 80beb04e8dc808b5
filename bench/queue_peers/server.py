"""The server as it is measured: emptied between measurements, its own accounts read before and after."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

_LOOK = 0.01


@dataclass(frozen=True, slots=True)
class Accounts:
    """What the server says it has used since its start.

    Attributes:
        memory: octets in use now, without the buffers of clients and of the append-only file.
        cpu: seconds of CPU, all its threads.
        commands: that it ran, those inside scripts among them.
        reads: from clients' sockets; about the round trips, as a pipeline of any length is one or few.
        script_us: microseconds inside scripts.
    """

    memory: int
    cpu: float
    commands: int
    reads: int
    script_us: int


class Server:
    """One private server; nobody else uses it.

    Args:
        redis: a client of ours.
        url: what the peers connect to; holds the password.
    """

    def __init__(self, redis: Redis, url: str) -> None:
        self.redis = redis
        self.url = url

    async def reset(self) -> None:
        """Empty it, and its append-only file, so that no rewrite of the file falls into what comes next."""
        for command in ("FLUSHALL SYNC", "SCRIPT FLUSH", "FUNCTION FLUSH", "BGREWRITEAOF"):
            await self.redis.execute_command(*command.split())  # type: ignore[no-untyped-call]  # redis-py's is bare
        while _rewriting(await self.redis.info("persistence")):  # noqa: ASYNC110  the event is in the server
            await asyncio.sleep(_LOOK)

    async def accounts(self) -> Accounts:
        """As they are now."""
        facts = await self.redis.info("all")
        return Accounts(
            memory=facts["used_memory"] - facts["mem_clients_normal"] - facts["mem_aof_buffer"],
            cpu=facts["used_cpu_user"] + facts["used_cpu_sys"],
            commands=facts["total_commands_processed"],
            reads=facts["total_reads_processed"],
            script_us=facts.get("cmdstat_evalsha", {"usec": 0})["usec"],
        )

    async def name(self) -> str:
        """The server's name and version."""
        facts = await self.redis.info("server")
        if "valkey_version" in facts:
            return f"Valkey {facts['valkey_version']}"
        return f"Redis {facts['redis_version']}"


def _rewriting(facts: Mapping[str, Any]) -> bool:
    return bool(facts["aof_rewrite_in_progress"] or facts["aof_rewrite_scheduled"])
