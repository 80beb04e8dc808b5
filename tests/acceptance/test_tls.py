"""Everybody who speaks to Redis or Postgres by TLS speaks to the right server, or to none."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from redis.exceptions import RedisError

from jobs import Mail
from producers import Producer, SyncProducer
from producers.errors import RedisUnavailable
from producers.link import Link
from producers.link.deadline import deadline
from reader.connection import Connection, StoreUnavailable
from reports.source_postgres import DATABASE_FAULTS, Source
from sessions import Sessions, SessionsUnavailable, SyncSessions
from tests.certificates import Certificates, make_certificates
from tests.tls_proxy import encrypted
from worker.engine import connection

LONG = timedelta(seconds=10)
SECRET = "s3cret-4711"  # noqa: S105  made up
MAIL = Mail(to="ana@example.com", subject="Hola", text="Buenos días")


# Certificates


@dataclass(frozen=True, slots=True)
class Case:
    """What a server shows, and the authority that the client believes."""

    server: Certificates
    ca_file: str


def good(folder: Path) -> Case:
    made = make_certificates(folder)
    return Case(made, made.ca_file)


def of_another_authority(folder: Path) -> Case:
    (folder / "other").mkdir()
    return Case(make_certificates(folder), make_certificates(folder / "other").ca_file)


def expired(folder: Path) -> Case:
    made = make_certificates(folder, expired=True)
    return Case(made, made.ca_file)


def for_another_host(folder: Path) -> Case:
    made = make_certificates(folder, names=("redis.example", "192.0.2.1"))
    return Case(made, made.ca_file)


WRONG = [of_another_authority, expired, for_another_host]


# Everybody who speaks to Redis


async def producer(url: str) -> None:
    async with Producer.connect(url, budget=10) as one:
        await one.send(MAIL)


async def sync_producer(url: str) -> None:
    def send() -> None:
        with SyncProducer.connect(url, budget=10) as one:
            one.send(MAIL)

    await asyncio.to_thread(send)


async def backend_sessions(url: str) -> None:
    one = Sessions.connect(url, deadline=LONG)
    try:
        await one.create("u-17", {"roots": [1]})
    finally:
        await one.close()


async def sync_sessions(url: str) -> None:
    def create() -> None:
        with closing(SyncSessions.connect(url, deadline=LONG)) as one:
            one.create("u-17", {"roots": [1]})

    await asyncio.to_thread(create)


async def reader(url: str) -> None:
    one = Connection(url, deadline=LONG)
    try:
        await one.call("PING")
    finally:
        await one.close()


async def worker_link(url: str) -> None:
    link = Link(url, "{mail}")
    try:
        await link.call("PING")
    finally:
        await link.close()


async def worker_commands(url: str) -> None:
    one = connection.open_redis(url)
    try:
        await one.ping()
    finally:
        await connection.close_redis(one)


async def worker_renewal(url: str) -> None:
    def ping() -> None:
        with deadline(10), closing(connection.open_renewal_link(url, "{mail}")) as one:
            one.call("PING")

    await asyncio.to_thread(ping)


FAULTS: tuple[type[Exception], ...] = (
    RedisUnavailable,
    SessionsUnavailable,
    StoreUnavailable,
    RedisError,
    OSError,
)
CLIENTS: list[Callable[[str], Awaitable[None]]] = [
    producer,
    sync_producer,
    backend_sessions,
    sync_sessions,
    reader,
    worker_link,
    worker_commands,
    worker_renewal,
]


def told(error: BaseException) -> str:
    """All that the error and its causes say."""
    cause = error.__cause__ or error.__context__
    return f"{error!r} {error}" + (f" {told(cause)}" if cause else "")


@pytest.mark.parametrize("client", CLIENTS, ids=lambda one: one.__name__)
async def test_a_redis_that_proves_who_it_is_is_spoken_to(
    valkey_url: str, tmp_path: Path, client: Callable[[str], Awaitable[None]]
) -> None:
    case = good(tmp_path)
    async with encrypted(urlsplit(valkey_url).port or 0, case.server.server) as port:
        await client(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={quote(case.ca_file)}")


@pytest.mark.parametrize("make", WRONG, ids=lambda one: one.__name__)
@pytest.mark.parametrize("client", CLIENTS, ids=lambda one: one.__name__)
async def test_a_redis_that_cannot_prove_who_it_is_is_refused_with_the_reason_and_without_the_password(
    valkey_url: str, tmp_path: Path, client: Callable[[str], Awaitable[None]], make: Callable[[Path], Case]
) -> None:
    case = make(tmp_path)
    async with encrypted(urlsplit(valkey_url).port or 0, case.server.server) as port:
        url = f"rediss://me:{SECRET}@127.0.0.1:{port}/0?ssl_ca_certs={quote(case.ca_file)}"
        with pytest.raises(FAULTS) as refused:
            await client(url)
    assert "certificate" in told(refused.value).lower(), "why, not only that"
    assert SECRET not in told(refused.value)


ELSEWHERE = {"clusters": "clusters://{}@127.0.0.1:{}", "sentinels": "sentinels://{}@127.0.0.1:{}/momentus/0"}


@pytest.mark.parametrize("make", WRONG, ids=lambda one: one.__name__)
@pytest.mark.parametrize("scheme", ELSEWHERE)
async def test_sessions_without_asyncio_ask_nobody_for_the_primary_who_cannot_prove_who_he_is(
    valkey_url: str, tmp_path: Path, scheme: str, make: Callable[[Path], Case]
) -> None:
    case = make(tmp_path)
    async with encrypted(urlsplit(valkey_url).port or 0, case.server.server) as port:
        url = ELSEWHERE[scheme].format(f"me:{SECRET}", port) + f"?ssl_ca_certs={quote(case.ca_file)}"
        with pytest.raises(FAULTS) as refused:
            await sync_sessions(url)
    assert "certificate" in told(refused.value).lower(), "why, not only that"
    assert SECRET not in told(refused.value)


# Postgres


async def asked(dsn: str) -> None:
    source = Source(dsn, statement_timeout=LONG)
    try:
        async with source.snapshot() as snapshot:
            assert snapshot.visible
    finally:
        await source.close()


def verified(dsn: str, port: int, ca_file: str, password: str = "") -> str:
    parts = urlsplit(dsn)
    account = f"{parts.username}:{password or parts.password}"
    query = f"sslmode=verify-full&sslrootcert={quote(ca_file)}"
    return parts._replace(netloc=f"{account}@127.0.0.1:{port}", query=query).geturl()


async def test_a_postgres_that_proves_who_it_is_is_asked(postgres_dsn: str, tmp_path: Path) -> None:
    case = good(tmp_path)
    async with encrypted(urlsplit(postgres_dsn).port or 0, case.server.server, postgres=True) as port:
        await asked(verified(postgres_dsn, port, case.ca_file))


@pytest.mark.parametrize("make", WRONG, ids=lambda one: one.__name__)
async def test_a_postgres_that_cannot_prove_who_it_is_is_refused_with_the_reason_and_without_the_password(
    postgres_dsn: str, tmp_path: Path, make: Callable[[Path], Case]
) -> None:
    case = make(tmp_path)
    async with encrypted(urlsplit(postgres_dsn).port or 0, case.server.server, postgres=True) as port:
        with pytest.raises(DATABASE_FAULTS) as refused:
            await asked(verified(postgres_dsn, port, case.ca_file, SECRET))
    assert "certificate" in told(refused.value).lower()
    assert SECRET not in told(refused.value)


async def test_a_postgres_without_tls_is_refused_by_who_asks_for_it(postgres_dsn: str, tmp_path: Path) -> None:
    dsn = verified(postgres_dsn, urlsplit(postgres_dsn).port or 0, good(tmp_path).ca_file, SECRET)
    with pytest.raises(DATABASE_FAULTS) as refused:
        await asked(dsn)
    assert "SSL" in told(refused.value)
    assert SECRET not in told(refused.value)
