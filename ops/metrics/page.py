"""The page of the fleet's metrics, read from Redis at each scrape; it says so if Redis does not answer."""

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from redis.asyncio import Redis
from redis.exceptions import RedisError

from metrics.exposition import write_page
from metrics.process import LoopLag
from metrics.readings import Readings
from metrics.table import Part
from ops.metrics.collect import collect_fleet
from ops.metrics.fleet import read_fleet

if TYPE_CHECKING:
    from ops.metrics.counted import SlowCounts

PARTS: tuple[Part, ...] = ("redis", "fleet")
OF_EXPORTER: tuple[Part, ...] = ("process", *PARTS, "slow")


class FleetPage:
    """The page, as a function from a client's `Accept` to its content type and bytes.

    Args:
        redis: a redis-py asyncio client with ``decode_responses=False``.
        tenant: the owner of the reports.
        clock_bound: how far clocks may be apart; beyond it no report is fresh.
        lag: of this process's event loop; None: nothing of this process is on the page.
        slow: counts that this process makes in the background; None: it makes none.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        tenant: str,
        clock_bound: timedelta,
        lag: LoopLag | None = None,
        slow: "SlowCounts | None" = None,
    ) -> None:
        self._redis = redis
        self._tenant = tenant
        self._clock_bound = clock_bound
        self._lag = lag
        self._slow = slow

    async def read(self) -> Readings:
        """Read all metrics; if Redis does not answer, those that say so."""
        readings = Readings()
        if self._lag is not None:
            self._lag.collect(readings)
        if self._slow is not None:
            self._slow.collect(readings)
        began = time.perf_counter()
        try:
            fleet = await read_fleet(self._redis, tenant=self._tenant, clock_bound=self._clock_bound)
        except (RedisError, OSError):
            readings.add("momentus_redis_up", 0)
        else:
            readings.add("momentus_redis_up", 1)
            collect_fleet(fleet, readings)
        readings.add("momentus_fleet_read_seconds", time.perf_counter() - began)
        return readings

    def write(self, readings: Readings, accept: str) -> tuple[str, bytes]:
        """Return the content type and the page of these readings."""
        return write_page(readings, PARTS if self._slow is None else OF_EXPORTER, accept)

    async def find_waiting(self) -> Sequence[str]:
        """Return the reason if the page has no metrics of the fleet now: Redis does not answer."""
        try:
            await self._redis.ping()
        except (RedisError, OSError) as error:
            return [f"Redis does not answer: {type(error).__name__}"]
        return ()

    async def respond(self, accept: str) -> tuple[str, bytes]:
        """Read all metrics and return the content type and the page."""
        return self.write(await self.read(), accept)
