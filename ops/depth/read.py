"""Depth of the queue: the one query behind the command line, the page and the JSON.

One script call per lane group counts everything at one instant, in constant time at a million jobs; the rest is
arithmetic. Sources of the numbers:

    ready, leased, scheduled   the queue, by Redis's clock; a job whose lease has lapsed is ready again
    retrying                   waiting jobs that have failed before
    parked                     waiting jobs that no worker may take yet (`ops.jobs.parked`)
    dead                       given up, and kept until an operator decides
    uncertain                  in all: effects that may or may not have happened
    suppressed                 in all: mails not sent because their recipients are suppressed
    doubts                     the last day's servers that refused many recipients at once (`ops.mail.doubt`)
    in, out                    the last 60 seconds (computed by `ops.depth.drain.per_minute`)
    drain                      the lane's flow as workers note it, its limits and due times (`ops.depth.forecast`)
    workers, slots             heartbeats, so a few seconds old
    ledger                     jobs that are rows in Postgres as well (`ops.depth.ledger`)
    promises                   minutes kept and broken, noted by workers (`ops.depth.promises`)
    losses                     noticed by workers when Redis had lost its data, until an operator acknowledges them

A lane is conserved if accepted = done + suppressed + dead + discarded + vanished + cancelled + expired + waiting +
leased; `unaccounted` is the difference (positive: jobs are missing, negative: too many). Stock arq does not count
what it adds or removes: jobs of an arq producer are "too many" until first claimed, and those that an arq worker
finishes are "missing".

Errors: the caller reports a Redis that does not answer. A heartbeat or a report in an unknown format never hides
the rest. This module writes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

import orjson
from redis.asyncio import Redis

from clocks import BOUND, moment
from jobs.lanes import LANES
from metrics.histogram import LONG, quantile
from ops.depth.counts import Counts
from ops.depth.drain import MINUTE_MS, Reason, reason_at_ceiling, wait_reason
from ops.depth.drain_facts import DUE_WITHIN_S, DrainFacts, drain_facts
from ops.depth.forecast import Drain, forecast_drain
from ops.depth.lane_limits import LaneLimits, read_lane_limits
from ops.depth.ledger import LedgerDepth, read_ledger
from ops.depth.live_workers import LiveWorker, Slots, read_workers, sum_waits
from ops.depth.promises import PromiseState, read_promise_states
from ops.depth.report_freshness import ReportFreshness, read_reports
from ops.depth.texts import drain_text, why_text
from ops.lanes.hold import Hold, read_hold
from ops.lanes.known import own_lanes
from ops.mail.account_state import AccountState, read_accounts
from ops.mail.doubt import RefusalDoubt, read_doubts
from ops.shared_reads import read_together, share_reads
from producers.keys import LaneKeys, group_of
from producers.limits.limits import Limits

_TIMES = orjson.dumps([seconds * 1000 for seconds in DUE_WITHIN_S])
_SCRIPT = (Path(__file__).parent / "scripts" / "depth.lua").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneDepth:
    """Depth of one lane.

    Attributes:
        oldest_ms: the time since the first ready job became ready; None if none is ready.
        workers: number of live workers that serve the lane.
        held: the hold of the lane, if there is one.
        limits: the limits that its jobs need, and the jobs that limits delay.
        wait_p50_s, wait_p95_s: median and 95th percentile of the waits of the last minute's attempts; None
            without any.
        why: the reason why ready jobs wait; None if none waits for long.
        drain: the forecast of when the lane will be empty.
        facts: those of the forecast.
        unaccounted: see the module; 0 is correct.
    """

    lane: str
    ready: int
    leased: int
    scheduled: int
    retrying: int
    parked: int
    dead: int
    uncertain: int
    accepted: int
    done: int
    suppressed: int
    discarded: int
    vanished: int
    cancelled: int
    expired: int
    oldest_ms: int | None
    in_per_minute: float
    out_per_minute: float
    wait_p50_s: float | None
    wait_p95_s: float | None
    workers: int
    slots: Slots
    held: Hold | None
    limits: LaneLimits
    why: Reason | None
    drain: Drain
    facts: DrainFacts = field(repr=False)
    unaccounted: int

    @property
    def conserved(self) -> bool:
        """True if every accepted job is accounted for."""
        return self.unaccounted == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DataLoss:
    """Losses of all data of a lane group in Redis.

    Attributes:
        group: the group's hash tag.
        times: number of losses that no operator has acknowledged yet.
        at: the instant at which a worker noticed the last one.
        jobs: approximate number of unfinished jobs that were lost, as workers had last counted them.
    """

    group: str
    times: int
    at: datetime
    jobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """All lanes, workers and reports at an instant of Redis's clock.

    Attributes:
        losses: the groups that lost data, until an operator acknowledges it.
        doubts: the last day's domains and accounts with many recipients refused at once.
        ledger: the groups with jobs of the ledger.
        accounts: the mail accounts, in the order in which the mail lanes try them.
        promises: the promises of service that workers note.
    """

    at: datetime
    lanes: tuple[LaneDepth, ...]
    workers: tuple[LiveWorker, ...]
    reports: tuple[ReportFreshness, ...]
    losses: tuple[DataLoss, ...] = ()
    doubts: tuple[RefusalDoubt, ...] = ()
    ledger: tuple[LedgerDepth, ...] = ()
    accounts: tuple[AccountState, ...] = ()
    promises: tuple[PromiseState, ...] = ()

    @property
    def conserved(self) -> bool:
        """True if every accepted job of every lane is accounted for."""
        return all(lane.conserved for lane in self.lanes)

    def lane(self, name: str) -> LaneDepth | None:
        """Return the lane of this name, or None."""
        return next((lane for lane in self.lanes if lane.lane == name), None)

    def to_json(self) -> dict[str, Any]:
        """Return plain values; ``orjson`` writes the datetimes."""
        return {
            "at": self.at,
            "conserved": self.conserved,
            "lanes": [_lane_json(lane, self.at) for lane in self.lanes],
            "workers": [asdict(worker) for worker in self.workers],
            "reports": [asdict(report) for report in self.reports],
            "doubts": [asdict(doubt) for doubt in self.doubts],
            "losses": [asdict(loss) for loss in self.losses],
            "ledger": [one.to_json() for one in self.ledger],
            "promises": [asdict(one) for one in self.promises],
        }


def _lane_json(lane: LaneDepth, at: datetime) -> dict[str, Any]:
    """Return a lane with its reason and forecast as text; ``drains_at`` only if it will drain."""
    fields = asdict(replace(lane, facts=DrainFacts(ready=0))) | {"conserved": lane.conserved}
    del fields["facts"]
    return fields | {
        "why": why_text(lane.why, slots=lane.slots.total, held=lane.held),
        "why_code": lane.why,
        "limits": lane.limits.to_json(),
        "drain": lane.drain.state,
        "drains": drain_text(lane.drain),
        "drains_in_s": lane.drain.seconds if lane.drain.state == "in" else None,
        "drains_at": drains_at(lane.drain, at),
        "ends_in_s": lane.drain.ends_s,
        "constraint": lane.drain.constraint,
        "constraint_limit": lane.drain.limit,
        "constraint_until": _instant(at, lane.drain.until_s),
        "idle_s": lane.drain.idle_s,
        "growing_per_minute": lane.drain.growth,
    }


def drains_at(drain: Drain, at: datetime) -> datetime | None:
    """Return the instant at which a shrinking lane will be empty; None if it will not be, or after year 9999."""
    return _instant(at, drain.seconds) if drain.state == "in" else None


def _instant(at: datetime, seconds: float | None) -> datetime | None:
    try:
        return None if seconds is None else at + timedelta(seconds=round(seconds))
    except OverflowError:
        return None


async def read_depth(redis: Redis, *, tenant: str, clock_bound: timedelta = BOUND) -> Depth:
    """Read the depth of all lanes, workers and reports from Redis.

    Args:
        redis: a redis-py asyncio client with ``decode_responses=False``.
        tenant: the owner of the reports; lanes are shared by all tenants.
        clock_bound: how far clocks may be apart; beyond it no report is fresh.

    Raises:
        RedisError, OSError: Redis did not answer.

    Example:
        depth = await read_depth(redis, tenant="default")
        print(depth.lane("mail.normal").ready)
    """
    async with share_reads(redis) as reads:
        *shipped, own, (reports, ledger, promises), doubts, accounts = await read_together(
            *(_read_group(reads, lanes) for lanes in _groups(LANES)),
            _read_own_group(reads),
            _read_with_ages(reads, tenant, clock_bound),
            read_doubts(reads),
            read_accounts(reads),
        )
    groups = shipped if own is None else [*shipped, own]
    workers = read_workers((group.now_us // 1000, group.heartbeats) for group in groups)
    return Depth(
        at=moment(groups[-1].now_us),
        lanes=tuple(
            _lane(lane, counts, group, workers) for group in groups for lane, counts in group.counts.items()
        ),
        workers=workers,
        reports=reports,
        doubts=doubts,
        losses=tuple(group.loss for group in groups if group.loss is not None),
        ledger=ledger,
        accounts=tuple(accounts),
        promises=promises,
    )


async def _read_with_ages(
    redis: Redis, tenant: str, clock_bound: timedelta
) -> tuple[tuple[ReportFreshness, ...], tuple[LedgerDepth, ...], tuple[PromiseState, ...]]:
    """Read what is judged by Redis's clock."""
    seconds, microseconds = await redis.time()
    now_us = seconds * 1_000_000 + microseconds
    reports, ledger, promises = await read_together(
        read_reports(redis, tenant=tenant, now_us=now_us, bound=clock_bound),
        read_ledger(redis, now_ms=now_us // 1000),
        read_promise_states(redis, now_us=now_us),
    )
    return reports, ledger, promises


_FIELDS = tuple(Counts.__dataclass_fields__)
_TAKEN_OVER = tuple(name for name in _FIELDS if name in LaneDepth.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class _GroupReply:
    """Reply of the script for one lane group."""

    now_us: int
    heartbeats: Sequence[Any]
    counts: Mapping[str, Counts]
    limits: Mapping[str, LaneLimits]
    loss: DataLoss | None


def _groups(lanes: Sequence[str]) -> list[list[str]]:
    groups: dict[str, list[str]] = {}
    for lane in lanes:
        groups.setdefault(group_of(lane), []).append(lane)
    return list(groups.values())


async def _read_own_group(redis: Redis) -> _GroupReply | None:
    """Read the lanes of own kinds; None if there is none."""
    lanes = await own_lanes(redis)
    return await _read_group(redis, lanes) if lanes else None


async def _read_group(redis: Redis, lanes: list[str]) -> _GroupReply:
    all_keys = [LaneKeys(lane) for lane in lanes]
    names = [all_keys[0].counters, all_keys[0].workers, all_keys[0].holds, all_keys[0].dataset]
    for keys in all_keys:
        names += [keys.queue, keys.leases, keys.retrying, keys.dead, keys.parked]
    limits_of_group = Limits(redis, all_keys[0].tag)
    script = redis.register_script(_SCRIPT)(keys=names, args=[all_keys[0].tag, _TIMES, *lanes])
    (now_us, reported, losses, *rows), bindings = await read_together(script, limits_of_group.bindings())
    counts = {lane: Counts(**dict(zip(_FIELDS, row, strict=True))) for lane, row in zip(lanes, rows, strict=True)}
    held_back = {lane: one.held_back for lane, one in counts.items()}
    limits = await read_lane_limits(redis, all_keys, bindings, held_back, now_ms=now_us // 1000)
    return _GroupReply(now_us, reported, counts, limits, _loss(all_keys[0].tag, *losses))


def _loss(group: str, times: int, lost_ms: int, jobs: int) -> DataLoss | None:
    return DataLoss(group=group, times=times, at=moment(lost_ms * 1000), jobs=jobs) if times else None


def _lane(lane: str, counts: Counts, group: _GroupReply, workers: Sequence[LiveWorker]) -> LaneDepth:
    now_ms, limits = group.now_us // 1000, group.limits[lane]
    having = [worker for worker in workers if lane in worker.lanes]
    serving = [worker.lanes[lane] for worker in having if worker.claims]
    slots = Slots(busy=sum(one.busy for one in serving), total=sum(one.total for one in serving))
    oldest_ms = None if counts.oldest_due_ms < 0 else max(0, now_ms - counts.oldest_due_ms)
    entering, leaving = counts.flow_per_minute(elapsed_ms=now_ms % MINUTE_MS)
    held = read_hold(counts.hold, now_ms=now_ms)
    free = any(worker.free_slots(lane) for worker in having)
    why = wait_reason(
        ready=counts.ready,
        oldest=timedelta(milliseconds=oldest_ms or 0),
        out_per_minute=leaving,
        slots=slots.total,
        busy=slots.busy,
        leased=counts.leased,
        held=held is not None,
        limits_used_up=limits.used_up,
    )
    ahead, waits = _jobs_ahead(lane, group), sum_waits(having, lane)
    facts = drain_facts(counts, limits, at=moment(group.now_us), slots=slots.total, held=held, ahead=ahead)
    return LaneDepth(
        lane=lane,
        **{name: getattr(counts, name) for name in _TAKEN_OVER},
        oldest_ms=oldest_ms,
        in_per_minute=round(entering, 1),
        out_per_minute=round(leaving, 1),
        wait_p50_s=quantile(LONG, waits, 0.5),
        wait_p95_s=quantile(LONG, waits, 0.95),
        workers=len(serving),
        slots=slots,
        held=held,
        limits=limits,
        why=reason_at_ceiling(why, ready=counts.ready, at_ceiling=not free, quiet=bool(having)),
        drain=forecast_drain(facts),
        facts=facts,
        unaccounted=counts.unaccounted,
    )


def _jobs_ahead(lane: str, group: _GroupReply) -> int:
    """Return the number of ready jobs in the lanes before one that share a limit with it."""
    needed = {state.key for state in group.limits[lane].states}
    before = takewhile(lambda other: other != lane, group.counts)
    return sum(
        group.counts[other].ready
        for other in before
        if any(state.key in needed for state in group.limits[other].states)
    )
