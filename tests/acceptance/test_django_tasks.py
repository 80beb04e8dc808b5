"""Tasks of Django, queued by an application with the built wheel and carried out by a worker process.

The promises themselves are in `tests/django_application/task_promises.py`, in Django's own form of tests. The
ordinary run keeps them on Django 5.2 with the package `django-tasks`, the long run on Django 6 too, which has the
interface itself.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local.embedded.valkey import Valkey
from local.supervisor.process import Process, RestartPolicy
from tests.django_environment import (
    APPLICATION,
    SUITES,
    django_python,
    django_sources,
    run_django,
    worker_with_django,
)
from tests.environments import ROOT, client_site
from tests.support import Servers, scratch_directory

VERSIONS = [pytest.param("5.2", id="5.2"), pytest.param("6", id="6", marks=pytest.mark.long)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return client_site(tmp_path_factory.mktemp("django"))


def worker(version: str, url: str, database: str) -> Process:
    """A worker for tasks and nothing else."""
    python, modules = worker_with_django(version)
    return Process(
        name="worker",
        argv=[str(python), "-m", "worker"],
        environment={
            "MOMENTUS_REDIS_URL": url,
            "MOMENTUS_WORKER__JOBS": "momentus_client.django.jobs",
            "MOMENTUS_WORKER__JOBS_FOLDER": str(APPLICATION),
            "MOMENTUS_WORKER__LANES": "tasks:4, urgent:1, reports:1",
            "DJANGO_SETTINGS_MODULE": "shop.settings",
            "SHOP_REDIS": url,
            "SHOP_DATABASE": database,
            **modules,
        },
        restart=RestartPolicy.ALWAYS,
    )


@contextmanager
def working(version: str) -> Iterator[str]:
    """The address of a server with a worker for tasks."""
    with scratch_directory() as scratch:
        valkey = Valkey.in_directory(scratch / "valkey")
        with Servers([valkey.process(), worker(version, valkey.url, str(scratch / "shop.sqlite3"))], scratch):
            yield valkey.url


@pytest.mark.timeout(600)  # the first run makes the environment
@pytest.mark.parametrize("version", VERSIONS)
def test_tasks_of_django_are_carried_out_by_a_worker(version: str, site: Path) -> None:
    python = django_python(version)
    with working(version) as url:
        done = run_django(python, site, "test", "--pattern", "task_promises.py", SHOP_REDIS=url)
    assert done.returncode == 0, done.stderr
    assert int(re.findall(r"^Ran (\d+) tests", done.stderr, re.MULTILINE)[0]) >= 18, done.stderr


def test_a_worker_warns_at_its_start_of_queues_whose_lanes_it_does_not_serve() -> None:
    process = worker("5.2", "redis://127.0.0.1:1", ":memory:")
    environment = {**process.environment, "MOMENTUS_WORKER__LANES": "tasks:4", "MOMENTUS_LOG_FORMAT": "json"}
    with subprocess.Popen(process.argv, cwd=ROOT, env=environment, stderr=subprocess.PIPE) as started:
        try:
            lines = (json.loads(line) for line in started.stderr or ())
            told = (line for line in lines if line["event_name"] == "worker.lane_unserved")
            said = [next(told), next(told)]
        finally:
            started.terminate()
    assert [(one["lane"], one["kinds"]) for one in said] == [
        ("jobs.reports", ["django.task"]),
        ("jobs.urgent", ["django.task"]),
    ]
    assert said[0]["setting"] == "MOMENTUS_WORKER__LANES=tasks:4,reports:10"


@pytest.mark.long
@pytest.mark.timeout(600)
def test_djangos_own_tests_of_tasks_hold(valkey_url: str) -> None:
    python, _ = worker_with_django("6")
    sources = django_sources("6")
    done = run_django(
        python,
        ROOT,  # the worker's modules, not the wheel
        *("test", "--pattern", "task_suite.py"),
        path=SUITES,
        DJANGO_SETTINGS_MODULE="suite_settings",
        SHOP_REDIS=valkey_url,
        PYTHONPATH=f"{ROOT}:{SUITES}:{sources / 'tests'}",
        PYTHONWARNINGS="ignore",
    )
    assert done.returncode == 0, done.stderr
    assert int(re.findall(r"^Ran (\d+) tests", done.stderr, re.MULTILINE)[0]) >= 50, done.stderr


def test_a_worker_without_the_settings_of_the_project_ends_with_one_line() -> None:
    python, modules = worker_with_django("5.2")
    ended = subprocess.run(
        [python, "-m", "worker"],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "MOMENTUS_REDIS_URL": "redis://127.0.0.1:1/0",
            "MOMENTUS_WORKER__JOBS": "momentus_client.django.jobs",
            **modules,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert "DJANGO_SETTINGS_MODULE: is not set; name your project's settings" in line
