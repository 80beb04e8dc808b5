"""In mode `hold` the mail lanes are held, in plain sight; in any other mode that hold is taken off again.

Said once, at a worker's start, and said again every second while Redis is away: a worker never ends because of
that. The lanes are one fleet's: of two workers with different modes the later one's start decides about the hold.
What a worker in mode `hold` claims all the same goes back unsent (`worker.mail.modes`).
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

_OURS = orjson.dumps({"until_ms": None, "reason": HOLD_REASON})
_AGAIN = 1.0
_SCRIPT = Script((Path(__file__).parent / "scripts" / "mode_hold.lua").read_text(encoding="utf-8"))


@asynccontextmanager
async def holding(link: Link, mode: Mode) -> AsyncIterator[None]:
    """Say it while the block runs, until it has been heard."""
    saying = background.start("mode hold", partial(_say, link, mode))
    try:
        yield
    finally:
        saying.cancel()
        await asyncio.gather(saying, return_exceptions=True)


async def _say(link: Link, mode: Mode) -> None:
    keys = [LaneKeys(MAIL_LANES[0]).holds, *(LaneKeys(lane).wake for lane in MAIL_LANES)]
    while True:
        with contextlib.suppress(RedisError, OSError):
            await _SCRIPT.run(link.call, keys, ["hold" if mode == "hold" else "release", _OURS, *MAIL_LANES])
            return
        await asyncio.sleep(_AGAIN)
