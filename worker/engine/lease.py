"""Lease renewal from a thread of its own, which a handler that blocks the event loop cannot starve.

The thread has its own connection and knows nothing but a snapshot of what runs. It tells the loop which
leases were lost; the loop stops their handlers. When Redis is away it tries again twice a second: leases
lapse then, and finishing is refused, which is right, because somebody else may have claimed the jobs.
"""

import contextlib
import threading
from collections.abc import Callable
from datetime import timedelta

from redis import Redis
from redis.exceptions import RedisError, ResponseError

import background
from producers.keys import LaneKeys
from producers.link.deadline import deadline
from producers.rights import missing_right
from worker.engine.lane import Claim
from worker.engine.store import milliseconds, script
from worker.events import emit, event

_REDIS_REFUSED = event("redis.refused")

_AGAIN_SECONDS = 0.5
_ANSWER_SECONDS = 2.0
"""For a round of renewals, connecting included: well below the lease."""

Held = dict[LaneKeys, list[Claim]]
"""Per lane, the attempts that run."""


class Renewal:
    """Renews all leases of a worker at a fixed pace.

    Args:
        redis: a synchronous client of this thread alone; with short timeouts, if it does not keep to a deadline.
        held: returns what runs now; called from the thread, so it must only read.
        on_lost: called from the thread with the attempts whose lease was lost.
        on_cancelled: called from the thread with the attempts that somebody asked to stop.
        report: called from the thread after each pace; sends the worker's heartbeat.
        retract: called from the thread at the end; takes the heartbeat back.
    """

    def __init__(
        self,
        redis: Redis,
        *,
        lease: timedelta,
        every: timedelta,
        held: Callable[[], Held],
        on_lost: Callable[[list[Claim]], None],
        on_cancelled: Callable[[list[Claim]], None] = lambda _: None,
        report: Callable[[Redis], None],
        retract: Callable[[Redis], None],
    ) -> None:
        self._redis = redis
        self._lease_ms = milliseconds(lease)
        self._every = every.total_seconds()
        self._held = held
        self._on_lost = on_lost
        self._on_cancelled = on_cancelled
        self._report = report
        self._retract = retract
        self._renew = redis.register_script(script("renew"))
        self._told = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-renewal", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait until the thread has."""
        self._stop.set()
        self._thread.join()
        self._redis.close()

    def _run(self) -> None:
        while not self._stop.wait(self._pace()):
            pass
        with contextlib.suppress(RedisError, OSError), deadline(_ANSWER_SECONDS):  # it lapses by itself
            self._retract(self._redis)

    def _pace(self) -> float:
        """Renew, and how many seconds to wait then: less when it failed, since every lease is running out."""
        try:
            with deadline(_ANSWER_SECONDS):
                fault = self._renew_all()
                self._report(self._redis)
            if fault:
                raise fault
        except (RedisError, OSError) as error:  # the event loop tells people that Redis is away
            if not self._is_refused(error):
                self._redis.connection_pool.disconnect()
            return min(self._every, _AGAIN_SECONDS)
        except Exception as error:  # noqa: BLE001  a fault of ours must not let all leases lapse, and all to come
            background.note("lease renewal", error)
            return min(self._every, _AGAIN_SECONDS)
        return self._every

    def _is_refused(self, error: Exception) -> bool:
        """Whether a right is missing, which another connection would not change; told once."""
        right = missing_right(error)
        if right and right != self._told:
            emit(_REDIS_REFUSED, right=right, part="lease renewal and heartbeat")
        self._told = right or self._told
        return bool(right)

    def _renew_all(self) -> ResponseError | None:
        """One lane after the other; a lane that cannot be renewed keeps none of the others from it."""
        fault = None
        for keys, claims in self._held().items():
            try:
                if claims:
                    self._renew_lane(keys, claims)
            except ResponseError as error:
                fault = fault or error
        return fault

    def _renew_lane(self, keys: LaneKeys, claims: list[Claim]) -> None:
        tokens = [part for claim in claims for part in (claim.id, claim.token)]
        names = [keys.queue, keys.leases, keys.cancelled]
        lost, stop = self._renew(keys=names, args=[self._lease_ms, *tokens])
        if lost:
            self._on_lost([claims[place - 1] for place in lost])
        if stop:
            self._on_cancelled([claims[place - 1] for place in stop])
