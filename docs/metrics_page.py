"""Writer of docs/metrics.md from the table of metrics: ``PYTHONPATH=. .venv/bin/python docs/metrics_page.py``.

A test compares the file with this page, so neither can change alone.
"""  # noqa: INP001  a script beside the pages, not a package

import sys
from typing import Final, get_args

from metrics.table import METRICS, Metric, Part

_HEAD: Final = """\
# Metrics

Every process counts in plain numbers of its own and writes a page for Prometheus when it is asked. The default is
off, but for the reader and the console, which serve theirs beside everything else.

*En español: `docs/es/metrics.md`.*

| what | where | parts of the table below |
|---|---|---|
| a worker | `MOMENTUS_METRICS__WORKER=9310` | process, worker, mail, reports |
| its second process, which computes reports beside mails | `MOMENTUS_METRICS__REPORTS=9311` | the same |
| a reader | its own `/metrics`; where readers share a port, `MOMENTUS_METRICS__READER=9312` | process, reader |
| the whole fleet, as Redis knows it | `./run ops metrics --listen 9313` | process, redis, fleet, slow |
| the same without a process more | `/metrics` of the console; `./run ops metrics` prints it once | redis, fleet |

A place to listen is a port of this machine (`9310`), an address with a port (`0.0.0.0:9310`) or a socket file
(`unix:/run/momentus/worker.sock`). A port alone is reached from this machine only, and a page there answers to the
names of this machine only. Each process needs a place of its own; one in use ends the process with a line that
names the setting. Producers are counted where their jobs arrive: `momentus_lane_accepted_jobs_total`.

A client that asks for OpenMetrics gets it, with an example in each bucket of a job's histogram: the job's id, for
`./run ops why`. All others get Prometheus text. No label holds an id, an address or a server's text. If Redis does
not answer, the fleet's page says so (`momentus_redis_up 0`) and has the rest of its process. What the Redis user
may not read has no values; `./run ops acl` writes users that may.

What takes long to count is counted every five minutes by `./run ops metrics --listen` alone: sessions, and where
`MOMENTUS_POSTGRES_DSN` names a database with a ledger, the comparison of both stores. So one of these is enough.

Prometheus reads it with a few lines:

```yaml
scrape_configs:
  - job_name: momentus
    static_configs:
      - targets: ["127.0.0.1:9310", "127.0.0.1:9311", "127.0.0.1:8710", "127.0.0.1:9313"]
rule_files: [momentus.rules.yaml]
```

`deploy/prometheus/momentus.rules.yaml` has alerts, each with its page in `docs/alerts.md`, and
`deploy/grafana/momentus.json` is a dashboard to import.

Beside the metrics below each process has those of Prometheus's own client for Python:
`process_cpu_seconds_total`, `process_resident_memory_bytes` and the other `process_*`.
"""
_TITLES: Final = {
    "process": "Of every process",
    "worker": "Of a worker",
    "mail": "Of a worker's mails",
    "reports": "Of a worker's refreshes",
    "reader": "Of a reader",
    "redis": "Of the fleet's page itself",
    "fleet": "Of the fleet",
    "slow": "Of the fleet, counted every five minutes",
}


def metrics_page() -> str:
    """Return the page."""
    sections = [_section(part) for part in get_args(Part)]
    return "\n".join([_HEAD, *sections])


def _section(part: Part) -> str:
    rows = [_row(metric) for metric in METRICS.values() if metric.part == part]
    heads = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    return "\n".join([f"## {_TITLES[part]}", "", *heads, *rows, ""])


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.type} | {labels} | {metric.help} |"


if __name__ == "__main__":
    sys.stdout.write(metrics_page())
