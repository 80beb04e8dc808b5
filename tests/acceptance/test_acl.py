"""Every role can do its work with its own Redis user, and nothing else."""

import asyncio
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, closing
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from jobs import Digest, Mail, NamedJob
from local.embedded.ports import free_port
from local.installation import worker_ready
from local.organisation import OrganisationSize, generate_organisation
from local.organisation.postgres import install_schema, load_rows
from local.sink.smtp import MailSink
from local.supervisor.process import Process
from local.supervisor.ready import http_ok
from local.supervisor.supervisor import Supervisor
from ops.acl import ROLES, acl_file, user_line
from ops.audit.log import AUDIT_LOG, begin_entry, list_entries, note_entry
from ops.command import CommandRefused
from ops.depth.read import read_depth
from ops.lanes.hold import hold_lane, release_lane
from producers import Producer, SyncProducer
from producers.suppression import suppress, weigh_refusal
from reader.cache import ReplyCache
from reader.connection import Connection
from reader.guard import Guard
from reader.handler import Reader
from reader.message import HeaderList, Request
from reader.report import ReportResponder
from reader.store import StoredReports
from sessions import Sessions
from sessions.token import place_of
from tests.command_line import run_ops
from tests.notes import LANE, Note, running
from tests.reader_process import Client
from tests.support import OwnValkey, eventually
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler

PASSWORD = "p" * 32
LONG = timedelta(seconds=10)

Url = Callable[[str], str]


@pytest.fixture(params=["valkey", "redis 7"])
def server(request: pytest.FixtureRequest) -> Path | None:
    """None: the embedded one. Else the oldest Redis that is promised, where this machine has one."""
    if request.param == "valkey":
        return None
    found = shutil.which("redis-server")
    if found is None or " v=7." not in subprocess.run([found, "--version"], capture_output=True, text=True).stdout:  # noqa: PLW1510  its own path
        pytest.skip("there is no Redis 7 on this machine")
    return Path(found)


@pytest.fixture
async def url(own_valkey: Callable[..., Awaitable[OwnValkey]], server: Path | None) -> Url:
    """The address for a role, on a server that knows all of them; for "" that of one who may do everything."""
    valkey = await own_valkey(binary=server)
    async with Redis.from_url(valkey.url) as admin:
        for role in ROLES:
            words = user_line(role, hashlib.sha256(PASSWORD.encode()).hexdigest()).split()
            await admin.execute_command("ACL", "SETUSER", *words[1:])
    return lambda role: f"redis://momentus-{role}:{PASSWORD}@127.0.0.1:{valkey.port}/0" if role else valkey.url


def client(address: str) -> Redis:
    """One that sends nothing but what a test asks for."""
    return Redis.from_url(address, lib_name=None, lib_version=None)


async def test_a_backend_queues_and_takes_back(url: Url) -> None:
    async with Producer.connect(url("producer"), budget=5) as producer:
        mail = Mail(to="ana@example.com", subject="Hola", text="Buenos días")
        receipt = await producer.send(mail, key="one", delay=timedelta(hours=1))
        await producer.send_many([mail, mail])
        await producer.refresh("management")
        assert await producer.cancel(receipt.id) == "cancelled"
        own = await producer.send(NamedJob("invoice.send", {"order": 7}))
        assert (await producer.result(own.id)).state == "pending"
        described = await producer.describe(own.id)
        assert (described.state, described.payload) == ("waiting", {"order": 7})


async def test_a_backend_logs_people_in_and_out(url: Url) -> None:
    sessions = Sessions.connect(url("sessions"), deadline=LONG)
    token, session = await sessions.create("u-17", {"roots": [1]}, cap=2)
    await sessions.save(session, {"roots": [2]})
    rotated = await sessions.rotate(token)
    assert rotated is not None
    assert len(await sessions.sessions_of("u-17")) == 1
    assert await sessions.revoke(rotated[0])
    await sessions.revoke_user("u-17")
    await sessions.close()


async def test_a_worker_runs_jobs(url: Url) -> None:
    seen: list[str] = []

    async def take(_context: dict[str, object], text: str) -> None:
        seen.append(text)

    worker = Worker([handler(take, kind=Note.kind)], redis_url=url("worker"), lanes=[LaneSlots(LANE, 5)])
    async with running(worker), Producer.connect(url("producer"), budget=5) as producer:
        await producer.send(Note("now"))
        await producer.send(Note("later"), delay=timedelta(milliseconds=20))
        await eventually(lambda: seen == ["now", "later"])


async def test_a_reader_answers_with_its_copy_and_makes_what_is_stale_wanted(url: Url) -> None:
    backend = Sessions.connect(url("sessions"), deadline=LONG)
    token, _ = await backend.create("u-17", {"roots": [1]})
    await backend.close()
    key = "momentus:{reports}:snapshot:default:general"
    meta = b'{"gen":1,"verified_us":1,"valid_until_us":null,"soft_ms":1,"hard_ms":9000000000000000,"cost_ms":1}'
    head = b'{"etag":"0000000000000000","path":[1],"as_of_us":1}'
    async with client(url("worker")) as worker:
        await worker.hset(key, mapping={"1": b"{}", "head:1": head, "_meta": meta})
    copy = ReplyCache(limit=100_000)
    connection = Connection(url("reader"), deadline=LONG, copy=copy)
    guard, store = Guard(connection, copy), StoredReports(connection, tenant="default", copy=copy)
    reader = Reader(store, ReportResponder(store, guard), guard)
    fields = HeaderList([("authorization", f"Bearer {token}")])
    for _ in range(3):
        answer = await reader.response(Request(method="GET", path="/v1/reports/general/1", fields=fields))
        assert (answer.status, answer.outcome) == (200, "stale")
    async with client(url("ops")) as ops:
        assert await eventually(lambda: ops.exists("momentus:{reports}:wanted:default:general"))
    await connection.close()


async def test_the_console_counts_and_people_hold_lanes(url: Url) -> None:
    async with client(url("console")) as console, client(url("ops")) as ops:
        await hold_lane(ops, "mail.bulk", reason="figures", lasting=None)
        depth = await read_depth(console, tenant="default")
        assert depth.conserved
        change = begin_entry(
            who="ana", way="token", role="operate", action="hold-lane", target="mail.bulk", why=""
        )
        await note_entry(ops, change)
        assert [one.number for one in await list_entries(ops, limit=5)] == [change.number]
        assert "NoPermissionError" in await refusal(console, "RPUSH", AUDIT_LOG, "{}")
        await release_lane(ops, "mail.bulk")


# Each role in its own process, all of the product at once


@pytest.fixture
async def organisation(database: str) -> str:
    size = OrganisationSize(nodes=6, depth=2, employees=20, memberships=3, tasks=10, checkins=50, blockers=5)
    connection = await asyncpg.connect(database)
    try:
        await install_schema(connection)
        await load_rows(connection, generate_organisation(size, seed=1, now=datetime.now(UTC)))
    finally:
        await connection.close()
    return database


def processes(url: Url, sink: MailSink, database: str, reader_port: int, console_port: int) -> list[Process]:
    mail = {"MOMENTUS_MAIL__HOST": "127.0.0.1", "MOMENTUS_MAIL__PORT": str(sink.port), "MOMENTUS_MAIL__TLS": "off"}
    settings = {
        "worker": {"MOMENTUS_POSTGRES_DSN": database, "MOMENTUS_MAIL__MODE": "live", **mail},
        "reader": {"MOMENTUS_READER__PORT": str(reader_port), "MOMENTUS_READER__COPY_MIB": "8"},
        "console": {"MOMENTUS_CONSOLE__PORT": str(console_port)},
    }
    words = {"worker": ["worker"], "reader": ["reader"], "console": ["ops", "console"]}
    ready = {"worker": worker_ready(url("ops")), "reader": http_ok(reader_port), "console": http_ok(console_port)}
    return [
        Process(
            name=name,
            argv=[sys.executable, "-m", *words[name]],
            environment={"MOMENTUS_REDIS_URL": url(name), **settings[name]},
            ready=ready[name],
        )
        for name in words
    ]


@pytest.mark.parametrize("server", ["valkey", pytest.param("redis 7", marks=pytest.mark.long)], indirect=True)
async def test_the_whole_product_runs_under_its_roles_and_redis_refuses_nothing(
    url: Url, organisation: str, smtp_sink: MailSink
) -> None:
    reader_port, console_port = free_port(), free_port()
    async with AsyncExitStack() as stack:
        parts = processes(url, smtp_sink, organisation, reader_port, console_port)
        await stack.enter_async_context(Supervisor(parts))
        await mails_go_out(url, smtp_sink)
        await a_user_reads_a_report(url, reader_port)
        await the_console_shows_it(console_port)
        await operators_look_and_mend(url)
    async with client(url("")) as admin:
        refused = [(line["username"], line["object"]) for line in await admin.acl_log()]
        assert refused == []


async def mails_go_out(url: Url, sink: MailSink) -> None:
    mail = Mail(to="ana@example.com", subject="Hola", text="Buenos días")
    async with Producer.connect(url("producer"), budget=5) as producer:
        await producer.send(mail, key="one")
        await producer.send(mail, key="one")
        item = Mail(to="ana@example.com", template="task_assigned", values={"task": "Cierre", "due": "hoy"})
        for _ in range(2):
            window = timedelta(seconds=1)
            await producer.send_digest(
                Digest(mail=item, collapse="tasks:7", template="tasks_assigned", window=window)
            )
        later = await producer.send(mail, delay=timedelta(hours=1))
        await producer.refresh("management")
        await sink.mailbox.wait_for(2, timeout=30)
        assert later.state == "queued"
    with closing(SyncProducer.connect(url("producer"), budget=5)) as blocking:
        blocking.send(mail)
    await sink.mailbox.wait_for(3, timeout=30)
    async with client(url("producer")) as redis:
        assert await suppress(redis.execute_command, "no@example.com", "unsubscribed", scope="all", by="web")
        weighed = [
            await weigh_refusal(redis.execute_command, f"gone{number}@example.org", by="webhook", account="main")
            for number in range(6)
        ]
    assert (weighed[0], weighed[-1]) == ("suppressed", "doubtful")


async def a_user_reads_a_report(url: Url, port: int) -> None:
    sessions = Sessions.connect(url("sessions"), deadline=LONG)
    old, session = await sessions.create("u-1", {"roots": [1]}, cap=3)
    async with client(url("sessions")) as redis:  # a use that is due
        await redis.hset(session.place.session_key, "t", "1")
    rotated = await sessions.rotate(old)
    assert rotated is not None
    for token in (rotated[0], old):
        async with Client(port, token) as browser:
            await eventually(lambda browser=browser: is_ok(browser), timeout=30)
            assert (await browser.get("/readyz")).body == b"ready\n"
            assert (await browser.get("/openapi.json")).status == 200
    await sessions.revoke(rotated[0])
    await sessions.close()


async def is_ok(browser: Client) -> bool:
    return (await browser.get("/v1/reports/management/1")).status == 200


async def the_console_shows_it(port: int) -> None:
    for path in ("/", "/lanes/mail.normal", "/api/depth"):
        assert await asyncio.to_thread(console_status, port, path) == 200


def console_status(port: int, path: str) -> int:
    with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
        connection.request("GET", path)
        with connection.getresponse() as response:
            response.read()
            return response.status


COMMANDS = (
    ("depth",),
    ("doctor", "--no-login"),
    ("dead",),
    ("parked",),
    ("pause", "mail.bulk"),
    ("resume", "mail.bulk"),
    ("hold", "mail.bulk", "--for", "1m"),
    ("release", "mail.bulk"),
    ("limit", "list"),
    ("mail", "accounts"),
    ("mail", "uncertain"),
    ("mail", "suppressed"),
    ("mail", "suppress", "eva@example.com"),
    ("mail", "unsuppress", "eva@example.com"),
    ("mail", "eta"),
    ("mail", "pause", "default"),
    ("mail", "resume", "default"),
    ("mail", "forget", "ana@example.com"),
    ("revive", "--all", "mail.normal"),
    ("limit", "set", "customer:42", "--rate", "5/1s"),
    ("limit", "remove", "customer:42"),
    ("reports", "status"),
    ("reports", "forget"),
    ("reports", "forget", "former"),
    ("sessions", "token", "wallboard", "--roots", "1"),
    ("sessions", "tokens"),
    ("sessions", "revoke-token", "wallboard"),
    ("sessions", "revoke", "u-1"),
)


async def operators_look_and_mend(url: Url) -> None:
    for words in COMMANDS:
        code, _, err = await run_ops(*words, REDIS_URL=url("ops"))
        assert code in {0, 1}, (words, err)


# What nobody may do

FORBIDDEN = [
    ("KEYS", "*"),
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("CONFIG", "SET", "maxmemory", "1"),
    ("SHUTDOWN", "NOSAVE"),
    ("ACL", "SETUSER", "default", "on"),
    ("MODULE", "LIST"),
    ("SCRIPT", "FLUSH"),
    ("FUNCTION", "LOAD", "x"),
    ("MONITOR",),
    ("SWAPDB", "0", "1"),
    ("MIGRATE", "127.0.0.1", "1", "k", "0", "1"),
    ("GET", "somebody:else"),
    ("SET", "somebody:else", "1"),
    ("RENAME", "arq:queue:{mail}:mail.normal", "arq:queue:{mail}:mail.bulk"),
    ("RENAME", "momentus:{mail}:counters", "momentus:{mail}:limits"),
]
"""For everybody."""

SESSION, EPOCH = "momentus:{s:9370e9b2}:session:x", "momentus:{s:9370e9b2}:epoch:u-17"
SNAPSHOT = "momentus:{reports}:snapshot:default:general"
READS_MAILS = [
    ("GET", "arq:job:x"),
    ("MGET", "arq:job:x", "arq:job:y"),
    ("GETRANGE", "arq:job:x", "0", "-1"),
    ("GETDEL", "arq:job:x"),
    ("SET", "arq:job:x", "", "GET"),
    ("COPY", "arq:job:x", "momentus:{mail}:unique:x"),
    ("DUMP", "arq:job:x"),
    ("SORT", "momentus:{mail}:cancelled", "BY", "nosort", "GET", "arq:job:*"),
    ("GET", "arq:result:x"),
    ("LRANGE", "momentus:{mail}:history:x", "0", "-1"),
    ("SCAN", "0"),
    ("ZRANGE", "arq:queue:{mail}:mail.normal", "0", "-1"),
]
MAKES_SESSIONS = [
    ("HSET", SESSION, "u", "root"),
    ("HSETNX", SESSION, "u", "root"),
    ("RENAME", SESSION, "momentus:{s:9370e9b2}:session:y"),
    ("COPY", SESSION, "momentus:{s:9370e9b2}:session:y"),
    ("RESTORE", SESSION, "0", "x"),
    ("PERSIST", SESSION),
    ("DEL", SESSION),
    ("SET", EPOCH, "0"),
    ("DECR", EPOCH),
    ("DEL", EPOCH),
    ("PEXPIRE", EPOCH, "1"),
    ("ZRANGE", "momentus:{s:9370e9b2}:user:u-17", "0", "-1"),
    ("ZADD", "momentus:{s:9370e9b2}:user:u-17", "1", "x"),
    ("ZREM", "momentus:{s:9370e9b2}:user:u-17", "x"),
]
CHANGES_REPORTS = [
    ("HSET", SNAPSHOT, "1", "{}"),
    ("HDEL", SNAPSHOT, "1"),
    ("DEL", SNAPSHOT),
    ("SET", SNAPSHOT, "x"),
    ("PEXPIRE", SNAPSHOT, "1"),
    ("HSET", "momentus:{reports}:closed:default:general:2026-11-20", "1", "{}"),
    ("HSET", "momentus:{reports}:catalogue:default", "x", "{}"),
    ("PUBLISH", "momentus:{reports}:changed:default", "x"),
]
CHANGES_QUEUES = [
    ("ZADD", "arq:queue:{mail}:mail.normal", "1", "x"),
    ("ZREM", "arq:queue:{reports}:reports", "x"),
    ("SET", "arq:job:x", "{}"),
    ("DEL", "arq:job:x"),
    ("LPUSH", "momentus:{mail}:wake:mail.normal", "1"),
    ("HSET", "momentus:{mail}:counters", "done:mail.normal", "1"),
    ("HSET", "momentus:{mail}:limits", "account:main", "{}"),
    ("HSET", "momentus:{mail}:holds", "lane:mail.normal", "{}"),
    ("HDEL", "momentus:{mail}:suppression", "x"),
]
READS_SESSIONS = [("HGETALL", SESSION), ("HMGET", SESSION, "d"), ("GET", EPOCH)]
READS_REPORTS = [
    ("HGETALL", SNAPSHOT),
    ("HMGET", SNAPSHOT, "1"),
    ("SUBSCRIBE", "momentus:{reports}:changed:default"),
]
RUNS_SCRIPTS = [("EVAL", "return 1", "0"), ("EVALSHA", "0" * 40, "0"), ("SCRIPT", "LOAD", "return 1")]
BEYOND: dict[str, list[tuple[str, ...]]] = {
    "producer": [
        *READS_MAILS,
        *READS_SESSIONS,
        *MAKES_SESSIONS,
        *READS_REPORTS,
        *CHANGES_REPORTS,
        ("HSET", "momentus:{mail}:limits", "account:main", "{}"),
        ("HSET", "momentus:{mail}:holds", "lane:mail.normal", "{}"),
        ("DEL", "momentus:{mail}:counters"),
        ("HGETALL", "momentus:{mail}:sent:1"),
        ("GET", "momentus:{mail}:token:main"),
        ("INFO",),
    ],
    "sessions": [*READS_MAILS, *READS_REPORTS, *CHANGES_REPORTS, *CHANGES_QUEUES, ("HGETALL", SESSION), ("INFO",)],
    "worker": [*READS_SESSIONS, *MAKES_SESSIONS, ("SCAN", "0"), ("INFO",), ("CONFIG", "GET", "requirepass")],
    "reader": [
        *READS_MAILS,
        *MAKES_SESSIONS,
        *CHANGES_REPORTS,
        *CHANGES_QUEUES,
        *RUNS_SCRIPTS,
        ("GET", "momentus:{mail}:counters"),
        ("HGETALL", SESSION),
        ("SET", "momentus:{reports}:prober:default", "x"),
        ("DEL", "momentus:{reports}:wanted:default:general"),
    ],
    "console": [
        *(one for one in READS_MAILS if one[0] != "ZRANGE"),
        *READS_SESSIONS,
        *MAKES_SESSIONS,
        *CHANGES_REPORTS,
        *CHANGES_QUEUES,
        ("HMGET", "momentus:{mail}:digest:x", "items"),
        ("HGETALL", "momentus:{mail}:sent:1"),
        ("HGET", "momentus:{mail}:suppression", "x"),
        ("GET", "momentus:{mail}:token:main"),
        ("INFO",),
    ],
    "ops": [("CONFIG", "SET", "save", ""), ("REPLICAOF", "NO", "ONE"), ("CLIENT", "KILL", "ID", "1")],
}
"""Every act that is not a role's work: role by act."""
_DENIALS = ("permission", "can't run", "can't access", "ACL")
_NOT_IN_SCRIPTS = {"SUBSCRIBE", "SCAN", "SORT", "INFO", "CONFIG"}


async def refusal(redis: Redis, *command: str) -> str:
    """What Redis refuses a command with; empty when it does not."""
    try:
        await redis.execute_command(*command)  # type: ignore[no-untyped-call]  # redis-py's own
    except ResponseError as error:
        return repr(error)
    return ""


@pytest.mark.parametrize("role", [role.name for role in ROLES])
async def test_no_role_may_do_more_than_its_work(url: Url, role: str) -> None:
    async with client(url(role)) as redis:
        for command in [one for one in FORBIDDEN if one[0] != "RENAME" or role != "sessions"] + BEYOND[role]:
            assert "NoPermissionError" in await refusal(redis, *command), f"{role} may {' '.join(command)}"


@pytest.mark.parametrize("role", [role.name for role in ROLES if role.name not in {"reader", "ops"}])
async def test_a_script_gives_its_caller_no_rights(url: Url, role: str) -> None:
    """Whatever is loaded: each command inside is checked as if its caller had sent it."""
    acts = [one for one in BEYOND[role] if one[0] not in _NOT_IN_SCRIPTS]
    async with client(url(role)) as redis:
        digest = await redis.script_load("return redis.call(unpack(ARGV))")
        for command in acts:
            said = await refusal(redis, "EVALSHA", digest, "0", *command)
            assert any(one in said for one in _DENIALS), f"a script of {role} may {' '.join(command)}: {said}"


async def test_a_reader_makes_no_session_that_a_backend_accepts_and_revives_none(url: Url) -> None:
    sessions = Sessions.connect(url("sessions"), deadline=LONG)
    token, session = await sessions.create("u-17", {"roots": [1]})
    old, _ = await sessions.create("u-17", {"roots": [1]})
    assert await sessions.rotate(old, grace=timedelta(milliseconds=1)) is not None
    await sessions.revoke_user("u-17")
    async with client(url("reader")) as reader:
        await reader.pexpire(session.place.session_key, 10**9)
        place = place_of(old)
        assert place is not None
        await reader.pexpire(place.session_key, 10**9)
    assert [await sessions.load(one) for one in (token, old)] == [None, None]
    await sessions.close()


def test_the_file_holds_no_password_and_keeps_those_that_there_are(tmp_path: Path) -> None:
    first, again = list(acl_file(tmp_path / "new")), list(acl_file(tmp_path / "new"))
    assert first == again
    for role in ROLES:
        file = tmp_path / "new" / role.name
        assert file.stat().st_mode & 0o077 == 0
        assert file.read_text().strip() not in "\n".join(first)


def test_a_password_that_can_be_guessed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "producer").write_text("secret")
    with pytest.raises(CommandRefused, match="16"):
        list(acl_file(tmp_path))


async def test_a_server_takes_the_file_as_it_is(
    own_valkey: Callable[..., Awaitable[OwnValkey]], server: Path | None, tmp_path: Path
) -> None:
    lines = [line for line in acl_file(tmp_path) if not line.startswith("user default")]
    file = tmp_path / "users.acl"
    await asyncio.to_thread(file.write_text, "\n".join([*lines, "user default on nopass ~* &* +@all", ""]))
    valkey = await own_valkey("--aclfile", str(file), binary=server)
    password = (tmp_path / "ops").read_text().strip()
    async with Redis.from_url(f"redis://momentus-ops:{password}@127.0.0.1:{valkey.port}/0") as redis:
        assert await redis.ping()
