"""A real Prometheus scrapes real processes, evaluates the rules and answers the dashboard's queries."""

import asyncio
import json
import re
import shutil
import sys
import urllib.request
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from jobs import Mail
from local.embedded.ports import free_port
from local.sink.smtp import MailSink
from local.supervisor.process import Process, RestartPolicy
from local.supervisor.supervisor import Supervisor
from producers import Producer
from tests.support import eventually
from tests.unit.test_alerts import DASHBOARD, RULES, alerts

PROMETHEUS = shutil.which("prometheus")
CONFIGURATION = """\
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: momentus
    static_configs: [{{targets: {targets}}}]
"""


class Api:
    """The query interface of a Prometheus on this machine."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def get(self, path: str, **parameters: str) -> Any:
        return await asyncio.to_thread(self._read, path, parameters)

    def _read(self, path: str, parameters: dict[str, str]) -> Any:
        address = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urlencode(parameters)}"
        with urllib.request.urlopen(address, timeout=20) as reply:
            return json.load(reply)["data"]

    async def value(self, query: str) -> float | None:
        found = (await self.get("query", query=query))["result"]
        return float(found[0]["value"][1]) if found else None


def own(name: str, *argv: str, ready: Callable[[int], Awaitable[bool]], **settings: str) -> Process:
    return Process(
        name=name,
        argv=argv,
        environment={f"MOMENTUS_{key}": value for key, value in settings.items()},
        ready=ready,
        restart=RestartPolicy.NEVER,
        drain=timedelta(seconds=20),
    )


def prometheus(folder: Path, port: int, targets: list[int]) -> Process:
    file = folder / "prometheus.yml"
    listed = json.dumps([f"127.0.0.1:{one}" for one in targets])
    file.write_text(CONFIGURATION.format(rules=RULES, targets=listed), encoding="utf-8")
    options = (f"--config.file={file}", f"--storage.tsdb.path={folder / 'data'}")
    return own(
        "prometheus", str(PROMETHEUS), *options, f"--web.listen-address=127.0.0.1:{port}", ready=listens(port)
    )


def listens(port: int) -> Callable[[int], Awaitable[bool]]:
    async def ready(_: int) -> bool:
        _reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()
        return True

    return ready


@pytest.mark.long
@pytest.mark.timeout(180)
@pytest.mark.skipif(PROMETHEUS is None, reason="Prometheus is not installed here (Debian: apt install prometheus)")
async def test_prometheus_scrapes_every_process_evaluates_each_rule_and_answers_each_panel(
    valkey_url: str, producer: Producer, smtp_sink: MailSink, tmp_path: Path
) -> None:
    ports = {name: free_port() for name in ("worker", "reader", "exporter")}
    mail = {"MAIL__HOST": "127.0.0.1", "MAIL__PORT": str(smtp_sink.port), "MAIL__TLS": "off"}
    listen = ("ops", "metrics", "--listen", str(ports["exporter"]))
    parts = [
        own(
            "worker",
            *(sys.executable, "-m", "worker"),
            ready=listens(ports["worker"]),
            REDIS_URL=valkey_url,
            METRICS__WORKER=str(ports["worker"]),
            **mail,
        ),
        own(
            "reader",
            *(sys.executable, "-m", "reader"),
            ready=listens(ports["reader"]),
            REDIS_URL=valkey_url,
            READER__PORT=str(ports["reader"]),
        ),
        own("exporter", sys.executable, "-m", *listen, ready=listens(ports["exporter"]), REDIS_URL=valkey_url),
    ]
    port = free_port()
    api = Api(port)
    async with Supervisor(parts) as running, Supervisor([prometheus(tmp_path, port, [*ports.values()])]):
        await producer.send(Mail(to="ana@example.com", subject="Hola", text="Hola"))
        await eventually(lambda: holds(api, 'momentus_job_outcomes_total{outcome="done"} == 1'))
        await eventually(lambda: holds(api, "sum(up) == 3"))
        await every_target_was_read(api)
        await every_rule_is_evaluated(api)
        await every_panel_has_an_answer(api)
        await running.stop("worker")
        await eventually(lambda: is_active(api, "MomentusNoWorkers"), timeout=60)


async def holds(api: Api, query: str) -> bool:
    return await api.value(query) is not None


async def is_active(api: Api, alert: str) -> bool:
    active = (await api.get("alerts"))["alerts"]
    return any(one["labels"]["alertname"] == alert for one in active)


async def every_target_was_read(api: Api) -> None:
    targets = (await api.get("targets"))["activeTargets"]
    assert [(one["health"], one["lastError"]) for one in targets] == [("up", "")] * 3


async def every_rule_is_evaluated(api: Api) -> None:
    async def evaluated() -> list[dict[str, Any]]:
        found = [rule for group in (await api.get("rules"))["groups"] for rule in group["rules"]]
        return found if all(rule["health"] != "unknown" for rule in found) else []

    rules = await eventually(evaluated)
    assert {rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"} == {}
    assert {rule["name"] for rule in rules} >= {rule["alert"] for rule in alerts()}


async def every_panel_has_an_answer(api: Api) -> None:
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        for target in panel.get("targets", []):
            expression = re.sub(r"\$lane\b", ".*", target["expr"])
            assert (await api.get("query", query=expression))["resultType"] == "vector", expression
