"""Counts of one lane at an instant."""

from collections.abc import Sequence
from dataclasses import dataclass

from ops.depth.drain import per_minute


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Counts of a lane as `depth.lua` returns them, in that order."""

    ready: int
    leased: int
    scheduled: int
    retrying: int
    parked: int
    dead: int
    oldest_due_ms: int
    accepted: int
    done: int
    suppressed: int
    discarded: int
    vanished: int
    cancelled: int
    expired: int
    uncertain: int
    in_before: int
    in_running: int
    out_before: int
    out_running: int
    hold: bytes
    deaths: int
    notes: Sequence[bytes]
    due_within: Sequence[int]
    last_due_ms: int
    held_back: int

    @property
    def left(self) -> int:
        """Number of jobs that have ended or died, as workers note it for the flow."""
        return self.done + self.suppressed + self.deaths + self.vanished + self.expired

    @property
    def unaccounted(self) -> int:
        """Number of accepted jobs that are missing; negative: jobs that were never accepted."""
        ended = self.done + self.suppressed + self.discarded + self.vanished + self.cancelled + self.expired
        return self.accepted - ended - self.dead - self.ready - self.leased - self.scheduled

    def flow_per_minute(self, *, elapsed_ms: int) -> tuple[float, float]:
        """Return the jobs that entered and left in the last minute; the current one is ``elapsed_ms`` old."""
        entering = per_minute(self.in_before, self.in_running, elapsed_ms=elapsed_ms)
        return entering, per_minute(self.out_before, self.out_running, elapsed_ms=elapsed_ms)
