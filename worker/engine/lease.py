"""Lease renewal from a separate thread, which a handler that blocks the event loop cannot starve.

The thread has its own connection and reads a snapshot of the running attempts. It passes lost leases to the loop,
which stops their handlers. While Redis is down it retries twice a second. Leases lapse then, and their outcomes
are refused: another worker may have claimed the jobs.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from redis.exceptions import RedisError, ResponseError

import background
from producers.keys import LaneKeys
from producers.link.deadline import deadline
from producers.link.sync import Calls
from producers.rights import missing_right
from producers.send_options import milliseconds
from worker.engine.lane import Claim
from worker.engine.store import engine_script
from worker.events import emit, event

_REDIS_REFUSED = event("redis.refused")

_AGAIN_SECONDS = 0.5
_ANSWER_SECONDS = 2.0
"""Time limit of one round of renewals, connecting included: well below the lease."""

RunningClaims = dict[LaneKeys, list[Claim]]
"""The running claims of each lane."""


class Renewal:
    """The thread that renews all leases of a worker at a fixed pace.

    Args:
        link: a synchronous link for this thread only.
        held: returns the running claims; called from the thread, so it must only read.
        on_lost: called from the thread with the claims whose lease was lost.
        on_cancelled: called from the thread with the claims of cancelled jobs.
        report: called from the thread after each round; sends the worker's heartbeat.
        retract: called from the thread at the end; removes the heartbeat.

    Attributes:
        renewed_at: the instant of the monotonic clock at which all leases were last renewed.
        tried_at: the instant at which the last round of renewals began.
        lease: duration of a lease, in seconds.
    """

    def __init__(
        self,
        link: Calls,
        *,
        lease: timedelta,
        every: timedelta,
        held: Callable[[], RunningClaims],
        on_lost: Callable[[list[Claim]], None],
        on_cancelled: Callable[[list[Claim]], None] = lambda _: None,
        report: Callable[[Calls], None],
        retract: Callable[[Calls], None],
    ) -> None:
        self._link = link
        self._lease_ms = milliseconds(lease)
        self.lease = lease.total_seconds()
        self.renewed_at = self.tried_at = time.monotonic()
        self._every = every.total_seconds()
        self._held = held
        self._on_lost = on_lost
        self._on_cancelled = on_cancelled
        self._report = report
        self._retract = retract
        self._renew = engine_script("renew")
        self._logged_right = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease-renewal", daemon=True)

    @property
    def lag(self) -> float:
        """Seconds by which the current round of renewals is late: more than 0 after failures."""
        return max(0.0, self.tried_at - self.renewed_at - self._every)

    def start(self) -> None:
        """Start the thread."""
        self.renewed_at = self.tried_at = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread, wait for its end and close the link."""
        self._stop.set()
        self._thread.join()
        self._link.close()

    def _run(self) -> None:
        while not self._stop.wait(self._pace()):
            pass
        with contextlib.suppress(RedisError, OSError), deadline(_ANSWER_SECONDS):  # else the heartbeat expires
            self._retract(self._link)

    def _pace(self) -> float:
        """Renew all leases and return the seconds until the next round: fewer after a failure."""
        self.tried_at = time.monotonic()
        try:
            with deadline(_ANSWER_SECONDS):
                fault = self._renew_all()
                self._report(self._link)
            if fault:
                raise fault
            self.renewed_at = time.monotonic()
        except (RedisError, OSError) as error:  # the event loop logs that Redis is down
            if not self._is_refused(error):
                self._link.close()
            return min(self._every, _AGAIN_SECONDS)
        except Exception as error:  # noqa: BLE001  a bug must not end the thread, or all leases would lapse
            background.note_fault("lease renewal", error)
            return min(self._every, _AGAIN_SECONDS)
        return self._every

    def _is_refused(self, error: Exception) -> bool:
        """Return True if the user lacks a right, which a new connection would not change; log each right once."""
        right = missing_right(error)
        if right and right != self._logged_right:
            emit(_REDIS_REFUSED, right=right, part="lease renewal and heartbeat")
        self._logged_right = right or self._logged_right
        return bool(right)

    def _renew_all(self) -> ResponseError | None:
        """Renew every lane in turn and return the first error; a lane that fails does not stop the others."""
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
        lost, stop = self._link.run_script(self._renew, names, [self._lease_ms, *tokens])
        if lost:
            self._on_lost([claims[place - 1] for place in lost])
        if stop:
            self._on_cancelled([claims[place - 1] for place in stop])
