"""The minutes in which promises of service are kept or broken, noted by every worker whose settings name them.

Any number of workers may note; each minute is judged once (`scripts/promise.lua`). A minute in which no worker ran
is judged by the next one. While Redis is down, the call is repeated; the engine logs the outage.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from redis.exceptions import RedisError

import background
from metrics.promise import Promise
from producers.keys import LaneKeys
from producers.link import Argument, Link
from producers.link.script import Script, read_script
from reports.keys import snapshot

_EVERY: Final = 10.0
"""Seconds between two looks; a promise that is broken for less may go unseen."""
_ANSWER_SECONDS: Final = 2.0


class PromiseKeeper:
    """Notes the minutes of some promises.

    Args:
        url: see :mod:`producers.link.address`.
        tenant: the owner of the reports.
    """

    def __init__(self, url: str, promises: Sequence[Promise], *, tenant: str) -> None:
        self._promises = promises
        self._tenant = tenant
        self._links = {group: Link(url, f"{{{group}}}") for group in {one.group for one in promises}}
        self._script = Script(read_script(Path(__file__).parent / "scripts", "promise"))

    async def run(self) -> None:
        """Note until cancelled."""
        while True:
            for one in self._promises:
                with suppress(RedisError, OSError, TimeoutError):
                    await self.note_minutes(one)
            await asyncio.sleep(_EVERY)

    async def note_minutes(self, promise: Promise) -> int:
        """Judge the minutes of a promise since the last call; return their number.

        Raises:
            RedisError, OSError, TimeoutError: a second call is harmless.
        """
        keys = LaneKeys("reports" if promise.report else promise.name)
        source = snapshot(self._tenant, promise.report) if promise.report else keys.queue
        limit_ms = round(promise.limit.total_seconds() * 1000)
        kind = "report" if promise.report else "lane"
        arguments: list[Argument] = [promise.name, limit_ms, repr(promise.target), kind]
        state = f"momentus:{{{promise.group}}}:promises"
        async with asyncio.timeout(_ANSWER_SECONDS):
            return int(await self._script.run(self._links[promise.group].call, [state, source], arguments))

    async def close(self) -> None:
        """Close the connections."""
        for link in self._links.values():
            await link.close()


@asynccontextmanager
async def note_promises(url: str, promises: Sequence[Promise], *, tenant: str) -> AsyncIterator[None]:
    """Note the minutes of promises, if there are any, in the background until the end of the block."""
    if not promises:
        yield
        return
    keeper = PromiseKeeper(url, promises, tenant=tenant)
    noting = background.start_task("promises", keeper.run)
    try:
        yield
    finally:
        await background.stop_tasks(noting)
        await keeper.close()
