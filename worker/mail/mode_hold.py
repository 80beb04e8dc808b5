"""Hold of the mail lanes in mode `hold`, visible to operators; a worker in any other mode releases it.

A worker sets or releases the hold once at its start, and retries every second while Redis is down, without ending.
The fleet shares the lanes: of two workers with different modes, the one that starts later decides. A mail that a
worker in mode `hold` claims nevertheless goes back unsent (`worker.mail.modes`).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import orjson
from redis.exceptions import RedisError

import background
from jobs.lanes import MAIL_LANES
from producers.keys import LaneKeys
from producers.link import Link
from producers.link.script import Script
from worker.mail.modes import HOLD_REASON, Mode

_HOLD = orjson.dumps({"until_ms": None, "reason": HOLD_REASON})
_RETRY_SECONDS = 1.0
_SCRIPT = Script((Path(__file__).parent / "scripts" / "mode_hold.lua").read_text(encoding="utf-8"))


@asynccontextmanager
async def apply_mode_hold(link: Link, mode: Mode) -> AsyncIterator[None]:
    """Set or release the mail lanes' hold in the background while the block runs, retrying until Redis has it."""
    task = background.start_task("mode hold", partial(_set_hold, link, mode))
    try:
        yield
    finally:
        await background.stop_tasks(task)


async def _set_hold(link: Link, mode: Mode) -> None:
    keys = [LaneKeys(MAIL_LANES[0]).holds, *(LaneKeys(lane).wake for lane in MAIL_LANES)]
    while True:
        with contextlib.suppress(RedisError, OSError):
            await _SCRIPT.run(link.call, keys, ["hold" if mode == "hold" else "release", _HOLD, *MAIL_LANES])
            return
        await asyncio.sleep(_RETRY_SECONDS)
