"""The alert rules of deploy/prometheus: each fires when it should and is silent otherwise, by promtool itself.

Without promtool (Debian's package `prometheus`) what can be read is checked all the same: that each metric and
label of the rules and of the dashboard is in the table of metrics, and that each alert has its page in both
languages.
"""

import functools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from metrics.table import METRICS

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "deploy/prometheus/momentus.rules.yaml"
DASHBOARD = ROOT / "deploy/grafana/momentus.json"
PROMTOOL = shutil.which("promtool")
NAME = re.compile(r"\bmomentus_[a-z_]+\b")
SELECTOR = re.compile(r"\b(momentus_[a-z_]+)\{([^}]*)\}")
LABEL = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")
PARTS = re.compile(r"_(bucket|sum|count)$")
OF_SCRAPE = {"instance", "job", "le"}
"""Labels that Prometheus adds, and that of a bucket."""


@dataclass(frozen=True)
class Case:
    """Series of a minute each, in promtool's notation; the alert's own labels; when it is looked at."""

    fires: dict[str, str]
    quiet: dict[str, str]
    labels: dict[str, str] = field(default_factory=dict)
    at: str = "1h30m"


LANE = {"lane": "mail.bulk"}
WAITS = 'momentus_lane_waits{lane="mail.bulk",reason="%s"}'
DRAIN = 'momentus_lane_drain_state{lane="mail.bulk",state="%s"}'
LAG = 'momentus_event_loop_delay_seconds_bucket{instance="w1",le="%s"}'
ANSWERS = 'momentus_reader_requests_total{instance="r1",outcome="%s"}'
LEASE = 'momentus_worker_lease_%s{instance="w1",shard="all"}'
KEPT = 'momentus_promise_minutes_total{promise="mail.bulk",verdict="kept"}'
BROKEN = 'momentus_promise_minutes_total{promise="mail.bulk",verdict="broken"}'
TARGET = 'momentus_promise_target_ratio{promise="mail.bulk"}'
ON, OFF = "1x100", "0x100"
CASES = {
    "MomentusRedisDown": Case({"momentus_redis_up": OFF}, {"momentus_redis_up": ON}),
    "MomentusFleetUnseen": Case({}, {"momentus_redis_up": ON}),
    "MomentusNoWorkers": Case({"momentus_workers": OFF}, {"momentus_workers": ON}),
    "MomentusLaneWithoutWorker": Case(
        {WAITS % "no_worker": ON}, {WAITS % "no_worker": OFF}, LANE | {"reason": "no_worker"}
    ),
    "MomentusLaneNotClaimed": Case(
        {WAITS % "not_claiming": ON}, {WAITS % "not_claiming": OFF}, LANE | {"reason": "not_claiming"}
    ),
    "MomentusLaneHeld": Case({WAITS % "held": ON}, {WAITS % "held": "0x75 1x25"}, LANE | {"reason": "held"}),
    "MomentusLaneStuck": Case(
        {DRAIN % "stuck": "0x87 1x20"}, {DRAIN % "stuck": OFF, DRAIN % "unknown": ON}, LANE | {"state": "stuck"}
    ),
    "MomentusLaneGrows": Case(
        {DRAIN % "growing": "0x50 1x8 0 1x8 0 1x40"},
        {DRAIN % "growing": "0x75 1x25", DRAIN % "in": "1x75 0x25"},
        LANE | {"state": "growing"},
    ),
    "MomentusJobsDie": Case(
        {'momentus_lane_jobs{lane="mail.bulk",state="dead"}': "0x82 3x20"},
        {'momentus_lane_jobs{lane="mail.bulk",state="dead"}': "3x100"},
        LANE | {"state": "dead"},
    ),
    "MomentusEffectsUncertain": Case(
        {'momentus_lane_uncertain_effects_total{lane="mail.bulk"}': "0x82 2x20"},
        {'momentus_lane_uncertain_effects_total{lane="mail.bulk"}': "2x100"},
        LANE,
    ),
    "MomentusJobsParked": Case(
        {'momentus_lane_parked_jobs{lane="mail.bulk"}': ON},
        {'momentus_lane_parked_jobs{lane="mail.bulk"}': "0x75 1x25"},
        LANE,
    ),
    "MomentusJobsUnaccounted": Case(
        {'momentus_lane_unaccounted_jobs{lane="mail.bulk"}': "-1x100"},
        {'momentus_lane_unaccounted_jobs{lane="mail.bulk"}': OFF},
        LANE,
    ),
    "MomentusDataLost": Case(
        {'momentus_data_losses{group="mail"}': ON}, {'momentus_data_losses{group="mail"}': OFF}, {"group": "mail"}
    ),
    "MomentusLedgerBehind": Case(
        {'momentus_ledger_unrecorded_ends{group="mail"}': "5x100"},
        {'momentus_ledger_unrecorded_ends{group="mail"}': "5x87 0 5x10"},
        {"group": "mail"},
    ),
    "MomentusLedgerDisagrees": Case(
        {'momentus_ledger_disagreements{fault="lost"}': ON},
        {'momentus_ledger_disagreements{fault="lost"}': "0x85 1x15"},
        {"fault": "lost"},
    ),
    "MomentusAccountClosed": Case(
        {
            'momentus_account_state{account="main",state="closed"}': "1x50 0x50",
            'momentus_account_state{account="main",state="trying"}': "0x50 1x50",
        },
        {'momentus_account_state{account="main",state="closed"}': "0x50 1x50"},
        {"account": "main"},
    ),
    "MomentusRefusalsDoubted": Case({"momentus_mail_doubts": ON}, {"momentus_mail_doubts": OFF}),
    "MomentusReportRefused": Case(
        {'momentus_report_state{report="sales",state="unreadable"}': ON},
        {'momentus_report_state{report="sales",state="stale"}': ON},
        {"report": "sales"},
    ),
    "MomentusReportFails": Case(
        {'momentus_report_failing{report="sales"}': ON},
        {'momentus_report_failing{report="sales"}': "0x85 1x15"},
        {"report": "sales"},
    ),
    "MomentusReportNeverComputed": Case(
        {'momentus_report_state{report="sales",state="never"}': ON},
        {'momentus_report_state{report="sales",state="never"}': OFF},
        {"report": "sales", "state": "never"},
    ),
    "MomentusReaderFails": Case(
        {ANSWERS % "fresh": "0+90x100", ANSWERS % "redis_unreachable": "0+2x100"},
        {ANSWERS % "fresh": "0+900x100", ANSWERS % "not_found": "0+90x100", ANSWERS % "internal": "0+1x100"},
        {"instance": "r1"},
    ),
    "MomentusLeaseLate": Case(
        {LEASE % "seconds": "10x100", LEASE % "age_seconds": "9x100"},
        {LEASE % "seconds": "10x100", LEASE % "age_seconds": "3x100"},
        {"instance": "w1", "shard": "all"},
    ),
    "MomentusEventLoopBlocked": Case(
        {LAG % "0.5": "0+9x100", LAG % "1.0": "0+10x100", LAG % "+Inf": "0+10x100"},
        {LAG % "0.5": "0+10x100", LAG % "1.0": "0+10x100", LAG % "+Inf": "0+10x100"},
        {"instance": "w1"},
    ),
    "MomentusBackgroundFaults": Case(
        {'momentus_background_faults_total{instance="w1",task="wake"}': "0x82 1x20"},
        {'momentus_background_faults_total{instance="w1",task="wake"}': "1x100"},
        {"instance": "w1", "task": "wake"},
    ),
    "MomentusRedisMemory": Case(
        {"momentus_redis_used_memory_bytes": "95x100", "momentus_redis_memory_limit_bytes": "100x100"},
        {"momentus_redis_used_memory_bytes": "95x100", "momentus_redis_memory_limit_bytes": "0x100"},
    ),
    "MomentusPromiseBurnsFast": Case(
        {KEPT: "0x100", BROKEN: "0+1x100", TARGET: "0.99x100"},
        {KEPT: "0+1x100", BROKEN: "0+0x100", TARGET: "0.99x100"},
        {"promise": "mail.bulk"},
    ),
    "MomentusPromiseBurnsSlowly": Case(
        {KEPT: "0+9x100", BROKEN: "0+1x100", TARGET: "0.95x100"},
        {KEPT: "0+30x100", BROKEN: "0+1x100", TARGET: "0.95x100"},
        {"promise": "mail.bulk"},
    ),
    "MomentusReplicaBehind": Case(
        {"momentus_redis_replica_lag_bytes": "99000000x100"}, {"momentus_redis_replica_lag_bytes": "9000000x100"}
    ),
}


@functools.cache
def groups() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = YAML(typ="safe").load(RULES.read_text(encoding="utf-8"))["groups"]
    return found


def alerts() -> list[dict[str, Any]]:
    return [rule for group in groups() for rule in group["rules"] if "alert" in rule]


def recorded() -> set[str]:
    return {rule["record"] for group in groups() for rule in group["rules"] if "record" in rule}


def expressions() -> Iterator[tuple[str, str]]:
    """Every expression of the rules and of the dashboard, with where it stands."""
    for rule in (rule for group in groups() for rule in group["rules"]):
        yield rule.get("alert") or rule["record"], rule["expr"]
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    for panel in board["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]


def complaints(where: str, expression: str) -> Iterator[str]:
    for name in NAME.findall(expression):
        if name not in METRICS and PARTS.sub("", name) not in METRICS:
            yield f"{where}: {name} is no metric"
    for name, labels in SELECTOR.findall(expression):
        metric = METRICS.get(name) or METRICS.get(PARTS.sub("", name))
        known = OF_SCRAPE | set(metric.labels if metric else ())
        yield from (f"{where}: {name} has no label {one}" for one in LABEL.findall(labels) if one not in known)


def test_rules_and_dashboard_name_only_metrics_and_labels_of_the_table() -> None:
    assert not [one for where, expression in expressions() for one in complaints(where, expression)]
    assert len(list(expressions())) > 40


def test_a_metric_or_label_that_does_not_exist_is_seen() -> None:
    assert list(complaints("x", "rate(momentus_nothing_total[5m])"))
    assert list(complaints("x", 'momentus_lane_jobs{queue="a"}'))


def test_each_alert_says_how_serious_it_is_and_has_its_page_in_both_languages() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in {"critical", "warning"}, rule
        file, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert anchor == rule["alert"].lower()
        for page in (ROOT / file, ROOT / file.replace("docs/", "docs/es/")):
            assert re.search(rf"(?m)^## {rule['alert']}\b", page.read_text(encoding="utf-8")), (rule, page)
    headings = set(re.findall(r"(?m)^## (Momentus\w+)", (ROOT / "docs/alerts.md").read_text(encoding="utf-8")))
    assert headings == {rule["alert"] for rule in alerts()}, "no page without its alert"


def test_each_alert_has_a_case() -> None:
    assert CASES.keys() == {rule["alert"] for rule in alerts()}


def unit_test(rule: dict[str, Any], case: Case, *, fires: bool) -> dict[str, Any]:
    series = case.fires if fires else case.quiet
    text = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda one: case.labels[one[1]], rule["annotations"]["summary"])
    expected = {
        "exp_labels": rule["labels"] | case.labels,
        "exp_annotations": rule["annotations"] | {"summary": text},
    }
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [
            {"eval_time": case.at, "alertname": rule["alert"], "exp_alerts": [expected] if fires else []}
        ],
    }


def alone(rule: dict[str, Any]) -> dict[str, Any]:
    """One alert, with the records that it looks at: a test evaluates each rule of its file for each minute."""
    records = {one["record"]: one for group in groups() for one in group["rules"] if "record" in one}
    wanted, waiting = [rule], [rule]
    while waiting:
        expression = waiting.pop()["expr"]
        more = [one for name, one in records.items() if name in expression and one not in wanted]
        wanted += more
        waiting += more
    kept = [{**group, "rules": [one for one in group["rules"] if one in wanted]} for group in groups()]
    return {"groups": [group for group in kept if group["rules"]]}


@pytest.mark.timeout(300)  # on a busy machine; promtool evaluates hours of minutes
@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed here (Debian: apt install prometheus)")
def test_each_alert_fires_when_it_should_and_is_silent_otherwise(tmp_path: Path) -> None:
    files = []
    for rule in alerts():
        name = rule["alert"]
        (tmp_path / f"{name}.rules").write_text(json.dumps(alone(rule)), encoding="utf-8")
        tests = [unit_test(rule, CASES[name], fires=fires) for fires in (True, False)]
        content = {"rule_files": [f"{name}.rules"], "evaluation_interval": "1m", "tests": tests}
        files.append(tmp_path / f"{name}.json")
        files[-1].write_text(json.dumps(content), encoding="utf-8")
    for words in (["check", "rules", str(RULES)], ["test", "rules", *map(str, files)]):
        done = subprocess.run([str(PROMTOOL), *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
