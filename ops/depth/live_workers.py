"""Live workers as their heartbeats describe them. A heartbeat in an unknown format never hides the others.

A worker reports to each of its lane groups; it appears once, with all its lanes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import zip_longest
from typing import Any, NamedTuple

import orjson

_NUMBERS = ("loop_lag_ms", "lease_lag_ms", "parent")
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Slots of a lane in a worker: in use and in total.

    Attributes:
        left_behind: number of handlers that were told to stop and still run; they take no slots.
    """

    busy: int
    total: int
    left_behind: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTrouble:
    """Part of a worker that does not work, the reason, and for how many seconds; see `worker/troubles.py`."""

    part: str
    error: str
    for_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveWorker:
    """A live worker as of its last report.

    Attributes:
        seen_ms: the age of that report.
        lanes: the slots of each of its lanes.
        faults: the number of failures of each background task since the worker's start; each failed task was
            restarted.
        troubles: its parts that do not work at present.
        room: further jobs that it may run in all lanes together; None: as many as their slots.
        state: ``runs``; ``quiet``: an operator lets it claim no new jobs; ``stops``; "" for an earlier version.
        version: of its build, "" if unknown.
        loop_lag_ms: by how much its event loop answered late, by the last report; None: unknown.
        lease_lag_ms: by how much the renewal of its leases was late; None: unknown.
        parent: for a worker's report process, the process that starts it again; else None.
        waits: for each lane in which attempts ended in the last minute, their number by the buckets of
            `metrics.histogram.LONG`.
    """

    id: str
    host: str
    pid: int
    seen_ms: int
    lanes: Mapping[str, Slots]
    faults: Mapping[str, int] = field(default_factory=dict)
    troubles: tuple[WorkerTrouble, ...] = ()
    room: int | None = None
    state: str = ""
    version: str = ""
    loop_lag_ms: int | None = None
    lease_lag_ms: int | None = None
    parent: int | None = None
    waits: Mapping[str, Sequence[int]] = field(default_factory=dict)

    @property
    def claims(self) -> bool:
        """True if it may claim jobs."""
        return self.state not in {"quiet", "stops"}

    def free_slots(self, lane: str) -> int:
        """Return the number of jobs of a lane that it could claim now."""
        slots = self.lanes[lane] if self.claims else Slots(busy=0, total=0)
        free = max(0, slots.total - slots.busy)
        return free if self.room is None else min(free, self.room)


def read_workers(groups: Iterable[tuple[int, Sequence[Any]]]) -> tuple[LiveWorker, ...]:
    """Return the live workers, by their ids.

    Args:
        groups: for each lane group the instant (ms) and, for each worker, its id, the instant of its report and
            the report, in sequence.
    """
    beats: dict[bytes, tuple[int, Mapping[str, Any]]] = {}
    lanes: dict[bytes, dict[str, Slots]] = {}
    for now_ms, reported in groups:
        for worker_id, at_ms, facts in zip(reported[::3], reported[1::3], reported[2::3], strict=True):
            beat = _read_heartbeat(facts)
            if beat is not None:
                beats[worker_id] = max(0, now_ms - int(at_ms)), beat.fields
                lanes.setdefault(worker_id, {}).update(beat.lanes)
    return tuple(
        LiveWorker(id=worker_id.decode(errors="replace"), seen_ms=seen_ms, lanes=lanes[worker_id], **fields)
        for worker_id, (seen_ms, fields) in sorted(beats.items())
        if fields
    )


class _Heartbeat(NamedTuple):
    """Slots that a worker reports to a lane group, and further fields of `LiveWorker`; empty if unreadable."""

    lanes: Mapping[str, Slots]
    fields: Mapping[str, Any]


@lru_cache(maxsize=512)
def _read_heartbeat(facts: bytes) -> _Heartbeat | None:
    """Read a heartbeat; None without readable slots. Cached: a console looks more often than a worker reports."""
    try:
        report = orjson.loads(facts)
        lanes = {str(lane): _slots(one) for lane, one in report["lanes"].items()}
    except _UNREADABLE:
        return None
    try:
        return _Heartbeat(lanes, _fields(report))
    except _UNREADABLE:
        return _Heartbeat(lanes, {})


def _slots(stored: Mapping[str, Any]) -> Slots:
    return Slots(
        busy=int(stored["busy"]), total=int(stored["slots"]), left_behind=int(stored.get("left_behind", 0))
    )


def _fields(report: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "host": str(report["host"]),
        "pid": int(report["pid"]),
        "faults": {str(task): int(count) for task, count in report.get("faults", {}).items()},
        "room": int(report["room"]) if "room" in report else None,
        "waits": {str(lane): [*map(int, counts)] for lane, counts in report.get("waits", {}).items()},
        "troubles": tuple(
            WorkerTrouble(part=str(part), error=str(it["error"]), for_s=int(it["for_s"]))
            for part, it in report.get("troubles", {}).items()
        ),
        "state": str(report.get("state", "")),
        "version": str(report.get("version", "")),
        **{name: int(report[name]) for name in _NUMBERS if name in report},
    }


def sum_waits(workers: Iterable[LiveWorker], lane: str | None = None) -> list[int]:
    """Return the number of the last minute's attempts by their wait, in one lane or in all."""
    waits = (counts for worker in workers for name, counts in worker.waits.items() if lane in {None, name})
    return [sum(bucket) for bucket in zip_longest(*waits, fillvalue=0)]
