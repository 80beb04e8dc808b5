"""Metrics as Prometheus meets them: real processes, scraped over their sockets, against the documented table."""

import asyncio
import json
import re
import runpy
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text
from prometheus_client.samples import Sample
from redis.asyncio import Redis

from jobs import Mail
from local.embedded.ports import free_port
from local.sink.smtp import MailSink, SinkFaults
from local.supervisor.process import Process, RestartPolicy
from local.supervisor.supervisor import Supervisor
from metrics.exposition import write_page
from metrics.listener import serve_page
from metrics.place import ListenPlace, bind
from metrics.readings import MOST_SERIES, Readings
from metrics.table import METRICS, Part
from ops.depth.read import read_depth
from producers import Producer
from producers.keys import LaneKeys
from producers.limits.limit import Limit, Rate
from producers.limits.limits import Limits
from sessions import Sessions
from tests.boards import shop
from tests.command_line import run_ops
from tests.ledgers import ledger_of
from tests.report_worker import sales_worker, shows
from tests.support import OwnValkey, eventually
from worker.engine.job_counts import MOST_ERRORS, JobCount

ROOT = Path(__file__).resolve().parents[2]
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
NORMAL = LaneKeys("mail.normal")
BOUNDED = {
    *("kind", "lane", "outcome", "error", "state", "reason", "group", "shard"),
    *(
        "stage",
        "code",
        "account",
        "period",
        "limit",
        "report",
        "board",
        "task",
        "clock",
        "promise",
        "verdict",
        "fault",
    ),
}
"""Labels whose values are named by code, settings or SMTP: none is an id, an address or a text."""
ACCOUNTS = """
[accounts.main]
host = "127.0.0.1"
port = {port}
tls = "off"
per_day = 100
"""
LOST_JOB = """
INSERT INTO momentus_ledger.jobs (day, id, lane, kind, payload)
VALUES ((now() AT TIME ZONE 'UTC')::date, '{mail}lost', 'mail.bulk', 'mail.send', '{}')
"""
"""Handed over, and unknown to Redis."""
OF_LIBRARY = re.compile(r"(process|python)_")


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    kind: str
    text: str

    def samples(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], Sample]:
        read = read_openmetrics if "openmetrics" in self.kind else read_text
        found = [sample for family in read(self.text) for sample in family.samples]
        return {(one.name, tuple(sorted(one.labels.items()))): one for one in found}

    def value(self, name: str, **labels: str) -> float | None:
        found = self.samples().get((name, tuple(sorted(labels.items()))))
        return None if found is None else float(found.value)

    def families(self) -> dict[str, tuple[str, str]]:
        """Type and meaning of each metric of ours, as the page tells them."""
        heads = re.findall(r"^# HELP (\S+) (.*)\n# TYPE \1 (\S+)$", self.text, re.MULTILINE)
        return {name: (kind, text) for name, text, kind in heads if not OF_LIBRARY.match(name)}


async def ask(place: str | int, path: str = "/metrics", *, method: str = "GET", **headers: str) -> Reply:
    """One request to a port of this machine or a socket file."""
    opened = (
        asyncio.open_unix_connection(place)
        if isinstance(place, str)
        else asyncio.open_connection("127.0.0.1", place)
    )
    reader, writer = await opened
    fields = {"Host": "localhost", "Connection": "close", **headers}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    writer.write("\r\n".join(lines).encode())
    async with asyncio.timeout(20):
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    kind = re.search(r"(?i)^content-type: (.*?)\r?$", head, re.MULTILINE)
    return Reply(int(head.split()[1]), kind[1] if kind else "", body)


def process(name: str, *words: str, at: str | int, **settings: str) -> Process:
    """A process that is ready when its page is served."""

    async def ready(_: int) -> bool:
        return (await ask(at)).status == 200

    return Process(
        name=name,
        argv=[sys.executable, "-m", *words],
        environment={f"MOMENTUS_{key}": value for key, value in settings.items()},
        ready=ready,
        restart=RestartPolicy.NEVER,
        drain=timedelta(seconds=20),
    )


def mailing_worker(url: str, sink: MailSink, port: int, **more: str) -> Process:
    return process("worker", "worker", at=port, METRICS__WORKER=str(port), **mail_settings(url, sink), **more)


def mail_settings(url: str, sink: MailSink) -> dict[str, str]:
    return {"REDIS_URL": url, "MAIL__HOST": "127.0.0.1", "MAIL__PORT": str(sink.port), "MAIL__TLS": "off"}


def exporter(url: str, place: str | int) -> Process:
    listen = f"unix:{place}" if isinstance(place, str) else str(place)
    return process("exporter", "ops", "metrics", "--listen", listen, at=place, REDIS_URL=url)


async def run(*words: str, **settings: str) -> tuple[int, str, str]:
    """A process to its end: exit code, standard output and standard error."""
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *words),
        env={f"MOMENTUS_{key}": value for key, value in settings.items()},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await started.communicate()
    return started.returncode or 0, out.decode(), err.decode()


async def run_command(*words: str, **settings: str) -> tuple[int, str]:
    code, out, err = await run_ops(*words, **settings)
    assert err == ""
    return code, out


def mail_to(name: str) -> Mail:
    return Mail(to=f"{name}@example.com", template="task_assigned", values={"task": "Cierre", "due": "hoy"})


def ended(count: int) -> Callable[[Reply], bool]:
    def holds(page: Reply) -> bool:
        outcomes = [one.value for key, one in page.samples().items() if key[0] == "momentus_job_outcomes_total"]
        return sum(outcomes) == count

    return holds


@pytest.fixture
async def page_port() -> AsyncIterator[int]:
    """A page with one metric, served in this process."""

    async def answer(accept: str) -> tuple[str, bytes]:
        readings = Readings()
        readings.add("momentus_redis_up", 1)
        return write_page(readings, ("redis",), accept)

    place = ListenPlace.read("0")
    listening = bind(place)
    async with serve_page(answer, listening, place):
        yield listening.getsockname()[1]


async def scrape_when(place: str | int, holds: Callable[[Reply], bool], **headers: str) -> Reply:
    async def held() -> Reply | None:
        page = await ask(place, **headers)
        return page if holds(page) else None

    found: Reply = await eventually(held)
    return found


def table(*parts: Part) -> dict[str, tuple[str, str]]:
    return {one.name: (one.type, one.help) for one in METRICS.values() if one.part in parts}


def labels_of(page: Reply) -> dict[str, set[tuple[str, ...]]]:
    """The labels of each metric of ours that has a value."""
    found: dict[str, set[tuple[str, ...]]] = {}
    for name, labels in page.samples():
        ours = name if name in METRICS else re.sub(r"_(bucket|sum|count)$", "", name)
        if ours in METRICS:
            names = tuple(label for label, _ in labels if label != "le")
            found.setdefault(ours, set()).add(names)
    return found


def assert_labels_fit(page: Reply) -> None:
    found = labels_of(page)
    assert found == {name: {tuple(sorted(METRICS[name].labels))} for name in found}


async def test_each_process_has_the_metrics_of_the_table_and_no_others_and_the_fleet_s_page_each_account(
    valkey_url: str, smtp_sink: MailSink, database: str, tmp_path: Path
) -> None:
    accounts = tmp_path / "accounts.toml"
    accounts.write_text(ACCOUNTS.format(port=smtp_sink.port))
    names = ("worker", "reports", "reader", "extra", "console", "exporter")
    ports = {name: free_port() for name in names}
    own = {"METRICS__WORKER": str(ports["worker"]), "METRICS__REPORTS": str(ports["reports"])}
    mail = {**mail_settings(valkey_url, smtp_sink), "MAIL__ACCOUNTS": str(accounts)}
    worker = sales_worker(valkey_url, database, tmp_path, **mail, **own)
    beside = {"REDIS_URL": valkey_url, "METRICS__READER": str(ports["extra"])}
    parts = [
        worker,
        process("reader", "reader", at=ports["reader"], READER__PORT=str(ports["reader"]), **beside),
        process(
            "console",
            *("ops", "console"),
            at=ports["console"],
            REDIS_URL=valkey_url,
            CONSOLE__PORT=str(ports["console"]),
        ),
        exporter(valkey_url, ports["exporter"]),
    ]
    async with shop(database, valkey_url) as it:
        await it.order(5)
        async with Supervisor(parts):
            await eventually(lambda: shows(it, 5), timeout=30)
            await has_each_account_with_its_budget(valkey_url, ports["console"])
            pages = {name: await ask(port) for name, port in ports.items()}
    of_worker = table("process", "worker", "mail", "reports")
    assert pages["worker"].families() == pages["reports"].families() == of_worker
    assert pages["reader"].families() == pages["extra"].families() == table("process", "reader")
    assert pages["exporter"].families() == table("process", "redis", "fleet", "slow")
    assert pages["console"].families() == table("redis", "fleet")
    for page in pages.values():
        assert_labels_fit(page)
    assert pages["reports"].value("momentus_refresh_seconds_count", board="shop")
    assert pages["reports"].value("momentus_refresh_query_seconds_count", report="sales")
    assert pages["exporter"].value("momentus_report_state", report="sales", state="fresh") == 1


async def test_a_worker_tells_how_long_mails_waited_and_ran_how_they_ended_and_each_stage(
    valkey_url: str, producer: Producer, smtp_sink: MailSink
) -> None:
    port = free_port()
    smtp_sink.faults = SinkFaults(recipient_replies={"refused@example.com": "550 5.1.1 no such user"})
    async with Supervisor([mailing_worker(valkey_url, smtp_sink, port)]):
        receipts = await producer.send_many([mail_to("ana"), mail_to("luis"), mail_to("refused")])
        page = await scrape_when(port, ended(3), Accept=OPENMETRICS)
    of_mail = {"kind": "mail.send", "lane": "mail.normal"}
    assert page.value("momentus_job_outcomes_total", **of_mail, outcome="done") == 2
    assert page.value("momentus_job_outcomes_total", **of_mail, outcome="dead") == 1
    assert page.value("momentus_job_errors_total", **of_mail, error="GiveUp") == 1
    assert page.value("momentus_job_wait_seconds_count", **of_mail) == 3
    assert page.value("momentus_job_run_seconds_count", **of_mail) == 3
    assert page.value("momentus_smtp_stage_seconds_count", stage="dot") == 2
    assert page.value("momentus_smtp_stage_seconds_count", stage="mark") == 2
    assert page.value("momentus_smtp_refusals_total", stage="rcpt", code="550") == 1
    examples = {one.exemplar.labels["job_id"] for one in page.samples().values() if one.exemplar}
    assert examples
    assert examples <= {receipt.id for receipt in receipts}


async def test_the_fleet_s_page_counts_what_depth_counts_and_is_no_fault_without_redis(
    own_valkey: Callable[..., Awaitable[OwnValkey]],
) -> None:
    port = free_port()
    valkey = await own_valkey()
    async with Supervisor([exporter(valkey.url, port)]):
        async with Redis.from_url(valkey.url) as redis, Producer.connect(valkey.url, budget=5) as producer:
            await counts_what_depth_counts(port, redis, producer)
        await valkey.stop()
        page = await ask(port)
        assert (page.status, page.value("momentus_redis_up")) == (200, 0)
        assert page.value("process_cpu_seconds_total")
        assert page.value("momentus_workers") is None
        await valkey.start()
        await scrape_when(port, lambda one: one.value("momentus_redis_up") == 1)


async def counts_what_depth_counts(port: int, redis: Redis, producer: Producer) -> None:
    await producer.send_many([mail_to("ana"), mail_to("luis")])
    await producer.send(mail_to("eva"), delay=timedelta(hours=1))
    await Limits(redis, "{jobs}").define(Limit("partner", (Rate(30, timedelta(minutes=1), 3),)))
    await redis.hset(NORMAL.counters, "accepted:mail.normal", "5")
    page = await ask(port)
    depth = (await read_depth(redis, tenant="default")).lane("mail.normal")
    assert depth is not None
    assert page.value("momentus_redis_up") == 1
    assert page.value("momentus_lane_jobs", lane="mail.normal", state="ready") == depth.ready == 2
    assert page.value("momentus_lane_jobs", lane="mail.normal", state="scheduled") == depth.scheduled == 1
    assert page.value("momentus_lane_accepted_jobs_total", lane="mail.normal") == depth.accepted == 5
    assert page.value("momentus_lane_unaccounted_jobs", lane="mail.normal") == depth.unaccounted == 2
    assert page.value("momentus_lane_waits", lane="mail.normal", reason="no_worker") == 1
    assert page.value("momentus_lane_waits", lane="mail.normal", reason="held") == 0
    assert page.value("momentus_limit_room_jobs", limit="partner") == 3


async def has_each_account_with_its_budget(url: str, console: int) -> None:
    async with Producer.connect(url, budget=5) as producer:
        await producer.send(mail_to("ana"))
    page = await scrape_when(console, lambda one: one.value("momentus_account_connections", account="main") == 1)
    assert page.value("momentus_account_state", account="main", state="open") == 1
    assert page.value("momentus_account_state", account="main", state="paused") == 0
    assert page.value("momentus_account_budget_mails", account="main", period="day") == 99


async def test_the_fleet_s_page_compares_both_stores_and_counts_sessions(valkey_url: str, database: str) -> None:
    port = free_port()
    listen = ("ops", "metrics", "--listen", str(port))
    serving = process("exporter", *listen, at=port, REDIS_URL=valkey_url, POSTGRES_DSN=database)
    sessions = Sessions.connect(valkey_url, deadline=timedelta(seconds=5))
    for user in ("ana", "luis", "ana"):
        await sessions.create(user, {})
    await sessions.close()
    async with ledger_of(database) as connection:
        await connection.execute(LOST_JOB)
        async with Supervisor([serving]):
            page = await scrape_when(port, lambda one: one.value("momentus_sessions") is not None)
    assert page.value("momentus_sessions") == 3
    assert page.value("momentus_ledger_jobs") == 1
    assert page.value("momentus_ledger_ended_jobs") == 0
    assert page.value("momentus_ledger_disagreements", fault="lost") == 1
    assert page.value("momentus_ledger_disagreements", fault="stray") == 0
    assert page.value("momentus_ledger_compared_timestamp_seconds")


async def test_the_command_prints_the_page_once_and_its_exit_code_tells_of_a_redis_that_is_away(
    own_valkey: Callable[..., Awaitable[OwnValkey]],
) -> None:
    valkey = await own_valkey()
    code, text = await run_command("metrics", REDIS_URL=valkey.url)
    assert (code, Reply(200, "text/plain", text).value("momentus_redis_up")) == (0, 1)
    code, text = await run_command("metrics", "--json", REDIS_URL=valkey.url)
    assert (code, json.loads(text)["momentus_lane_jobs"]["mail.bulk ready"]) == (0, 0)
    await valkey.stop()
    code, text = await run_command("metrics", REDIS_URL=valkey.url)
    assert (code, Reply(200, "text/plain", text).value("momentus_redis_up")) == (1, 0)


async def test_a_page_on_a_socket_file_replaces_one_that_a_killed_process_left(
    valkey_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "metrics.sock"
    async with Supervisor([exporter(valkey_url, str(path))]) as running:
        running.send_signal("exporter", signal.SIGKILL)
        await running.wait_exit("exporter")
        assert path.exists()
        await running.start("exporter")
        assert (await ask(str(path), Host="metrics.example")).status == 200
    assert not path.exists()


@pytest.mark.parametrize("forms", [("port", "path"), pytest.param(("path", "port"), marks=pytest.mark.long)])
async def test_a_place_in_use_ends_the_process_with_a_line_that_names_its_setting(
    valkey_url: str, smtp_sink: MailSink, tmp_path: Path, forms: tuple[str, str]
) -> None:
    settings = mail_settings(valkey_url, smtp_sink)
    with socket.socket() as port, socket.socket(socket.AF_UNIX) as file:
        port.bind(("127.0.0.1", 0))
        file.bind(str(tmp_path / "metrics.sock"))
        port.listen()
        file.listen()
        places = {"port": str(port.getsockname()[1]), "path": f"unix:{tmp_path / 'metrics.sock'}"}
        for name, form in zip(("worker", "reader"), forms, strict=True):
            done = await run(name, **settings, READER__PORT="0", **{f"METRICS__{name.upper()}": places[form]})
            assert done[0] == 2, done
            assert f"MOMENTUS_METRICS__{name.upper()}: cannot listen on" in done[2]
            assert done[2].count("\n") == 1
        done = await run("ops", "metrics", "--listen", places[forms[1]], REDIS_URL=valkey_url)
        assert done[0] == 2
        assert "--listen: cannot listen on" in done[2]


@pytest.mark.parametrize(
    ("method", "path", "host", "status"),
    [
        ("GET", "/metrics", "127.0.0.1:9310", 200),
        ("HEAD", "/metrics?x=1", "localhost", 200),
        ("POST", "/metrics", "localhost", 405),
        ("GET", "/", "localhost", 404),
        ("GET", "/metrics", "rebound.example", 421),
    ],
)
async def test_only_the_page_is_served_and_only_to_names_of_this_machine(
    page_port: int, method: str, path: str, host: str, status: int
) -> None:
    page = await ask(page_port, path, method=method, Host=host)
    assert page.status == status
    assert bool(page.text) is (method != "HEAD")


@pytest.mark.parametrize(
    "head", [b"\r\n\r\n", b"GET\r\n\r\n", b"\xff\x00 /metrics\r\n\r\n", b"G" * 20_000 + b"\r\n\r\n"]
)
async def test_a_request_that_is_none_gets_a_refusal_and_the_next_one_the_page(
    page_port: int, head: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", page_port)
    writer.write(head)
    with suppress(ConnectionResetError):
        assert (await reader.read()).startswith(b"HTTP/1.1 4")
    writer.close()
    assert (await ask(page_port, Host="localhost")).status == 200


def test_the_documented_table_is_the_one_that_processes_have() -> None:
    written = (ROOT / "docs/metrics.md").read_text(encoding="utf-8")
    expected = runpy.run_path(str(ROOT / "docs/metrics_page.py"))["metrics_page"]()
    assert written == expected, (
        "write it again: PYTHONPATH=. .venv/bin/python docs/metrics_page.py > docs/metrics.md"
    )


def test_names_follow_the_conventions_and_no_label_can_grow_without_bound() -> None:
    for metric in METRICS.values():
        assert re.fullmatch(r"momentus(_[a-z]+)+", metric.name), metric
        assert metric.name.endswith("_total") is (metric.type == "counter"), metric
        assert metric.type != "histogram" or metric.name.endswith("_seconds"), metric
        assert set(metric.labels) <= BOUNDED, metric
        assert metric.help.endswith("."), metric


def test_a_metric_or_a_label_that_the_table_lacks_is_an_error_and_series_are_bounded() -> None:
    readings = Readings()
    with pytest.raises(KeyError):
        readings.add("momentus_unknown", 1)
    with pytest.raises(ValueError, match="lane, state"):
        readings.add("momentus_lane_jobs", 1, "mail.bulk")
    for number in range(2 * MOST_SERIES):
        readings.add("momentus_lane_jobs", number, f"jobs.{number}", "ready")
    assert len(readings.values["momentus_lane_jobs"]) == MOST_SERIES


def test_errors_past_the_thirtieth_class_count_as_other() -> None:
    count = JobCount()
    for number in range(100):
        count.count_error(f"Error{number}")
    assert len(count.errors) == MOST_ERRORS + 1
    assert count.errors["other"] == 100 - MOST_ERRORS
