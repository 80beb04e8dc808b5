"""A backend's own job kinds, with every guarantee of the queue, in a worker process that has only these."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from client.package import __version__
from jobs import NamedJob
from jobs.handler import JobHandler
from local.embedded.valkey import Valkey
from local.supervisor.process import Process, RestartPolicy
from local.supervisor.supervisor import Supervisor
from ops.depth.read import LaneDepth, read_depth
from producers import InvalidRequest, JobDescription, JobResult, KeyConflict, Producer, Receipt, SyncProducer
from producers.keys import LaneKeys
from tests.command_line import run_ops
from tests.environments import client_site
from tests.support import Servers, eventually, is_running, scratch_directory
from worker.own_jobs.duties import own_lanes, unserved_lanes
from worker.own_jobs.load import JobModuleError, load_jobs

FOLDER = Path(__file__).resolve().parents[1] / "own_jobs"
ROOT = FOLDER.parents[1]


@pytest.fixture(scope="module")
def shop() -> dict[str, Any]:
    """The job classes of the shop by name, imported as a worker imports them."""
    own = load_jobs("shop.jobs", FOLDER)
    return {handler.job.__name__: handler.job for handler in own.handlers.values()}


def worker(url: str, modules: str = "shop.jobs", **settings: str) -> Process:
    named = {"LANES": "invoices:4, sums:4", "PROCESSES": "2", "LEASE": "1s", "LEASE_RENEW": "300ms", **settings}
    return Process(
        name="worker",
        argv=[sys.executable, "-m", "worker"],
        environment={
            "MOMENTUS_REDIS_URL": url,
            "MOMENTUS_WORKER__JOBS": modules,
            "MOMENTUS_WORKER__JOBS_FOLDER": str(FOLDER),
            **{f"MOMENTUS_WORKER__{name}": value for name, value in named.items()},
        },
        restart=RestartPolicy.ALWAYS,
    )


@asynccontextmanager
async def working(url: str, modules: str = "shop.jobs", **settings: str) -> AsyncIterator[Supervisor]:
    async with Supervisor([worker(url, modules, **settings)]) as running:
        yield running


@pytest.fixture(scope="module")
def shop_url() -> Iterator[str]:
    """A server with a worker for the shop's jobs and nothing else; the tests of this file share it."""
    with scratch_directory() as scratch:
        valkey = Valkey.in_directory(scratch / "valkey")
        with Servers([valkey.process(), worker(valkey.url)], scratch):
            yield valkey.url


@pytest.fixture
async def at_work(shop_url: str) -> AsyncIterator[Producer]:
    """A producer for the worker of the shop."""
    async with Producer.connect(shop_url, budget=5) as producer:
        yield producer


async def ended(producer: Producer, receipt: Receipt) -> JobResult:
    async def result() -> JobResult | None:
        found = await producer.result(receipt.id)
        return None if found.state in {"pending", "unknown"} else found

    found: JobResult | None = await eventually(result, timeout=30)
    assert found is not None
    return found


async def ops(url: str, *words: str) -> Any:
    """What a command says, as JSON."""
    _, out, _ = await run_ops(*words, "--json", REDIS_URL=url)
    return json.loads(out)


async def lane(redis: Redis, name: str) -> LaneDepth:
    found = (await read_depth(redis, tenant="default")).lane(name)
    assert found is not None
    return found


# Sent and done


async def test_a_job_is_sent_by_value_or_by_the_name_of_its_kind_and_its_result_is_read(
    at_work: Producer, shop_url: str, shop: dict[str, Any]
) -> None:
    by_value = await at_work.send(shop["Invoice"](order=7), key="order:7")
    by_name = await at_work.send(NamedJob("invoice.send", {"order": 8}, lane="invoices", version=1))
    with SyncProducer.connect(shop_url, budget=5) as sync_producer:
        without_asyncio = sync_producer.send(shop["Invoice"](order=9, currency="USD"))
    assert by_value.lane == by_name.lane == "jobs.invoices"
    results = [await ended(at_work, one) for one in (by_value, by_name, without_asyncio)]
    expected = {"attempt": 1, "lane": "jobs.invoices"}
    assert [one.value for one in results] == [
        {"order": 7, "currency": "EUR", "id": by_value.id, **expected},
        {"order": 8, "currency": "ESP", "id": by_name.id, **expected},
        {"order": 9, "currency": "USD", "id": without_asyncio.id, **expected},
    ]


async def test_the_collector_runs_once_the_worker_is_loaded_and_leaves_what_was_loaded_alone(
    at_work: Producer, shop: dict[str, Any]
) -> None:
    told = await ended(at_work, await at_work.send(shop["Collection"]()))
    assert told.value == {"runs": True, "frozen": True}


async def test_the_same_key_is_one_job_whether_it_is_sent_by_value_or_by_name(
    producer: Producer, shop: dict[str, Any]
) -> None:
    first = await producer.send(shop["Invoice"](order=7), key="k")
    again = await producer.send(
        NamedJob("invoice.send", {"order": 7, "currency": "EUR"}, lane="invoices", version=2), key="k"
    )
    assert (again.id, again.state) == (first.id, "duplicate")
    with pytest.raises(KeyConflict):
        await producer.send(shop["Invoice"](order=8), key="k")


@pytest.mark.parametrize(
    ("words", "state", "told"),
    [
        (["fail", "fail", "well"], "done", "well"),
        (["fail"], "dead", "attempt 3 of 3 failed: ValueError: as it was told"),
        (["snooze"], "done", "after a snooze, uncharged"),
        (["give up"], "dead", "no such order"),
        (["effect"], "done", "effect True"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
async def test_a_handler_decides_what_becomes_of_its_job(
    at_work: Producer, shop: dict[str, Any], tmp_path: Path, words: list[str], state: str, told: str
) -> None:
    receipt = await at_work.send(shop["Steps"](words=words, folder=str(tmp_path)))
    result = await ended(at_work, receipt)
    assert result.state == state
    assert told in (result.reason or str(result.value))


async def test_a_job_is_described_from_its_first_wait_to_its_end(at_work: Producer, shop: dict[str, Any]) -> None:
    async def send(*words: str, delay: timedelta = timedelta(0)) -> Receipt:
        return await at_work.send(shop["Steps"](words=list(words)), delay=delay)

    waiting, running = await send("well", delay=timedelta(hours=1)), await send("fail", "wait")
    dead, done = await send("fail"), await send("fail", "well")

    async def all_there() -> list[JobDescription] | None:
        found = [await at_work.describe(one.id) for one in (waiting, running, dead, done)]
        states = [(one.state, one.attempt) for one in found]
        return found if states == [("waiting", 0), ("running", 2), ("dead", 3), ("done", 2)] else None

    found: list[JobDescription] | None = await eventually(all_there, timeout=30)
    assert found is not None
    assert {one.kind for one in found} == {"steps.take"}
    assert [bool(one.worker) for one in found] == [False, True, False, False]
    assert [one.payload.get("words") for one in found] == [["well"], ["fail", "wait"], ["fail"], None]
    assert [(one.attempt, one.outcome) for one in found[2].events] == [(1, "retry"), (2, "retry"), (3, "dead")]
    assert found[2].reason == found[2].events[2].reason == "attempt 3 of 3 failed: ValueError: as it was told"
    assert found[3].value == "well"
    for one in found[2:]:
        assert one.queued_at is not None
        assert one.began_at is not None
        assert one.ended_at is not None
        assert one.queued_at <= one.began_at <= one.ended_at
    assert await at_work.cancel(waiting.id) == "cancelled"
    assert await at_work.cancel(running.id) == "stopping"
    assert await at_work.describe(waiting.id) == JobDescription()
    with pytest.raises(InvalidRequest, match="not the id of a job of your own kinds"):
        await at_work.describe("{mail}01kt0000000000000000000000")


@dataclass(frozen=True)
class Numbered:
    """A message that brings the id of its job."""

    job_id: str
    kind = "note.take"
    lane = "jobs"

    def fingerprint(self) -> str:
        return self.job_id

    def compose(self, *, job_id: str, now: datetime) -> dict[str, object]:
        del now
        return {"id": job_id}


async def test_a_message_may_bring_the_id_of_its_job(producer: Producer) -> None:
    first = await producer.send(Numbered("{jobs}one"))
    again = await producer.send(Numbered("{jobs}one"))
    assert [(one.id, one.state) for one in (first, again)] == [("{jobs}one", "queued"), ("{jobs}one", "duplicate")]
    assert (await producer.describe("{jobs}one")).payload == {"id": "{jobs}one"}
    for wrong in ("one", "{mail}one", "{jobs}"):
        with pytest.raises(InvalidRequest, match=f"job_id: Numbered has '{wrong}'; it must be {{jobs}}"):
            await producer.send(Numbered(wrong))


async def test_a_running_job_shows_its_progress_and_can_be_cancelled(
    at_work: Producer, shop_url: str, shop: dict[str, Any]
) -> None:
    receipt = await at_work.send(shop["Steps"](words=["wait"]))

    async def shown() -> bool:
        return "steps" in json.dumps(await ops(shop_url, "why", receipt.id))

    await eventually(shown, timeout=30)
    assert await at_work.cancel(receipt.id) == "stopping"

    async def gone() -> bool:
        return (await at_work.result(receipt.id)).state == "unknown"

    await eventually(gone, timeout=30)


async def test_a_killed_workers_job_runs_again(
    valkey_url: str, producer: Producer, redis: Redis, shop: dict[str, Any]
) -> None:
    async with working(valkey_url) as running:
        receipt = await producer.send(shop["Steps"](words=["wait", "again"]))
        await eventually(lambda: redis.zscore(LaneKeys("jobs").leases, receipt.id), timeout=30)
        running.send_signal("worker", signal.SIGKILL)
        result = await ended(producer, receipt)
        assert (result.state, result.value) == ("done", "again")


# Backend and worker


def test_a_backend_with_the_wheel_sends_by_the_class_that_the_worker_runs(
    shop_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    site = client_site(tmp_path_factory.mktemp("wheel"))
    answer = python(
        f"""
        import json, sys, time
        import momentus_client.jobs
        from momentus_client.producers import SyncProducer
        from shop.jobs import Invoice
        with SyncProducer.connect({shop_url!r}, budget=5) as producer:
            receipt = producer.send(Invoice(order=7), key="order:7:of the backend")
            while producer.result(receipt.id).state == "pending":
                time.sleep(0.02)
            value = producer.result(receipt.id).value
        print(json.dumps([momentus_client.jobs.__file__, "jobs" in sys.modules, value["order"]]))
        """,
        path=[site, FOLDER],
    )
    assert answer == [str(site / "momentus_client/jobs/__init__.py"), False, 7]


def test_in_a_worker_the_wheels_names_are_the_workers_own_modules() -> None:
    same = python(
        """
        import importlib.util, json
        from worker.own_jobs import client_alias
        client_alias.install_alias()
        names = ["jobs", "jobs.mail.seal", "producers", "producers.limits", "producers.testing", "sessions"]
        load = importlib.import_module
        same = [load(f"momentus_client.{name}") is load(name) for name in names]
        import momentus_client, jobs
        framework = importlib.util.find_spec("momentus_client.django") is not None
        print(json.dumps([same, momentus_client.__version__, jobs.__spec__.name, framework]))
        """,
        path=[ROOT],
    )
    assert same == [[True] * 6, __version__, "jobs", True]


def python(code: str, *, path: list[Path]) -> Any:
    """What a Python process with this module path says, as JSON."""
    command = [sys.executable, "-c", textwrap.dedent(code)]
    environment = {"PYTHONPATH": os.pathsep.join(map(str, path))}
    folder = path[-1]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# Lanes, limits, schedules


async def test_a_held_lane_waits_and_depth_shows_every_lane_that_has_had_a_job(
    valkey_url: str, redis: Redis, producer: Producer, shop: dict[str, Any]
) -> None:
    await producer.send(shop["Invoice"](order=1))
    assert (await lane(redis, "jobs.invoices")).ready == 1
    assert "no worker" in json.dumps(await ops(valkey_url, "depth"))
    assert (await ops(valkey_url, "hold", "jobs.invoices", "--for", "10m", "--reason", "audit"))["what"] == "held"
    async with working(valkey_url):

        async def served() -> bool:
            return (await lane(redis, "jobs.invoices")).slots.total == 4

        await eventually(served, timeout=30)
        assert (await lane(redis, "jobs.invoices")).ready == 1
        await ops(valkey_url, "release", "jobs.invoices")

        async def empty() -> bool:
            return (await lane(redis, "jobs.invoices")).done == 1

        await eventually(empty, timeout=30)


async def test_a_kinds_limit_holds_for_all_its_jobs(
    at_work: Producer, shop: dict[str, Any], tmp_path: Path
) -> None:
    receipts = await at_work.send_many([shop["Limited"](folder=str(tmp_path)) for _ in range(5)])
    assert [(await ended(at_work, one)).value for one in receipts] == [1] * 5


async def test_a_kind_with_a_schedule_is_queued_with_the_defaults_of_its_fields(
    valkey_url: str, redis: Redis
) -> None:
    long_ago = "1"  # a tick that was missed is made up for by one job at once
    await redis.hset(LaneKeys("jobs.clock").crons, mapping={"clock.tick": long_ago})
    async with working(valkey_url, "shop.ticking", LANES="clock:1"):

        async def done() -> bool:
            return await redis.hget(LaneKeys("jobs.clock").counters, "done:jobs.clock") is not None

        await eventually(done, timeout=30)


async def test_a_dead_job_of_an_own_kind_is_listed_and_revived(
    valkey_url: str, redis: Redis, producer: Producer, shop: dict[str, Any]
) -> None:
    async with working(valkey_url):
        receipt = await producer.send(shop["Steps"](words=["give up"]))
        await ended(producer, receipt)
        listed = await ops(valkey_url, "dead")
        assert [one["id"] for one in listed["dead"]] == [receipt.id]
        assert (await ops(valkey_url, "revive", receipt.id))["what"] == "revived"

        async def dead_again() -> bool:
            return await redis.zscore(LaneKeys("jobs").dead, receipt.id) is not None

        await eventually(dead_again, timeout=30)


async def test_a_job_of_an_unknown_kind_is_parked_and_runs_when_a_worker_knows_it(
    valkey_url: str, redis: Redis, producer: Producer
) -> None:
    receipt = await producer.send(NamedJob("clock.tick", {"text": "late"}))
    async with working(valkey_url):

        async def parked() -> bool:
            return "no handler for clock.tick" in json.dumps(await ops(valkey_url, "parked"))

        await eventually(parked, timeout=30)
    async with working(valkey_url, "shop.ticking"):
        assert (await ended(producer, receipt)).value == "late"
    assert await redis.zcard(LaneKeys("jobs").queue) == 0


# Threads and processes


async def test_a_plain_function_runs_in_a_thread_with_the_same_tools(
    at_work: Producer, shop_url: str, shop: dict[str, Any], tmp_path: Path
) -> None:
    effect = await at_work.send(shop["Blocking"](word="effect"))
    assert (await ended(at_work, effect)).value == "effect True"
    waiting = await at_work.send(shop["Blocking"](word="wait", folder=str(tmp_path)))

    async def shown() -> bool:
        return "in a thread" in json.dumps(await ops(shop_url, "why", waiting.id))

    await eventually(shown, timeout=30)
    assert await at_work.cancel(waiting.id) == "stopping"
    await eventually((tmp_path / "stopped").exists, timeout=30)


@pytest.mark.parametrize(
    ("word", "state", "told"),
    [
        ("", "done", "6"),
        ("fail", "dead", "ValueError: as it was told"),
        ("give up", "dead", "no such numbers"),
        ("effect", "done", "1"),
        ("die", "done", "6"),
    ],
)
async def test_a_function_in_a_child_process_has_the_same_tools_and_takes_only_its_own_job_with_it(
    at_work: Producer, shop: dict[str, Any], word: str, state: str, told: str
) -> None:
    receipts = await at_work.send_many(
        [shop["Computed"](numbers=[1, 2, 3], word=word), shop["Computed"](numbers=[4])]
    )
    first, beside = [await ended(at_work, one) for one in receipts]
    assert (first.state, beside.state) == (state, "done")
    assert told in (first.reason or str(first.value))


async def test_a_cancelled_computation_is_killed_and_the_next_one_gets_a_new_child(
    at_work: Producer, shop_url: str, shop: dict[str, Any]
) -> None:
    waiting = await at_work.send(shop["Computed"](numbers=[], word="wait"))

    async def shown() -> bool:
        return "in a child" in json.dumps(await ops(shop_url, "why", waiting.id))

    await eventually(shown, timeout=30)
    assert await at_work.cancel(waiting.id) == "stopping"
    after = await at_work.send(shop["Computed"](numbers=[2, 2]))
    assert (await ended(at_work, after)).value["sum"] == 4  # type: ignore[index]


async def test_no_child_outlives_a_killed_worker(
    valkey_url: str, producer: Producer, shop: dict[str, Any], redis: Redis
) -> None:
    del redis
    async with working(valkey_url) as running:
        receipt = await producer.send(shop["Computed"](numbers=[1]))
        pid = (await ended(producer, receipt)).value["pid"]  # type: ignore[index]
        assert is_running(pid)
        running.send_signal("worker", signal.SIGKILL)
        await eventually(lambda: not is_running(pid), timeout=30)


# Refused


HEAD = """
from dataclasses import dataclass
from datetime import timedelta
from momentus_client.jobs import Job, Schedule, handles
"""
CLASS = HEAD + '@dataclass\nclass A(Job, kind="a.do"):\n    n: int\n'
ANY = "\n@handles(A)\ndef f(a): ..."
BAD = {
    "absent": ("import nowhere_at_all", "No module named 'nowhere_at_all'; it must be in that folder"),
    "broken": ("x = 1\ny = 1 / 0", "ZeroDivisionError: division by zero"),
    "empty": (HEAD, "has no handler"),
    "twice": (CLASS + ANY + ANY.replace("def f", "def g"), "both twice.f and twice.g handle"),
    "kindless": (HEAD + "class A(Job):\n    n: int", "has no kind"),
    "shipped": (HEAD + 'class A(Job, kind="mail.send"): ...', "is reserved"),
    "odd_kind": (HEAD + 'class A(Job, kind="Send"): ...', "must be noun.verb"),
    "odd_lane": (HEAD + 'class A(Job, kind="a.do", lane="Big One"): ...', "lane: 'Big One' must be"),
    "plain": (HEAD + 'class A(Job, kind="a.do"):\n    n: int' + ANY, "is not a dataclass"),
    "odd_field": (CLASS.replace("n: int", "n: set") + ANY, "A.n: "),
    "misplaced": (CLASS + '@handles(A, runs_in="process")\nasync def f(a): ...', "runs_in: 'process' does not"),
    "no_parameter": (CLASS + ANY.replace("f(a)", "f()"), "must take the job"),
    "no_default": (CLASS + ANY.replace("(A)", "(A, schedule=Schedule())"), "schedule: queues A"),
    "leaving": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "generator": (CLASS + ANY.replace("...", "yield"), "f: has a yield"),
    "async_generator": (CLASS + ANY.replace("def f(a): ...", "async def f(a): yield"), "f: has a yield"),
    "seconds": (
        CLASS + ANY.replace("(A)", "(A, timeout=30)"),
        "timeout: must be a timedelta, not 30; write timed",
    ),
    "no_time": (CLASS + ANY.replace("(A)", "(A, timeout=timedelta(0))"), "timeout: must be more than 0"),
    "kept": (CLASS + ANY.replace("(A)", "(A, keep_result=timedelta(-1))"), "keep_result: must not be negative"),
    "odd_object": (CLASS + "class F:\n    def __call__(self): ...\nhandles(A)(F())", "F: must take the job"),
    "no_function": (CLASS + "handles(A)(5)", "handles: must mark a function, not 5"),
    "odd_schedule": (CLASS + ANY.replace("(A)", '(A, schedule="daily")'), "schedule: must be a Schedule(...)"),
    "odd_upcaster": (CLASS + ANY.replace("(A)", '(A, upcasters={"1": dict})'), "upcasters: must be a dict of"),
    "odd_version": (
        CLASS.replace('"a.do"', '"a.do", version="2"'),
        "version: must be a whole number of at least 1",
    ),
    "odd_limit": (CLASS.replace('"a.do"', '"a.do", limit=5'), "limit: must be the key of a limit"),
    "odd_life": (CLASS.replace('"a.do"', '"a.do", life=60'), "life: must be a timedelta, not 60; write timed"),
    "odd_policy": (CLASS.replace('"a.do"', '"a.do", policy=5'), "policy: must be a Policy(...), not 5"),
    "upcasters": (CLASS + ANY.replace("(A)", "(A, upcasters={5: dict})"), "upcasters"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_module_that_cannot_be_used_is_refused_with_the_place_and_the_remedy(tmp_path: Path, name: str) -> None:
    text, told = BAD[name]
    (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    with pytest.raises(JobModuleError, match=re.escape(told)) as refusal:
        load_jobs(name, tmp_path)
    assert name in str(refusal.value)


def test_a_module_that_is_given_as_a_file_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "orders.py").write_text(CLASS + ANY, encoding="utf-8")
    with pytest.raises(JobModuleError, match=r"give the module's name, orders, not its file"):
        load_jobs("orders.py", tmp_path)


def test_a_folder_with_a_module_of_the_workers_own_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    load_jobs(None, tmp_path)  # it is no package
    (tmp_path / "reports/__init__.py").touch()
    with pytest.raises(
        JobModuleError, match=r"has a module reports, .* move it into a package of yours, like shop"
    ):
        load_jobs(None, tmp_path)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://127.0.0.1:1", ("MOMENTUS_WORKER__JOBS: nowhere.jobs cannot be", "JOBS_FOLDER names the folder")),
        ("redis://:secret@127.0.0.1:1/abc", ("MOMENTUS_REDIS_URL: must end with the number of a database",)),
    ],
)
def test_a_worker_with_such_a_module_or_address_ends_with_one_line(url: str, told: Sequence[str]) -> None:
    settings = {"REDIS_URL": url, "WORKER__JOBS": "nowhere.jobs"}
    environment = {f"MOMENTUS_{key}": value for key, value in settings.items()}
    command = [sys.executable, "-m", "worker"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert all(one in done.stderr for one in told), done.stderr
    assert "secret" not in done.stderr


@pytest.mark.parametrize("lanes", ["invoices:1, invoices:2", "jobs:3"])
def test_a_lane_that_is_given_twice_is_refused_by_its_setting(lanes: str) -> None:
    with pytest.raises(ValueError, match=r"MOMENTUS_WORKER__LANES: .* is given twice"):
        own_lanes(lanes, 10)


@pytest.mark.parametrize(
    ("given", "slots", "told"),
    [
        ("invoices:4, sums:4", 10, {}),
        (None, 10, {"jobs.invoices": "LANES=invoices:10", "jobs.sums": "LANES=sums:10"}),
        ("sums:4, invoices:0", 10, {"jobs.invoices": "LANES=sums:4,invoices:10"}),
        ("sums:4, invoices:2", 0, {"jobs": "JOBS_SLOTS=10"}),
    ],
)
def test_a_lane_of_the_job_modules_without_slots_is_told_with_its_setting(
    given: str | None, slots: int, told: dict[str, str]
) -> None:
    own = load_jobs("shop.jobs", FOLDER)
    found = list(unserved_lanes(own, own_lanes(given, slots), text=given))
    assert {one.lane: one.setting for one in found} == {
        lane: f"MOMENTUS_WORKER__{setting}" for lane, setting in told.items()
    }
    for one in found:
        assert one.kinds == tuple(sorted(kind for kind, job in own.handlers.items() if job.job.lane == one.lane))


def test_a_worker_warns_at_its_start_of_lanes_that_it_does_not_serve() -> None:
    process = worker("redis://127.0.0.1:1", LANES="sums:4")
    environment = {**os.environ, **process.environment, "MOMENTUS_LOG_FORMAT": "json"}
    with subprocess.Popen(process.argv, cwd=ROOT, env=environment, stderr=subprocess.PIPE) as started:
        try:
            lines = (json.loads(line) for line in started.stderr or ())
            said = next(line for line in lines if line["event_name"] == "worker.lane_unserved")
        finally:
            started.terminate()
    assert (said["level"], said["lane"], said["kinds"]) == ("warning", "jobs.invoices", ["invoice.send"])
    assert said["setting"] == "MOMENTUS_WORKER__LANES=sums:4,invoices:10"


def test_marking_a_function_leaves_it_as_it_is(shop: dict[str, Any]) -> None:
    import shop.jobs as module  # type: ignore[import-not-found]  # noqa: PLC0415  known once it is loaded

    handler: JobHandler = module.send_invoice.__momentus_handler__
    assert handler.function is module.send_invoice
    assert handler.job is shop["Invoice"]
