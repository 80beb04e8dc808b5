"""Every metric: name, type, labels, meaning, and the part of a process that has it.

Names follow Prometheus's conventions: a base unit at the end (`_seconds`, `_bytes`), `_total` for counters. Labels
are few and bounded: kinds, lanes, accounts and reports are named by code or settings; no id, address or text of a
server is a label. docs/metrics.md is written from this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

MetricType = Literal["counter", "gauge", "histogram"]
Part = Literal["process", "worker", "mail", "reports", "reader", "redis", "fleet", "slow"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. ``part``: the part of the installation that reports it."""

    part: Part
    name: str
    type: MetricType
    labels: tuple[str, ...]
    help: str


def _metrics(part: Part, *rows: tuple[str, MetricType, str, str]) -> dict[str, Metric]:
    return {name: Metric(part, name, kind, tuple(labels.split()), text) for name, kind, labels, text in rows}


_PROCESS = _metrics(
    "process",
    (
        "momentus_event_loop_delay_seconds",
        "histogram",
        "",
        "Delay of the event loop, measured four times a second; a handler that blocks the loop delays all others.",
    ),
    (
        "momentus_background_faults_total",
        "counter",
        "task",
        "Background tasks that failed by a bug and were started again.",
    ),
)
_WORKER = _metrics(
    "worker",
    (
        "momentus_job_wait_seconds",
        "histogram",
        "kind lane",
        "Time from the instant at which a job could run to its claim, by Redis's clock; once for each attempt.",
    ),
    (
        "momentus_job_run_seconds",
        "histogram",
        "kind lane",
        "Time from the claim of a job to the outcome of that attempt.",
    ),
    (
        "momentus_job_outcomes_total",
        "counter",
        "kind lane outcome",
        "Attempts by outcome, as docs/glossary.md names them; a + marks an effect that may have happened.",
    ),
    (
        "momentus_job_errors_total",
        "counter",
        "kind lane error",
        "Attempts that ended with an error, by its class; classes past the thirtieth count as other.",
    ),
    ("momentus_worker_slots", "gauge", "lane", "Slots of this worker."),
    ("momentus_worker_busy_slots", "gauge", "lane", "Slots with a running job."),
    (
        "momentus_worker_unrecorded_outcomes",
        "gauge",
        "lane",
        "Outcomes that wait to be recorded in Redis.",
    ),
    (
        "momentus_worker_left_behind_handlers",
        "gauge",
        "lane",
        "Handlers that were told to stop and still run; they take no slots.",
    ),
    (
        "momentus_worker_cycle_seconds",
        "histogram",
        "shard",
        "Round trip to Redis that records outcomes and claims jobs; failed ones are not counted.",
    ),
    ("momentus_worker_failed_cycles_total", "counter", "shard", "Round trips to Redis that failed."),
    ("momentus_worker_lease_seconds", "gauge", "shard", "Time after which a silent worker's jobs run elsewhere."),
    (
        "momentus_worker_lease_age_seconds",
        "gauge",
        "shard",
        "Time since all leases were renewed; at the lease's length this worker has lost its jobs.",
    ),
)
_MAIL = _metrics(
    "mail",
    (
        "momentus_smtp_stage_seconds",
        "histogram",
        "stage",
        "Duration of a mail's stage: open (to the login), envelope (MAIL to DATA), mark (body, stored mark), dot.",
    ),
    (
        "momentus_smtp_refusals_total",
        "counter",
        "stage code",
        "Refusals by mail servers, by stage and SMTP reply code.",
    ),
)
_REPORTS = _metrics(
    "reports",
    (
        "momentus_refresh_seconds",
        "histogram",
        "board",
        "Duration of a board's refresh, from its start to the stored sets.",
    ),
    (
        "momentus_refresh_query_seconds",
        "histogram",
        "report",
        "Execution time of a report's queries in one refresh, by the database's clock.",
    ),
    ("momentus_refresh_failures_total", "counter", "report", "Refreshes that failed; the last good set stays."),
)
_READER = _metrics(
    "reader",
    ("momentus_reader_requests_total", "counter", "outcome", "Responses by outcome."),
    ("momentus_reader_age_seconds", "histogram", "", "Age of the data served."),
    (
        "momentus_reader_response_seconds",
        "histogram",
        "",
        "Time from a complete request to its response; streams of hints are left out.",
    ),
    ("momentus_reader_clock_ahead_seconds", "gauge", "", "This machine's clock minus Redis's."),
    (
        "momentus_reader_clock_doubts_total",
        "counter",
        "clock",
        "Responses not called fresh because clocks are apart.",
    ),
)
_REDIS = _metrics(
    "redis",
    (
        "momentus_redis_up",
        "gauge",
        "",
        "1 if Redis answered this scrape; 0 leaves the metrics below without values.",
    ),
    ("momentus_fleet_read_seconds", "gauge", "", "Time that reading all of the fleet's metrics took."),
)
_FLEET = _metrics(
    "fleet",
    (
        "momentus_lane_jobs",
        "gauge",
        "lane state",
        "Jobs by state: ready, leased, scheduled or dead; each job has one.",
    ),
    ("momentus_lane_retrying_jobs", "gauge", "lane", "Waiting jobs that have failed before."),
    ("momentus_lane_parked_jobs", "gauge", "lane", "Waiting jobs that no worker may take yet."),
    (
        "momentus_lane_held_back_jobs",
        "gauge",
        "lane",
        "Waiting jobs that a limit of their own keeps from running.",
    ),
    (
        "momentus_lane_oldest_ready_seconds",
        "gauge",
        "lane",
        "Time since the first ready job became ready; 0 if none is.",
    ),
    ("momentus_lane_accepted_jobs_total", "counter", "lane", "Jobs that producers queued."),
    (
        "momentus_lane_ended_jobs_total",
        "counter",
        "lane outcome",
        "Jobs that ended: done, suppressed, discarded, vanished, cancelled or expired.",
    ),
    (
        "momentus_lane_uncertain_effects_total",
        "counter",
        "lane",
        "Effects, like mails, that may or may not have happened.",
    ),
    (
        "momentus_lane_unaccounted_jobs",
        "gauge",
        "lane",
        "Accepted jobs that are neither ended, dead, waiting nor leased; below 0: jobs that were never accepted.",
    ),
    ("momentus_lane_workers", "gauge", "lane", "Live workers that serve the lane."),
    ("momentus_lane_slots", "gauge", "lane", "Slots of live workers."),
    ("momentus_lane_busy_slots", "gauge", "lane", "Slots with a running job, by the workers' heartbeats."),
    (
        "momentus_lane_waits",
        "gauge",
        "lane reason",
        "1 for the reason why jobs wait: held, no_worker, limits, slots_busy, ceiling, not_claiming or quiet.",
    ),
    (
        "momentus_lane_drain_seconds",
        "gauge",
        "lane",
        "Forecast time until no job waits that could run; without a value if there is no such time.",
    ),
    (
        "momentus_lane_drain_state",
        "gauge",
        "lane state",
        "1 for the forecast: empty, delayed, held, no_worker, stuck, in, growing, level or unknown.",
    ),
    ("momentus_workers", "gauge", "", "Live workers."),
    ("momentus_worker_silence_seconds", "gauge", "", "Age of the oldest heartbeat of a live worker."),
    (
        "momentus_workers_background_faults",
        "gauge",
        "task",
        "Background tasks of live workers that failed and were started again, since their starts.",
    ),
    ("momentus_limit_room_jobs", "gauge", "limit", "Jobs that may start now; without a value: any number."),
    ("momentus_limit_running_jobs", "gauge", "limit", "Jobs that hold a place of the limit."),
    ("momentus_limit_blocked_jobs", "gauge", "limit", "Jobs that name the limit and wait for it."),
    ("momentus_limit_pace_ratio", "gauge", "limit", "Part of the limit that applies; below 1 it is slowed down."),
    ("momentus_limit_held", "gauge", "limit", "1 while a hold stops the limit."),
    (
        "momentus_account_state",
        "gauge",
        "account state",
        "1 for the state of the mail account: open, slowed, closed, trying or paused.",
    ),
    (
        "momentus_account_budget_mails",
        "gauge",
        "account period",
        "Mails that the account may still send at once under its rate a second, minute, hour or day.",
    ),
    ("momentus_account_connections", "gauge", "account", "Permits for connections in use, by all workers."),
    (
        "momentus_account_pauses",
        "gauge",
        "account",
        "Consecutive pauses of the account's breaker; 0 while it works.",
    ),
    ("momentus_mail_doubts", "gauge", "", "Servers that refused many recipients at once during the last day."),
    (
        "momentus_report_state",
        "gauge",
        "report state",
        "1 for the state that readers see: fresh, stale, refused, never or unreadable.",
    ),
    ("momentus_report_age_seconds", "gauge", "report", "Time since the report was last known to be true."),
    ("momentus_report_soft_limit_seconds", "gauge", "report", "Age up to which the report is fresh."),
    ("momentus_report_hard_limit_seconds", "gauge", "report", "Age from which readers refuse the report."),
    ("momentus_report_failing", "gauge", "report", "1 if its last refresh failed or readers no longer get it."),
    (
        "momentus_promise_limit_seconds",
        "gauge",
        "promise",
        "Largest age of a lane's oldest ready job, or of a report, that keeps the promise of service.",
    ),
    ("momentus_promise_target_ratio", "gauge", "promise", "Part of the minutes in which it must be kept."),
    (
        "momentus_promise_minutes_total",
        "counter",
        "promise verdict",
        "Minutes in which the promise was kept or broken.",
    ),
    (
        "momentus_promise_budget_left_ratio",
        "gauge",
        "promise",
        "Part of the error budget of 30 days that is left; below 0 it is overdrawn.",
    ),
    (
        "momentus_data_losses",
        "gauge",
        "group",
        "Losses of a lane group's data in Redis that no operator has acknowledged.",
    ),
    ("momentus_data_lost_jobs", "gauge", "group", "Approximate number of unfinished jobs lost in the last one."),
    ("momentus_ledger_live_jobs", "gauge", "group", "Jobs of the ledger that Redis holds as live."),
    (
        "momentus_ledger_unrecorded_ends",
        "gauge",
        "group",
        "Ends of jobs of the ledger that wait in Redis for Postgres.",
    ),
    (
        "momentus_ledger_oldest_end_seconds",
        "gauge",
        "group",
        "Time since the oldest of those ends, among a hundred; without a value if it is not known.",
    ),
    ("momentus_redis_replicas", "gauge", "", "Replicas that are connected to the primary; of a cluster, of all."),
    ("momentus_redis_replica_lag_bytes", "gauge", "", "Bytes that the replica furthest behind has not confirmed."),
    (
        "momentus_redis_used_memory_bytes",
        "gauge",
        "",
        "Memory that Redis uses; of a cluster, the fullest primary.",
    ),
    ("momentus_redis_memory_limit_bytes", "gauge", "", "The maxmemory of that server; 0: none."),
)

_SLOW = _metrics(
    "slow",
    (
        "momentus_sessions",
        "gauge",
        "",
        "Live sessions, those of machines and of visitors without a user included.",
    ),
    ("momentus_ledger_jobs", "gauge", "", "Jobs in the ledger's tables in Postgres."),
    ("momentus_ledger_ended_jobs", "gauge", "", "Those of them that have an end."),
    ("momentus_ledger_pending_jobs", "gauge", "", "Jobs in Postgres that were not handed over to Redis yet."),
    (
        "momentus_ledger_disagreements",
        "gauge",
        "fault",
        "Jobs about which Postgres and Redis disagree: lost, stray, ended or no job (`./run ops ledger check`).",
    ),
    ("momentus_ledger_compared_timestamp_seconds", "gauge", "", "When both stores were last compared."),
)

METRICS: Final[dict[str, Metric]] = {
    **_PROCESS,
    **_WORKER,
    **_MAIL,
    **_REPORTS,
    **_READER,
    **_REDIS,
    **_FLEET,
    **_SLOW,
}
"""Every metric by name."""
