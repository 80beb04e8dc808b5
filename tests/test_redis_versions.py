"""The client beside other versions of redis-py: its tests run in processes that import one of these instead.

An environment holds redis-py alone; its folder comes first on the path, and all other packages are those of this
run. The ordinary run takes the lowest and the newest version with a few tests, the long one all versions with all
tests of the client.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environments import environment

ROOT = Path(__file__).resolve().parents[1]
LOWEST, NEWEST = "5.2.0", "8.1.0"
VERSIONS = (LOWEST, "6.4.0", "7.4.1", NEWEST)
SHORT = ("tests/conformance/test_repeated_calls.py",)
LONG = (
    *SHORT,
    "tests/acceptance/test_link.py",
    "tests/acceptance/test_cluster_failover.py",
    "tests/acceptance/test_one_way_to_redis.py",
    "tests/acceptance/test_sentinel.py",
    "tests/acceptance/test_tls.py",
    "tests/conformance/test_digest.py",
    "tests/conformance/test_forks_and_loops.py",
    "tests/conformance/test_producer.py",
    "tests/conformance/test_producer_kinds.py",
    "tests/conformance/test_session_rotation.py",
    "tests/conformance/test_sessions.py",
    "tests/conformance/test_sync_producer.py",
)
OF_THE_WORKER = "not worker and not confirmed"
"""What starts a worker, for which arq wants redis-py 5."""


def site_of(version: str) -> Path:
    """Return the folder with this redis-py."""
    (site,) = environment("redis", f"redis=={version}").parents[1].glob("lib/python*/site-packages")
    return site


def beside(version: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest with another redis-py."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(site_of(version))},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(300)  # the first run makes the environments
@pytest.mark.parametrize("version", [LOWEST, NEWEST])
def test_connections_and_clients_behave_the_same_beside_the_lowest_and_the_newest_redis_py(version: str) -> None:
    ended = beside(version, *SHORT)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("version", VERSIONS)
def test_the_client_keeps_all_its_promises_beside_this_redis_py(version: str) -> None:
    ended = beside(version, *LONG, "-k", OF_THE_WORKER)
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("version", [LOWEST, NEWEST])
def test_the_redis_py_of_a_run_is_the_one_that_it_names(version: str) -> None:
    told = subprocess.run(
        [sys.executable, "-c", "import redis; print(redis.__version__)"],
        env=os.environ | {"PYTHONPATH": str(site_of(version))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == version
