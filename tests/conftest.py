"""Fixtures: real servers, private to this run, on free ports.

The tests never use a configured server: MOMENTUS_* variables are cleared for every test. Any number of runs,
and any number of pytest-xdist workers in each, go side by side; each has its own servers.

    valkey_url      a shared Valkey, empty at the start of each test that asks for it; of a module with the mark
                    on_cluster_too, in the long run, a shared cluster as well
    cluster_url     a shared cluster of three primaries, empty at the start of each test that asks for it
    redis           a client of that, of the server or of the cluster
    producer        an asyncio producer there, with 5 s for each call: a busy machine fails no test
    own_valkey      makes a Valkey of the test's own, to kill, stop, freeze and restart
    postgres_dsn    a shared Postgres: superuser, the maintenance database
    database        a fresh, empty database of the test's own: its DSN; with the mark ledger_is_there, it has the
                    ledger already, whose installation costs more than most tests
    smtp_sink       a catch-all SMTP server with fault knobs
    lasting_readers reader processes that the tests of a module share

Helpers are in `tests.support`, first of all `eventually`, and in `tests.counts`.

Other versions than those out of the wheels, for the support matrix in docs/operations.md:

    ./run test --redis-server /usr/bin/redis-server tests/conformance
    ./run test --postgres postgresql://postgres@127.0.0.1:5432/postgres tests/acceptance/test_reports.py
"""

import gc
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from redis.asyncio import Redis

from local.embedded.valkey import Valkey
from local.sink.mailbox import Mailbox
from local.sink.smtp import MailSink, SinkFaults
from local.supervisor.process import RestartPolicy
from local.supervisor.supervisor import Supervisor
from producers import Producer
from tests.ledgers import ledger_of
from tests.own_postgres import machine_binaries
from tests.reader_process import LastingReaders
from tests.ready_cluster import postgres_from_copy
from tests.support import OwnValkey, Servers, ask_valkey, scratch_directory
from tests.topologies import Cluster, client_of, lasting_cluster


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a run name servers of other versions; those out of the wheels are used otherwise."""
    parser.addoption(
        "--redis-server", type=Path, help="program of a Redis or Valkey to start in place of the wheel's"
    )
    parser.addoption("--postgres", help="DSN of a superuser; the tests make and drop databases of their own there")


def pytest_configure(config: pytest.Config) -> None:
    """Draw half of Hypothesis's usual number of examples where the long tests are left out.

    No test fails because the machine is busy: examples may take and be drawn in any time.
    """
    settings.register_profile("long run", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.register_profile("ordinary run", settings.get_profile("long run"), max_examples=50)
    settings.load_profile("ordinary run" if "not long" in config.getoption("markexpr") else "long run")


def pytest_collection() -> None:
    """Collect no garbage while tests are collected: hardly any of it is, and looking costs a sixth of the time."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Spare the collector the objects of 7,000 tests, which live to the end: a tenth of the unit tests."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("MOMENTUS_"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("LC_ALL", raising=False)
    monkeypatch.setenv("LC_MESSAGES", "C")  # English, whatever the terminal of this run speaks


@pytest.fixture(scope="session")
def _valkey(pytestconfig: pytest.Config) -> Iterator[Valkey]:
    with scratch_directory() as scratch:
        valkey = Valkey.in_directory(scratch / "valkey", protected=False)
        valkey = replace(valkey, binary=pytestconfig.getoption("--redis-server") or valkey.binary)
        with Servers([valkey.process()], scratch):
            yield valkey


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have modules that are marked for it run on a cluster as well, in the long run."""
    marked = metafunc.definition.get_closest_marker
    if "valkey_url" in metafunc.fixturenames and marked("on_cluster_too") and not marked("one_server"):
        forms = ["server", pytest.param("cluster", marks=pytest.mark.long)]
        metafunc.parametrize("valkey_url", forms, indirect=True)


@pytest.fixture
def valkey_url(request: pytest.FixtureRequest) -> str:
    if getattr(request, "param", "server") == "cluster":
        url: str = request.getfixturevalue("cluster_url")
        return url
    valkey: Valkey = request.getfixturevalue("_valkey")
    assert ask_valkey(valkey.port, "FLUSHALL") == b"+OK"
    return valkey.url


@pytest.fixture
async def redis(valkey_url: str) -> AsyncIterator[Redis]:
    async with client_of(valkey_url) as client:
        yield client


@pytest.fixture
async def producer(valkey_url: str) -> AsyncIterator[Producer]:
    async with Producer.connect(valkey_url, budget=5) as connected:
        yield connected


@pytest.fixture(scope="session")
def _cluster() -> Iterator[Cluster]:
    with lasting_cluster() as formed:
        yield formed


@pytest.fixture
def cluster_url(_cluster: Cluster) -> str:
    for port in _cluster.nodes.values():
        assert ask_valkey(port, "FLUSHALL") == b"+OK"
    return _cluster.url


@pytest.fixture
async def own_valkey(pytestconfig: pytest.Config) -> AsyncIterator[Callable[..., Awaitable[OwnValkey]]]:
    """Call it, with further arguments of the server if any: `await own_valkey("--maxmemory", "4mb")`.

    With `binary`, another server of the same family.
    """
    async with AsyncExitStack() as stack:

        async def start(*arguments: str, binary: Path | None = None) -> OwnValkey:
            scratch = stack.enter_context(scratch_directory())
            valkey = Valkey.in_directory(scratch / "valkey", protected=False, arguments=arguments)
            valkey = replace(valkey, binary=binary or pytestconfig.getoption("--redis-server") or valkey.binary)
            process = replace(valkey.process(), restart=RestartPolicy.NEVER)
            running = await stack.enter_async_context(Supervisor([process], scratch=scratch))
            return OwnValkey(url=valkey.url, port=valkey.port, directory=valkey.data, running=running)

        yield start


@pytest.fixture(scope="session")
def postgres_dsn(pytestconfig: pytest.Config) -> Iterator[str]:
    if given := pytestconfig.getoption("--postgres"):
        yield given
        return
    with scratch_directory() as scratch:
        postgres = postgres_from_copy(scratch / "postgres")
        with Servers([postgres.process()], scratch):
            yield postgres.dsn


@pytest.fixture(scope="session")
def machine_postgres_dsn() -> Iterator[str]:
    """Of the Postgres that is installed on this machine."""
    binaries = machine_binaries()
    with scratch_directory() as scratch:
        postgres = postgres_from_copy(scratch / "postgres", binaries=binaries)
        with Servers([postgres.process()], scratch):
            yield postgres.dsn


@pytest.fixture
async def database(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A new database; parametrised indirectly with "machine", in the server that is installed on this machine.

    Empty, but for tests with the mark ledger_is_there.
    """
    of_machine = getattr(request, "param", "") == "machine"
    postgres_dsn = request.getfixturevalue("machine_postgres_dsn" if of_machine else "postgres_dsn")
    name = f"test_{secrets.token_hex(8)}"
    marked = request.node.get_closest_marker("ledger_is_there")
    has_ledger = marked is not None and marked.kwargs.get("installed", True)
    template = await _ledger_template(postgres_dsn) if has_ledger else "template1"
    # The files are copied as they are, which costs half of what writing each block to the log does.
    await _administer(postgres_dsn, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY = file_copy")
    yield urlsplit(postgres_dsn)._replace(path=f"/{name}").geturl()
    await _administer(postgres_dsn, f"DROP DATABASE {name} WITH (FORCE)")


_LEDGER_TEMPLATES: dict[str, str] = {}
"""By server, the database that has a ledger: to copy it costs a fifth of what an installation does."""


async def _ledger_template(postgres_dsn: str) -> str:
    if postgres_dsn not in _LEDGER_TEMPLATES:
        name = f"ledger_{secrets.token_hex(8)}"
        await _administer(postgres_dsn, f"CREATE DATABASE {name} STRATEGY = file_copy")
        async with ledger_of(urlsplit(postgres_dsn)._replace(path=f"/{name}").geturl()):
            pass
        _LEDGER_TEMPLATES[postgres_dsn] = name
    return _LEDGER_TEMPLATES[postgres_dsn]


async def _administer(dsn: str, command: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(command)
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def lasting_readers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LastingReaders]:
    readers = LastingReaders(tmp_path_factory.mktemp("readers"))
    yield readers
    readers.end()


@pytest.fixture
async def smtp_sink() -> AsyncIterator[MailSink]:
    async with MailSink(Mailbox(), SinkFaults()) as sink:
        yield sink
