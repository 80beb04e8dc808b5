"""A line about a job that failed says which side is at fault and what its server said, and nothing of the job."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import orjson

from jobs import Job, Mail
from local.installation import worker_ready
from local.supervisor.process import Process, RestartPolicy
from local.supervisor.supervisor import Supervisor
from producers import Producer
from tests.boards import shop
from tests.report_worker import sales_worker, says
from tests.scripted_smtp import ScriptedSmtp
from tests.support import eventually

JOBS = """
from dataclasses import dataclass
from jobs import Job, TryLater, handles

@dataclass(frozen=True)
class Fetch(Job, kind="shop.fetch", lane="shop"):
    customer: str

@handles(Fetch)
async def fetch(job: Fetch) -> None:
    try:
        raise ConnectionResetError(f"the shop of {job.customer} hung up")
    except OSError as error:
        raise TryLater(f"the shop of {job.customer} is away") from error
"""


@dataclass(frozen=True)
class Fetch(Job, kind="shop.fetch", lane="shop"):
    customer: str


class Lines(list[str]):
    """The log of a worker."""

    def of(self, name: str) -> list[dict[str, object]]:
        """Every line of an event."""
        told = [orjson.loads(line) for line in self if line.startswith("{")]
        return [one for one in told if one["event_name"] == name]


@asynccontextmanager
async def watched(process: Process) -> AsyncIterator[Lines]:
    lines = Lines()
    async with Supervisor([process], log=lambda _name, line: lines.append(line)):
        yield lines


def worker(url: str, **settings: str) -> Process:
    return Process(
        name="worker",
        argv=[sys.executable, "-m", "worker"],
        environment={f"MOMENTUS_{name}": value for name, value in {"REDIS_URL": url, **settings}.items()},
        ready=worker_ready(url),
        restart=RestartPolicy.NEVER,
    )


async def test_a_mail_s_line_has_side_code_and_the_server_s_words_an_own_job_s_the_types_of_error_and_cause_alone(
    valkey_url: str, producer: Producer, tmp_path: Path
) -> None:
    (tmp_path / "shop_jobs.py").write_text(JOBS)
    own = {"WORKER__JOBS": "shop_jobs", "WORKER__JOBS_FOLDER": str(tmp_path), "WORKER__LANES": "shop:2"}
    async with ScriptedSmtp() as server:
        mail = {"MAIL__HOST": "127.0.0.1", "MAIL__PORT": str(server.port), "MAIL__TLS": "off"}
        async with watched(worker(valkey_url, **mail, **own)) as lines:
            await producer.send(Fetch(customer="Garcia"))
            (line, *_) = await eventually(lambda: lines.of("job.retry"))
            assert (line["error"], line["cause"]) == ("TryLater", "ConnectionResetError")
            assert "Garcia" not in "".join(lines)
            lines.clear()
            for reply, event in {"452 4.2.2": "job.retry", "550 5.1.1": "job.dead"}.items():
                server.replies["rcpt"] = [f"{reply} <ana.garcia@example.com> ana.garcia is over quota"]
                await producer.send(Mail(to="ana.garcia@example.com", subject="Nóminas", text="Su sueldo"))
                (line,) = await eventually(lambda event=event: lines.of(event))
                told = (line["failure"], line["stage"], line["code"], line["account"])
                assert told == ("recipient", "rcpt", reply[:3], "default")
                assert str(line["reply"]).endswith("is over quota")
    assert "garcia" not in "".join(lines).lower()


async def test_a_closed_account_s_line_has_the_server_s_words(valkey_url: str, producer: Producer) -> None:
    async with ScriptedSmtp(offers=("AUTH PLAIN",)) as server:
        server.replies["auth"] = ["535 5.7.8 no such user me@example.com"] * 3
        mail = {"MAIL__HOST": "127.0.0.1", "MAIL__PORT": str(server.port), "MAIL__TLS": "off"}
        login = {"MAIL__USERNAME": "me@example.com", "MAIL__PASSWORD": "hunter2canary"}
        async with watched(worker(valkey_url, **mail, **login)) as lines:
            await producer.send(Mail(to="ana@example.com", subject="Nóminas", text="Su sueldo"))
            (line,) = await eventually(lambda: lines.of("account.closed"))
            (deferred, *_) = await eventually(lambda: lines.of("job.defer"))
    assert line["trouble"] == "login"
    assert "5.7.8 no such user [redacted]" in str(line["reason"])
    assert (deferred["failure"], deferred["stage"], deferred["code"]) == ("account", "login", "535")
    assert "me@example.com" not in "".join(lines)
    assert "hunter2canary" not in "".join(lines)


async def test_a_report_s_line_has_its_reports_and_the_names_of_their_errors(
    database: str, valkey_url: str, tmp_path: Path
) -> None:
    async with shop(database, valkey_url) as it:
        await it.database.execute("DROP TABLE shop.orders")
        async with watched(sales_worker(valkey_url, database, tmp_path)) as lines:
            await eventually(lambda: says(it, "UndefinedTableError"))
            (line, *_) = await eventually(lambda: lines.of("job.retry"))
    assert (line["failure"], line["reports"], line["errors"]) == ("report", ["sales"], ["UndefinedTableError"])
