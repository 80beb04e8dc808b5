"""Metrics that every process reports about itself: delay of its event loop, and faults of its background tasks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import background
from metrics.histogram import QUICK, Histogram
from metrics.readings import Readings

_EVERY: Final = 0.25
"""Seconds between two measurements of the event loop's delay."""


class LoopLag:
    """Delay of the event loop: how late it wakes a sleeping task. A blocking handler shows here."""

    def __init__(self) -> None:
        self._delays = Histogram(QUICK)

    @asynccontextmanager
    async def measure(self) -> AsyncIterator[None]:
        """Measure in the background until the end of the block."""
        measuring = background.start_task("loop lag", self._run)
        try:
            yield
        finally:
            await background.stop_tasks(measuring)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _EVERY
            await asyncio.sleep(_EVERY)
            self._delays.observe(max(0.0, loop.time() - due))

    def collect(self, readings: Readings) -> None:
        """Add what this process reports about itself."""
        readings.add_histogram("momentus_event_loop_delay_seconds", self._delays)
        for task, count in sorted(background.FAULTS.items()):
            readings.add("momentus_background_faults_total", count, task)
