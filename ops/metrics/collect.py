"""The fleet's metrics: names and labels for what `ops.metrics.fleet` has read. Pure."""

from collections import Counter
from datetime import timedelta
from typing import get_args

from metrics.readings import Readings
from ops.depth.drain import Reason
from ops.depth.forecast import DrainState
from ops.depth.promises import PromiseState
from ops.depth.read import Depth, LaneDepth
from ops.depth.report_freshness import ReportFreshness, State
from ops.mail.accounts import AccountState, State as AccountWord
from ops.metrics.fleet import Fleet, RedisServer
from producers.limits.limits import LimitState

_STATES = ("ready", "leased", "scheduled", "dead")
_PERIODS = (("day", timedelta(days=1)), ("hour", timedelta(hours=1)), ("minute", timedelta(minutes=1)))
_ENDS = ("done", "suppressed", "discarded", "vanished", "cancelled", "expired")


def collect_fleet(fleet: Fleet, readings: Readings) -> None:
    """Add all metrics of the fleet."""
    for lane in fleet.depth.lanes:
        _collect_counts(lane, readings)
        _collect_lane(lane, readings)
    _collect_workers(fleet.depth, readings)
    for limit in fleet.limits:
        _collect_limit(limit, readings)
    for account in fleet.depth.accounts:
        _collect_account(account, readings)
    for report in fleet.depth.reports:
        _collect_report(report, readings)
    for promise in fleet.depth.promises:
        _collect_promise(promise, readings)
    _collect_stores(fleet.depth, readings)
    if fleet.server is not None:
        _collect_server(fleet.server, readings)


def _collect_counts(lane: LaneDepth, readings: Readings) -> None:
    for state in _STATES:
        readings.add("momentus_lane_jobs", getattr(lane, state), lane.lane, state)
    for outcome in _ENDS:
        readings.add("momentus_lane_ended_jobs_total", getattr(lane, outcome), lane.lane, outcome)
    readings.add("momentus_lane_accepted_jobs_total", lane.accepted, lane.lane)
    readings.add("momentus_lane_uncertain_effects_total", lane.uncertain, lane.lane)
    readings.add("momentus_lane_unaccounted_jobs", lane.unaccounted, lane.lane)
    readings.add("momentus_lane_retrying_jobs", lane.retrying, lane.lane)
    readings.add("momentus_lane_parked_jobs", lane.parked, lane.lane)
    readings.add("momentus_lane_held_back_jobs", lane.limits.held_back, lane.lane)


def _collect_lane(lane: LaneDepth, readings: Readings) -> None:
    readings.add("momentus_lane_oldest_ready_seconds", (lane.oldest_ms or 0) / 1000, lane.lane)
    readings.add("momentus_lane_workers", lane.workers, lane.lane)
    readings.add("momentus_lane_slots", lane.slots.total, lane.lane)
    readings.add("momentus_lane_busy_slots", lane.slots.busy, lane.lane)
    for reason in get_args(Reason):
        readings.add("momentus_lane_waits", lane.why == reason, lane.lane, reason)
    for state in get_args(DrainState):
        readings.add("momentus_lane_drain_state", lane.drain.state == state, lane.lane, state)
    if lane.drain.state in {"in", "empty", "delayed"}:
        readings.add("momentus_lane_drain_seconds", lane.drain.seconds or 0, lane.lane)


def _collect_workers(depth: Depth, readings: Readings) -> None:
    readings.add("momentus_workers", len(depth.workers))
    silence = max((worker.seen_ms for worker in depth.workers), default=0)
    readings.add("momentus_worker_silence_seconds", silence / 1000)
    faults = Counter[str]()
    for worker in depth.workers:
        faults.update(worker.faults)
    for task, count in faults.items():
        readings.add("momentus_workers_background_faults", count, task)


def _collect_limit(limit: LimitState, readings: Readings) -> None:
    if limit.room is not None:
        readings.add("momentus_limit_room_jobs", limit.room, limit.key)
    readings.add("momentus_limit_running_jobs", limit.running, limit.key)
    readings.add("momentus_limit_blocked_jobs", limit.blocked, limit.key)
    readings.add("momentus_limit_pace_ratio", limit.pace, limit.key)
    readings.add("momentus_limit_held", limit.held is not None, limit.key)


def _collect_account(account: AccountState, readings: Readings) -> None:
    for word in get_args(AccountWord):
        readings.add("momentus_account_state", account.state == word, account.name, word)
    for budget in account.left:
        period = _period(budget.rate.per)
        readings.add("momentus_account_budget_mails", budget.tokens, account.name, period)
    readings.add("momentus_account_connections", account.connections, account.name)
    readings.add("momentus_account_pauses", account.step, account.name)


def _period(per: timedelta) -> str:
    """Return the unit of a rate's period; that of a day is a minute longer.

    >>> _period(timedelta(days=1, minutes=1)), _period(timedelta(seconds=60)), _period(timedelta(seconds=1))
    ('day', 'minute', 'second')
    """
    return next((word for word, length in _PERIODS if per >= length), "second")


def _collect_report(report: ReportFreshness, readings: Readings) -> None:
    for state in get_args(State):
        readings.add("momentus_report_state", report.state == state, report.report, state)
    readings.add("momentus_report_failing", report.failing, report.report)
    spans = {"age": report.age_ms, "soft_limit": report.soft_ms, "hard_limit": report.hard_ms}
    for name, span_ms in spans.items():
        if span_ms is not None:
            readings.add(f"momentus_report_{name}_seconds", span_ms / 1000, report.report)


def _collect_promise(promise: PromiseState, readings: Readings) -> None:
    readings.add("momentus_promise_limit_seconds", promise.limit_ms / 1000, promise.name)
    readings.add("momentus_promise_target_ratio", promise.target, promise.name)
    readings.add("momentus_promise_minutes_total", promise.kept_in_all, promise.name, "kept")
    readings.add("momentus_promise_minutes_total", promise.broken_in_all, promise.name, "broken")
    readings.add("momentus_promise_budget_left_ratio", promise.budget_left, promise.name)


def _collect_stores(depth: Depth, readings: Readings) -> None:
    lost = {loss.group: loss for loss in depth.losses}
    for group in {lane.lane.partition(".")[0] for lane in depth.lanes}:
        loss = lost.get(f"{{{group}}}")
        readings.add("momentus_data_losses", loss.times if loss else 0, group)
        readings.add("momentus_data_lost_jobs", loss.jobs if loss else 0, group)
    for one in depth.ledger:
        readings.add("momentus_ledger_live_jobs", one.live, one.group)
        readings.add("momentus_ledger_unrecorded_ends", one.unrecorded, one.group)
        if one.unrecorded_ms is not None:
            readings.add("momentus_ledger_oldest_end_seconds", one.unrecorded_ms / 1000, one.group)
    readings.add("momentus_mail_doubts", len(depth.doubts))


def _collect_server(server: RedisServer, readings: Readings) -> None:
    readings.add("momentus_redis_replicas", server.replicas)
    readings.add("momentus_redis_replica_lag_bytes", server.lag_bytes)
    readings.add("momentus_redis_used_memory_bytes", server.used_bytes)
    readings.add("momentus_redis_memory_limit_bytes", server.limit_bytes)
