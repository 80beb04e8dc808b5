"""A worker that times its mails and its event loop: ``python watched_worker.py FILE``.

It is the worker of the checkout that PYTHONPATH names; only its mail handler and its loop are watched. At its end
it writes FILE, JSON: ``mails``, each the monotonic second at which it began and its milliseconds, and ``gaps``,
likewise the times in which the loop called nothing although a call was due each millisecond.
"""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import orjson
import uvloop

_TICK = 0.001
_GAP_MS = 2.0

mails: list[tuple[float, float]] = []
gaps: list[tuple[float, float]] = []


def watch_loop(make: Any) -> Any:  # noqa: ANN401  uvloop's
    """Return a maker of loops that note their gaps."""

    def made() -> asyncio.AbstractEventLoop:
        loop: asyncio.AbstractEventLoop = make()

        def tick(due: float) -> None:
            now = time.monotonic()
            late = (now - due) * 1000
            if late > _GAP_MS:
                gaps.append((due, late))
            loop.call_later(_TICK, tick, time.monotonic() + _TICK)

        loop.call_soon(tick, time.monotonic())
        return loop

    return made


def time_mails(module: Any) -> None:  # noqa: ANN401  a module
    """Let the handler of mails note how long each takes."""
    send = module.send_mail

    async def timed(context: dict[str, Any], **frozen: object) -> object:
        began = time.monotonic()
        try:
            return await send(context, **frozen)
        finally:
            mails.append((began, (time.monotonic() - began) * 1000))

    module.send_mail = timed


def main() -> None:
    """Run the worker to its end and write what was seen."""
    uvloop.new_event_loop = watch_loop(uvloop.new_event_loop)
    file = Path(sys.argv.pop())
    from worker.mail import deliver  # noqa: PLC0415  of the checkout, after the loop's maker is changed

    time_mails(deliver)
    from worker.__main__ import main as work  # noqa: PLC0415  likewise

    code = work()
    file.write_bytes(orjson.dumps({"mails": mails, "gaps": gaps}))
    sys.exit(code)


if __name__ == "__main__":
    main()
