"""Jobs that belong to a transaction of the application: each kind of connection, each refusal, what is stored."""

import asyncio
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from importlib import import_module
from itertools import product
from typing import Any, ClassVar
from urllib.parse import urlsplit

import asyncpg
import pytest
from redis import Redis as BlockingRedis
from redis.asyncio import Redis

from jobs import Mail
from jobs.mail.seal import KeyRing
from producers import (
    InvalidRequest,
    LedgerUnavailable,
    NotEnqueued,
    PayloadTooLarge,
    Producer,
    Receipt,
    SyncProducer,
)
from producers.envelope import SIZE_LIMIT
from producers.keys import LaneKeys
from tests.faulty_proxy import FaultyProxy
from tests.pooler import PGBOUNCER, pooler
from tests.staging import have_libraries, install_ledger, staged_rows
from tests.support import OwnValkey, eventually

pytestmark = pytest.mark.ledger_is_there

OwnServer = Callable[..., Awaitable[OwnValkey]]
MAIL = Mail(to="Ana@Example.com", subject="Aviso", text="Buenos días")
DAY = timedelta(days=1)
GENEROUS = 10.0
"""Seconds for Redis: a busy machine fails no test."""
A_HANG = 8.0
"""Seconds; psycopg by itself waits ten for a server that is silent."""
TOKEN = LaneKeys("mail.normal").staged


@pytest.fixture(scope="session", autouse=True)
def _libraries() -> None:
    have_libraries()


@pytest.fixture
async def ledger(database: str) -> str:
    await install_ledger(database)
    return database


@dataclass
class Application:
    """A connection of an application, and how it begins and ends a transaction there, all of them coroutines."""

    connection: Any
    begin: Callable[[], Awaitable[Any]]
    commit: Callable[[], Awaitable[Any]]
    roll_back: Callable[[], Awaitable[Any]]
    asyncio: bool = True


async def _nothing() -> None:
    """Begin a transaction where the library does so by itself."""


def _waited_for(function: Callable[[], Any]) -> Callable[[], Awaitable[None]]:
    """A function of a library for threads, as a coroutine function."""

    async def call() -> None:
        function()

    return call


@asynccontextmanager
async def by_asyncpg(dsn: str) -> AsyncIterator[Application]:
    connection = await asyncpg.connect(dsn)
    transaction = connection.transaction()
    yield Application(connection, transaction.start, transaction.commit, transaction.rollback)
    await connection.close()


@asynccontextmanager
async def by_pool_of_asyncpg(dsn: str) -> AsyncIterator[Application]:
    async with asyncpg.create_pool(dsn, min_size=1, max_size=1) as pool, pool.acquire() as connection:
        transaction = connection.transaction()
        yield Application(connection, transaction.start, transaction.commit, transaction.rollback)


@asynccontextmanager
async def by_psycopg_with_asyncio(dsn: str) -> AsyncIterator[Application]:
    async with await import_module("psycopg").AsyncConnection.connect(dsn) as connection:
        yield Application(connection, _nothing, connection.commit, connection.rollback)


@asynccontextmanager
async def by_psycopg(dsn: str) -> AsyncIterator[Application]:
    with import_module("psycopg").connect(dsn) as connection:
        commit, roll_back = map(_waited_for, (connection.commit, connection.rollback))
        yield Application(connection, _nothing, commit, roll_back, asyncio=False)


def url_of(dsn: str, driver: str) -> str:
    """The DSN as SQLAlchemy has it."""
    return urlsplit(dsn)._replace(scheme=f"postgresql+{driver}").geturl()


def engine_with_asyncio(dsn: str, driver: str, **options: Any) -> Any:
    return import_module("sqlalchemy.ext.asyncio").create_async_engine(url_of(dsn, driver), **options)


def engine(dsn: str, **options: Any) -> Any:
    return import_module("sqlalchemy").create_engine(url_of(dsn, "psycopg"), **options)


def by_session_with_asyncio(driver: str) -> Any:
    @asynccontextmanager
    async def opened(dsn: str) -> AsyncIterator[Application]:
        made = engine_with_asyncio(dsn, driver)
        try:
            async with import_module("sqlalchemy.ext.asyncio").AsyncSession(made) as session:
                yield Application(session, _nothing, session.commit, session.rollback)
        finally:
            await made.dispose()

    return opened


@asynccontextmanager
async def by_connection_of_sqlalchemy_with_asyncio(dsn: str) -> AsyncIterator[Application]:
    made = engine_with_asyncio(dsn, "asyncpg")
    async with made.connect() as connection:
        yield Application(connection, _nothing, connection.commit, connection.rollback)
    await made.dispose()


@asynccontextmanager
async def by_session(dsn: str) -> AsyncIterator[Application]:
    made = engine(dsn)
    with import_module("sqlalchemy.orm").Session(made) as session:
        commit, roll_back = map(_waited_for, (session.commit, session.rollback))
        yield Application(session, _nothing, commit, roll_back, asyncio=False)
    made.dispose()


@asynccontextmanager
async def by_scoped_session(dsn: str) -> AsyncIterator[Application]:
    made, orm = engine(dsn), import_module("sqlalchemy.orm")
    session = orm.scoped_session(orm.sessionmaker(made))
    commit, roll_back = map(_waited_for, (session.commit, session.rollback))
    yield Application(session, _nothing, commit, roll_back, asyncio=False)
    session.remove()
    made.dispose()


@asynccontextmanager
async def by_connection_of_sqlalchemy(dsn: str) -> AsyncIterator[Application]:
    made = engine(dsn)
    with made.connect() as connection:
        commit, roll_back = map(_waited_for, (connection.commit, connection.rollback))
        yield Application(connection, _nothing, commit, roll_back, asyncio=False)
    made.dispose()


KINDS = {
    "asyncpg": by_asyncpg,
    "asyncpg-pool": by_pool_of_asyncpg,
    "psycopg-async": by_psycopg_with_asyncio,
    "psycopg": by_psycopg,
    "AsyncSession-asyncpg": by_session_with_asyncio("asyncpg"),
    "AsyncSession-psycopg": by_session_with_asyncio("psycopg"),
    "AsyncConnection": by_connection_of_sqlalchemy_with_asyncio,
    "Session": by_session,
    "scoped_session": by_scoped_session,
    "Connection": by_connection_of_sqlalchemy,
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


class Sender:
    """Both producers behind one interface of coroutines, chosen by the connection's library."""

    def __init__(self, url: str, **options: Any) -> None:
        self.with_asyncio = Producer.connect(url, **options)
        self.without = SyncProducer.connect(url, **options)

    async def send(self, application: Application, message: Any = MAIL, **options: Any) -> Receipt:
        given = {"level": "ledger", "connection": application.connection} | options
        if application.asyncio:
            return await self.with_asyncio.send(message, **given)
        return self.without.send(message, **given)

    async def send_many(self, application: Application, messages: list[Any], **options: Any) -> list[Receipt]:
        given = {"level": "ledger", "connection": application.connection} | options
        if application.asyncio:
            return await self.with_asyncio.send_many(messages, **given)
        return self.without.send_many(messages, **given)

    async def close(self) -> None:
        await self.with_asyncio.close()
        self.without.close()


@asynccontextmanager
async def sender_of(url: str, **options: Any) -> AsyncIterator[Sender]:
    sender = Sender(url, **{"budget": GENEROUS} | options)
    yield sender
    await sender.close()


@pytest.fixture
async def sender(valkey_url: str) -> AsyncIterator[Sender]:
    async with sender_of(valkey_url) as opened:
        yield opened


# --- A row belongs to the transaction


@every_kind
async def test_a_committed_transaction_leaves_the_rows_of_its_jobs(kind: Any, ledger: str, sender: Sender) -> None:
    async with kind(ledger) as application:
        await application.begin()
        one = await sender.send(application, key="one")
        more = await sender.send_many(application, [MAIL, MAIL, MAIL])
        assert await staged_rows(ledger) == []
        await application.commit()
    rows = await staged_rows(ledger)
    assert [row["id"] for row in rows] == [one.id, *(receipt.id for receipt in more)]
    assert {(row["kind"], row["lane"]) for row in rows} == {("mail.send", "mail.normal")}
    assert {row["payload"]["k"]["to"] for row in rows} == {"Ana@example.com"}
    assert {receipt.state for receipt in (one, *more)} == {"staged"}


@every_kind
async def test_a_transaction_that_is_rolled_back_leaves_nothing(kind: Any, ledger: str, sender: Sender) -> None:
    async with kind(ledger) as application:
        await application.begin()
        await sender.send(application)
        await sender.send_many(application, [MAIL, MAIL])
        await application.roll_back()
    assert await staged_rows(ledger) == []


async def test_a_job_and_many_jobs_cost_one_query_each(ledger: str, sender: Sender) -> None:
    async with by_asyncpg(ledger) as application:
        await application.begin()
        await sender.send(application)
        queries: list[str] = []
        with application.connection.query_logger(lambda record: queries.append(record.query)):
            await sender.send(application)
            await sender.send_many(application, [MAIL] * 500)
        await application.commit()
    assert len(queries) == 2, queries
    assert len(await staged_rows(ledger)) == 502


@pytest.mark.skipif(PGBOUNCER is None, reason="PgBouncer is not on this machine")
async def test_transactions_through_a_pooler_leave_their_rows(ledger: str, sender: Sender) -> None:
    async with pooler(ledger) as dsn:
        one = await asyncpg.connect(dsn, statement_cache_size=0)
        with import_module("psycopg").connect(dsn, prepare_threshold=None) as other:
            for _ in range(8):
                async with one.transaction():
                    await sender.with_asyncio.send(MAIL, level="ledger", connection=one)
                    await sender.with_asyncio.send_many([MAIL, MAIL], level="ledger", connection=one)
                sender.without.send(MAIL, level="ledger", connection=other)
                other.commit()
        await one.close()
    assert len(await staged_rows(ledger)) == 8 * 4


async def test_many_jobs_leave_the_rows_that_each_leaves_by_itself(ledger: str, sender: Sender) -> None:
    code, bulk = replace(MAIL, stream="code"), replace(MAIL, urgency="bulk", to=["a@x.es", "b@x.es"])
    lists: tuple[list[Any], ...] = (
        [MAIL, code, bulk],
        [code, MAIL],
        [code, code],
        [bulk, MAIL, MAIL],
        [Note(), Note("b", life=DAY)],
    )
    pairs: list[tuple[Receipt, Receipt]] = []
    async with by_asyncpg(ledger) as application:
        await application.begin()
        options: tuple[dict[str, Any], ...] = {"at": datetime.now(UTC) + DAY}, {"limit": "customer:42"}, {}
        for messages, given in product(lists, options):
            many = await sender.send_many(application, messages, **given)
            pairs += [
                (one, await sender.send(application, of, **given)) for one, of in zip(many, messages, strict=True)
            ]
        keyed = await sender.send_many(application, [MAIL, code], keys=["a", "b"])
        pairs += zip(
            keyed,
            [await sender.send(application, of, key=key) for of, key in ((MAIL, "a"), (code, "b"))],
            strict=True,
        )
        await application.commit()
    rows = {row["id"]: known_ahead(row) for row in await staged_rows(ledger)}
    assert len(rows) == 2 * len(pairs)
    for one, other in pairs:
        assert rows[one.id] == rows[other.id]


def known_ahead(row: dict[str, Any]) -> dict[str, Any]:
    """What is the same in two rows of the same call: times from its start, no id and no Date."""
    begun = datetime.fromtimestamp(row["payload"]["et"] / 1000, UTC)
    spans = {
        name: row[name] and round((row[name] - begun).total_seconds() / 60) for name in ("due_at", "expires_at")
    }
    content = {name: value for name, value in row["payload"]["k"].items() if name not in {"message_id", "date"}}
    shown = {name: row[name] for name in row if name not in {"id", "staged_at", "payload", *spans}}
    return {**shown, **spans, "content": content, "fields": [*row["payload"]]}


# --- What a row says


@dataclass(frozen=True)
class Note:
    kind: ClassVar[str] = "note.take"
    lane: ClassVar[str] = "jobs"

    text: str = "a"
    job_id: str = ""
    life: timedelta | None = None
    version: int = 1

    def fingerprint(self) -> str:
        return self.text

    def compose(self, *, job_id: str, now: datetime) -> dict[str, object]:
        del job_id, now
        return {"text": self.text, "to": "nobody"}


def digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


async def test_a_row_has_what_redis_would_get_and_the_day_on_which_it_was_staged(
    ledger: str, sender: Sender
) -> None:
    async with by_asyncpg(ledger) as application:
        await application.begin()
        receipt = await sender.send(application, Note(version=2), key="k", limit="customer:42")
        await application.commit()
    (row,) = await staged_rows(ledger)
    day = (row["day"] - datetime(1970, 1, 1, tzinfo=UTC).date()).days
    asked = row["payload"].pop("et")
    assert day == asked // 86_400_000
    content = {"text": "a", "to": "nobody"}
    assert row["payload"] == {"v": 1, "f": "note.take", "t": None, "a": [], "k": content, "pv": 2, "l": day}
    assert (row["id"], row["lane"], row["kind"]) == (receipt.id, "jobs", "note.take")
    assert (row["key"], row["fingerprint"]) == (digest("k"), digest("a"))
    assert (row["window_ms"], row["limit_key"]) == (7 * 86_400_000, "customer:42")
    assert (row["due_at"], row["expires_at"], row["life_ms"]) == (None, None, None)
    assert (row["recipients"], row["template"]) == ([], "")


async def test_spans_become_instants_in_the_row_and_in_its_envelope(ledger: str, sender: Sender) -> None:
    async with by_asyncpg(ledger) as application:
        await application.begin()
        await sender.send(application, Note(), delay=timedelta(hours=1), expires=timedelta(hours=3))
        at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=2)
        await sender.send(application, Note(), at=at, expires=at + timedelta(hours=1))
        await sender.send(application, Note(life=timedelta(minutes=5)), delay=timedelta(hours=1))
        await application.commit()
    spans, instants, living = await staged_rows(ledger)
    begun = datetime.fromtimestamp(spans["payload"]["et"] / 1000, UTC)
    assert (spans["due_at"], spans["expires_at"]) == (begun + timedelta(hours=1), begun + timedelta(hours=3))
    assert spans["payload"]["x"] == spans["payload"]["et"] + 3 * 3_600_000
    assert (instants["due_at"], instants["expires_at"]) == (at, at + timedelta(hours=1))
    assert instants["payload"]["x"] == (at + timedelta(hours=1)).timestamp() * 1000
    begun = datetime.fromtimestamp(living["payload"]["et"] / 1000, UTC)
    assert living["expires_at"] == begun + timedelta(hours=1, minutes=5)
    assert living["payload"]["x"] == living["payload"]["et"] + 65 * 60_000


async def test_a_row_names_a_mails_recipients_by_their_digests_and_its_template(
    ledger: str, sender: Sender
) -> None:
    told = {"task": "Cierre", "due": "hoy"}
    mails = [
        Mail(to="Ana@Example.com", template="task_assigned", values=told),
        Mail(to=["ana@example.com", "eva@example.com"], bcc=["eva@example.com"], subject="Aviso", text="Ya"),
    ]
    async with by_asyncpg(ledger) as application:
        await application.begin()
        await sender.send_many(application, mails)
        await application.commit()
    one, several = await staged_rows(ledger)
    assert (one["recipients"], one["template"]) == ([digest("ana@example.com")], "task_assigned")
    assert several["recipients"] == [digest("ana@example.com"), digest("eva@example.com")]


async def test_a_sealed_mail_is_sealed_in_its_row(ledger: str, valkey_url: str) -> None:
    ring = KeyRing(f"one:{'A' * 43}=")
    async with sender_of(valkey_url, seal=ring) as sender, by_asyncpg(ledger) as application:
        await application.begin()
        receipt = await sender.send(application)
        await application.commit()
    (row,) = await staged_rows(ledger)
    assert "example.com" not in str({**row, "recipients": ""}).lower()
    opened = ring.open(row["payload"]["k"], kind="mail.send", job_id=receipt.id)
    assert opened["to"] == "Ana@example.com"
    assert row["recipients"] == [digest("ana@example.com")]


async def test_a_statement_that_is_logged_or_quoted_shows_no_text_of_a_mail(
    ledger: str, sender: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    secret = Mail(to="ana@example.com", subject="Secreto", text="Nadie lo sepa")
    caplog.set_level(logging.INFO, "sqlalchemy.engine")
    made = engine(ledger, echo=True)
    with import_module("sqlalchemy.orm").Session(made) as session:
        application = Application(session, _nothing, _nothing, _nothing, asyncio=False)
        await sender.send(application, secret)
        await sender.send_many(application, [secret, secret])
    made.dispose()
    assert "momentus_ledger.jobs" in caplog.text
    words = ("Secreto", "Nadie", "ana@")
    assert not {word for word in words if word in caplog.text or word.encode().hex() in caplog.text}


# --- Refusals


async def refused(sender: Sender, application: Application, **options: Any) -> str:
    """The words in which a call is refused; they name the connection and stage nothing."""
    with pytest.raises(InvalidRequest) as refusal:
        await sender.send(application, **options)
    assert str(refusal.value).startswith("connection: ")
    return str(refusal.value)


AUTOCOMMIT = {
    "asyncpg": by_asyncpg,
    "psycopg AsyncConnection": by_psycopg_with_asyncio,
    "psycopg Connection": by_psycopg,
}


@pytest.mark.parametrize("name", AUTOCOMMIT)
async def test_a_connection_in_autocommit_is_refused_outside_a_transaction_alone(
    name: str, ledger: str, sender: Sender
) -> None:
    async with AUTOCOMMIT[name](ledger) as application:
        connection = application.connection
        if name != "asyncpg":
            changed = connection.set_autocommit(True) if application.asyncio else None
            if changed is None:
                connection.autocommit = True
            else:
                await changed
        words = await refused(sender, application)
        assert name in words
        assert "autocommit" in words
        assert "transaction():" in words
        assert await staged_rows(ledger) == []
        if application.asyncio:
            async with connection.transaction():
                await sender.send(application)
        else:
            with connection.transaction():
                await sender.send(application)
    assert len(await staged_rows(ledger)) == 1


async def test_an_engine_in_autocommit_is_refused(ledger: str, sender: Sender) -> None:
    made = engine(ledger, isolation_level="AUTOCOMMIT")
    with import_module("sqlalchemy.orm").Session(made) as session:
        application = Application(session, _nothing, _nothing, _nothing, asyncio=False)
        assert "the SQLAlchemy Session is in autocommit" in await refused(sender, application)
    made.dispose()
    for driver in ("asyncpg", "psycopg"):
        other = engine_with_asyncio(ledger, driver, isolation_level="AUTOCOMMIT")
        async with other.connect() as connection:
            application = Application(connection, _nothing, _nothing, _nothing)
            assert "the SQLAlchemy AsyncConnection is in autocommit" in await refused(sender, application)
        await other.dispose()
    assert await staged_rows(ledger) == []


def statement_for(application: Application, words: str) -> Any:
    """A statement of the application's library."""
    is_text = type(application.connection).__module__.startswith("sqlalchemy.")
    return import_module("sqlalchemy").text(words) if is_text else words


async def fail(application: Application) -> None:
    """Make the transaction fail, as a statement of the application would."""
    statement = statement_for(application, "SELECT 1 / 0")
    try:
        done = application.connection.execute(statement)
        if application.asyncio:
            await done
    except Exception as error:  # of each library its own
        if "division by zero" not in str(error):
            raise


@every_kind
async def test_a_transaction_that_has_failed_is_refused(kind: Any, ledger: str, sender: Sender) -> None:
    async with kind(ledger) as application:
        await application.begin()
        await fail(application)
        assert "has failed" in await refused(sender, application)
        await application.roll_back()
    assert await staged_rows(ledger) == []


async def test_a_closed_connection_is_refused(ledger: str, sender: Sender) -> None:
    closed = {}
    for name in ("asyncpg", "psycopg-async", "psycopg", "Connection"):
        async with KINDS[name](ledger) as application:
            closed[name] = application
    for name, application in closed.items():
        assert "is closed" in await refused(sender, application), name
    async with by_pool_of_asyncpg(ledger) as application:
        pass
    assert "returned to its pool" in await refused(sender, application)


async def test_a_connection_of_the_other_world_is_refused(ledger: str, sender: Sender) -> None:
    for name, kind in KINDS.items():
        async with kind(ledger) as application:
            other = Application(
                application.connection, _nothing, _nothing, _nothing, asyncio=not application.asyncio
            )
            words = await refused(sender, other)
            assert ("is for asyncio" if application.asyncio else "is for threads") in words, name


async def test_what_is_no_connection_is_refused(ledger: str, sender: Sender) -> None:
    async with asyncpg.create_pool(ledger, min_size=0, max_size=1) as pool:
        application = Application(pool, _nothing, _nothing, _nothing)
        assert "asyncpg Pool" in await refused(sender, application)
    made = engine(ledger)
    application = Application(made, _nothing, _nothing, _nothing, asyncio=False)
    assert "sqlalchemy Engine" in await refused(sender, application)
    for thing in (7, object(), b"default"):
        for with_asyncio in (True, False):
            application = Application(thing, _nothing, _nothing, _nothing, asyncio=with_asyncio)
            assert f"value of type {type(thing).__name__}" in await refused(sender, application)
    application = Application("default", _nothing, _nothing, _nothing, asyncio=False)
    assert "a Django database, but this process does not use" in await refused(sender, application)
    other = import_module("sqlalchemy").create_engine("sqlite://")
    with other.connect() as connection:
        application = Application(connection, _nothing, _nothing, _nothing, asyncio=False)
        assert "sqlite" in await refused(sender, application)


async def test_a_level_and_a_connection_belong_together(ledger: str, sender: Sender) -> None:
    async with by_asyncpg(ledger) as application:
        assert "is not used at level 'redis'" in await refused(sender, application, level="redis")
        for level in ("ledger", "fallback"):
            assert "is missing" in await refused(sender, application, level=level, connection=None)
        with pytest.raises(InvalidRequest, match="level: must be 'redis', 'ledger' or 'fallback', not 'row'"):
            await sender.send(application, level="row")
        with pytest.raises(InvalidRequest, match="level"):
            await sender.send_many(application, [MAIL], level="row")
    assert await staged_rows(ledger) == []


@pytest.mark.ledger_is_there(installed=False)
async def test_a_database_without_the_ledger_is_told_with_the_command_that_installs_it(
    database: str, sender: Sender
) -> None:
    for kind in KINDS.values():
        async with kind(database) as application:
            await application.begin()
            with pytest.raises(LedgerUnavailable, match=r"\./run ops db install"):
                await sender.send(application)
            await application.roll_back()


@asynccontextmanager
async def role_of(dsn: str, name: str, *, granted: bool) -> AsyncIterator[str]:
    """A role of its own that may stage jobs, or may not; its DSN."""
    owner = await asyncpg.connect(dsn)
    role = f"{name}_{urlsplit(dsn).path.strip('/')}"
    await owner.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    await install_ledger(dsn, *([role] if granted else []))
    parts = urlsplit(dsn)
    host = parts.netloc.rpartition("@")[2]
    try:
        yield parts._replace(netloc=f"{role}:x@{host}").geturl()
    finally:
        await owner.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
        await owner.close()


async def test_a_role_needs_no_more_than_the_right_to_stage(database: str, sender: Sender) -> None:
    async with role_of(database, "backend", granted=True) as dsn, by_asyncpg(dsn) as application:
        await application.begin()
        await sender.send(application)
        await sender.send_many(application, [MAIL, MAIL])
        await application.commit()
        assert len(await staged_rows(database)) == 3


async def test_a_role_without_that_right_is_told(database: str, sender: Sender) -> None:
    async with role_of(database, "stranger", granted=False) as dsn, by_psycopg(dsn) as application:
        with pytest.raises(LedgerUnavailable, match="may not stage jobs"):
            await sender.send(application)
        await application.roll_back()


async def test_a_transaction_that_only_reads_is_told(ledger: str, sender: Sender) -> None:
    async with by_psycopg(ledger) as application:
        application.connection.execute("SET TRANSACTION READ ONLY")
        with pytest.raises(LedgerUnavailable, match="can only read"):
            await sender.send(application)
        await application.roll_back()


async def test_an_id_that_the_ledger_has_is_refused(ledger: str, sender: Sender) -> None:
    async with by_asyncpg(ledger) as application:
        await application.begin()
        await sender.send(application, Note(job_id="{jobs}one"))
        with pytest.raises(InvalidRequest, match="job_id: the ledger already has a job with this id"):
            await sender.send(application, Note(job_id="{jobs}one"))
        await application.roll_back()


async def test_an_id_that_two_jobs_of_a_list_have_is_refused(ledger: str, sender: Sender) -> None:
    async with by_asyncpg(ledger) as application:
        await application.begin()
        with pytest.raises(InvalidRequest, match="job_id: the ledger already has a job with this id"):
            await sender.send_many(application, [Note(job_id="{jobs}one")] * 2)
        await application.roll_back()


async def test_a_payload_that_is_too_long_for_a_row_alone_is_refused(ledger: str, sender: Sender) -> None:
    async with by_asyncpg(ledger) as application:
        await application.begin()
        with pytest.raises(PayloadTooLarge):
            await sender.send(application, Note("a" * (SIZE_LIMIT - 90)))  # without the day it has room
        await sender.send(application, Note("a" * (SIZE_LIMIT - 100)))
        await application.commit()
    assert len(await staged_rows(ledger)) == 1


async def test_an_invalid_mail_touches_no_transaction(ledger: str, sender: Sender) -> None:
    async with by_asyncpg(ledger) as application:
        await application.begin()
        with pytest.raises(ValueError, match="to:"):
            await sender.send(application, Mail(to="ana", subject="Aviso", text="Ya"))
        with pytest.raises(ValueError, match="to:") as refusal:
            await sender.send_many(application, [MAIL, Mail(to="ana", subject="Aviso", text="Ya")])
        assert refusal.value.index == 1  # type: ignore[attr-defined]
        await sender.send(application)
        await application.commit()
    assert len(await staged_rows(ledger)) == 1


# --- Redis at these levels


@contextmanager
def frozen(server: OwnValkey) -> Any:
    server.pause()
    try:
        yield
    finally:
        server.resume()


async def test_a_frozen_redis_keeps_no_transaction_waiting(ledger: str, own_valkey: OwnServer) -> None:
    server = await own_valkey()
    for kind in (by_asyncpg, by_psycopg, by_session):
        async with sender_of(server.url, budget=0.1) as sender, kind(ledger) as application:
            with frozen(server):
                await application.begin()
                await sender.send(application)
                await sender.send_many(application, [MAIL, MAIL])
                await application.commit()
    assert len(await staged_rows(ledger)) == 9


async def test_relays_are_told_by_one_token(ledger: str, sender: Sender, redis: Redis) -> None:
    for kind in (by_asyncpg, by_psycopg, by_session):
        async with kind(ledger) as application:
            await application.begin()
            await sender.send_many(application, [MAIL, MAIL])
            await sender.send(application)
            await application.commit()
            assert await eventually(lambda: redis.llen(TOKEN)) == 1
            await redis.delete(TOKEN)


async def test_a_savepoint_of_a_session_tells_nobody(ledger: str, sender: Sender, redis: Redis) -> None:
    async with by_session(ledger) as application:
        with application.connection.begin_nested():
            await sender.send(application)
        await sender.send(application, Note(), level="redis", connection=None)
        assert await redis.llen(TOKEN) == 0
        await application.commit()
        await eventually(lambda: redis.llen(TOKEN))


async def test_the_token_of_a_session_follows_its_commit(ledger: str, sender: Sender, redis: Redis) -> None:
    for kind in (by_session, by_session_with_asyncio("asyncpg")):
        async with kind(ledger) as application:
            await sender.send(application)
            await sender.send(application, Note(), level="redis", connection=None)  # whatever was sent has arrived
            assert await redis.llen(TOKEN) == 0
            await application.commit()
            await eventually(lambda: redis.llen(TOKEN))
            await redis.delete(TOKEN)


async def test_at_level_fallback_redis_has_the_job_if_it_can(ledger: str, sender: Sender, redis: Redis) -> None:
    for kind in (by_asyncpg, by_psycopg):
        async with kind(ledger) as application:
            name = kind.__name__
            one = await sender.send(application, key=name, level="fallback")
            again = await sender.send(application, key=name, level="fallback")
            more = await sender.send_many(application, [MAIL, Note()], level="fallback")
            assert [one.state, again.state] == ["queued", "duplicate"]
            assert {receipt.state for receipt in more} == {"queued"}
            assert await redis.exists(*(f"arq:job:{receipt.id}" for receipt in (one, *more))) == 3
    assert await staged_rows(ledger) == []


async def test_at_level_fallback_a_frozen_redis_leaves_rows_that_commit_by_themselves(
    ledger: str, own_valkey: OwnServer
) -> None:
    server = await own_valkey()
    async with sender_of(server.url, budget=2) as sender, by_asyncpg(ledger) as application:
        with frozen(server):
            one = await sender.send(application, level="fallback")
            more = await sender.send_many(application, [MAIL, Note(), MAIL], level="fallback")
    assert {receipt.state for receipt in (one, *more)} == {"staged"}
    assert {row["id"] for row in await staged_rows(ledger)} == {receipt.id for receipt in (one, *more)}


async def test_at_level_fallback_a_row_belongs_to_a_transaction_that_is_open(
    ledger: str, own_valkey: OwnServer
) -> None:
    server = await own_valkey()
    await server.kill()
    async with sender_of(server.url, budget=2) as sender, by_session(ledger) as application:
        assert (await sender.send(application, level="fallback")).state == "staged"
        await application.roll_back()
    assert await staged_rows(ledger) == []


async def test_at_level_fallback_both_away_is_an_error_of_its_own(ledger: str, own_valkey: OwnServer) -> None:
    server = await own_valkey()
    await server.kill()
    for kind in (by_asyncpg, by_psycopg):
        async with sender_of(server.url, budget=2) as sender:
            async with kind(ledger) as application:
                pass
            with pytest.raises(
                NotEnqueued, match=r"Redis cannot .*The job is not in the ledger either: connection: .* closed"
            ):
                await sender.send(application, level="fallback")
            with pytest.raises(NotEnqueued) as missed:
                await sender.send_many(application, [MAIL, Note()], level="fallback")
            assert missed.value.receipts == []


@pytest.mark.parametrize("name", ["asyncpg", "psycopg-async", "AsyncSession-asyncpg", "AsyncSession-psycopg"])
async def test_at_level_fallback_a_lock_in_postgres_is_not_waited_for(
    name: str, ledger: str, own_valkey: OwnServer
) -> None:
    server = await own_valkey()
    await server.kill()
    opened = KINDS[name](ledger)
    application = await opened.__aenter__()
    await application.connection.execute(statement_for(application, "SELECT 1"))  # connects
    async with sender_of(server.url, budget=0.2) as sender, by_psycopg(ledger) as other:
        other.connection.execute("LOCK TABLE momentus_ledger.jobs")
        with pytest.raises(NotEnqueued, match="no reply in time"):
            await sender.send(application, level="fallback")
        await other.roll_back()
    with suppress(Exception):  # psycopg closes a connection whose call was not cancelled in time
        await opened.__aexit__(None, None, None)


@pytest.mark.parametrize("name", ["asyncpg", "psycopg-async", "AsyncSession-asyncpg", "AsyncSession-psycopg"])
async def test_at_level_fallback_a_frozen_postgres_is_not_waited_for(
    name: str, ledger: str, own_valkey: OwnServer
) -> None:
    server = await own_valkey()
    await server.kill()
    parts = urlsplit(ledger)
    async with sender_of(server.url, budget=0.2) as sender, FaultyProxy(parts.port or 0) as proxy:
        there = parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{proxy.port}").geturl()
        opened = KINDS[name](there)
        application = await opened.__aenter__()
        await application.connection.execute(statement_for(application, "SELECT 1"))
        proxy.stall()
        with pytest.raises(NotEnqueued, match="no reply in time"):
            async with asyncio.timeout(A_HANG):
                await sender.send(application, level="fallback")
        proxy.let_pass()
        with suppress(Exception):  # some drivers close such a connection
            await opened.__aexit__(None, None, None)


async def test_a_producer_that_is_closed_leaves_no_task_behind(ledger: str, valkey_url: str) -> None:
    before = asyncio.all_tasks()
    async with by_asyncpg(ledger) as application:
        async with sender_of(valkey_url) as sender:
            await application.begin()
            await sender.send(application)
        assert asyncio.all_tasks() <= before
        await application.commit()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
async def test_a_forked_child_tells_relays_by_a_thread_of_its_own(
    ledger: str, valkey_url: str, redis: Redis
) -> None:
    with SyncProducer.connect(valkey_url, budget=GENEROUS) as producer:

        def stage() -> None:
            with import_module("psycopg").connect(ledger) as connection:
                producer.send(MAIL, level="ledger", connection=connection)

        def stage_and_be_told() -> None:
            stage()
            with BlockingRedis.from_url(valkey_url) as client:
                while not client.llen(TOKEN):
                    time.sleep(0.01)

        stage()
        await eventually(lambda: redis.delete(TOKEN))
        assert ended_well(stage_and_be_told)
    assert len(await staged_rows(ledger)) == 2


def ended_well(child: Callable[[], None]) -> bool:
    """Run a function in the child of a fork; True unless it raises, or takes for ever."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # without pytest-timeout's handler
        signal.alarm(20)
        code = 1
        try:
            child()
            code = 0
        finally:
            os._exit(code)  # a child must never come back into pytest
    return os.waitpid(pid, 0)[1] == 0
