"""Every role can do its work with its own Redis user, and nothing else."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from jobs import Mail
from ops.acl import ROLES, acl_file, user_line
from ops.command import Refused
from ops.depth import read_depth
from ops.holds import hold, release
from producers import Producer
from reader.connection import Connection
from reader.copy import Copy
from reader.guard import Guard
from reader.handler import Reader
from reader.message import Listed, Request
from reader.report import Reports
from reader.store import Store
from sessions import Sessions
from tests.notes import LANE, Note, running
from tests.support import OwnValkey, eventually
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler

PASSWORD = "p" * 32
LONG = timedelta(seconds=10)

Url = Callable[[str], str]


@pytest.fixture
async def url(own_valkey: Callable[..., Awaitable[OwnValkey]]) -> Url:
    """The address for a role, on a server that knows all of them."""
    valkey = await own_valkey()
    async with Redis.from_url(valkey.url) as admin:
        for role in ROLES:
            words = user_line(role, hashlib.sha256(PASSWORD.encode()).hexdigest()).split()
            await admin.execute_command("ACL", "SETUSER", *words[1:])
    return lambda role: f"redis://momentus-{role}:{PASSWORD}@127.0.0.1:{valkey.port}/0"


async def test_a_backend_queues_and_takes_back(url: Url) -> None:
    async with Producer.connect(url("producer"), budget=5) as producer:
        mail = Mail(to="ana@example.com", subject="Hola", text="Buenos días")
        receipt = await producer.send(mail, key="one", delay=timedelta(hours=1))
        await producer.send_many([mail, mail])
        await producer.refresh("management")
        assert await producer.cancel(receipt.id) == "cancelled"


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
    async with Redis.from_url(url("worker")) as worker:
        await worker.hset(key, mapping={"1": b"{}", "head:1": head, "_meta": meta})
    copy = Copy(octets=100_000)
    connection = Connection(url("reader"), deadline=LONG, copy=copy)
    guard, store = Guard(connection, copy), Store(connection, tenant="default", copy=copy)
    reader = Reader(store, Reports(store, guard), guard)
    fields = Listed([("authorization", f"Bearer {token}")])
    for _ in range(3):
        answer = await reader.answer(Request(method="GET", path="/v1/reports/general/1", fields=fields))
        assert (answer.status, answer.outcome) == (200, "stale")
    async with Redis.from_url(url("ops")) as ops:
        assert await eventually(lambda: ops.exists("momentus:{reports}:wanted:default:general"))
    await connection.close()


async def test_the_console_counts_and_people_hold_lanes(url: Url) -> None:
    async with Redis.from_url(url("console")) as console, Redis.from_url(url("ops")) as ops:
        await hold(ops, "mail.bulk", reason="figures", lasting=None)
        depth = await read_depth(console, tenant="default")
        assert depth.conserved
        await release(ops, "mail.bulk")


FORBIDDEN = [
    ("KEYS", "*"),
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("CONFIG", "SET", "maxmemory", "1"),
    ("SHUTDOWN", "NOSAVE"),
    ("ACL", "SETUSER", "default", "on"),
    ("MODULE", "LIST"),
    ("SCRIPT", "FLUSH"),
    ("SWAPDB", "0", "1"),
    ("MIGRATE", "127.0.0.1", "1", "k", "0", "1"),
    ("GET", "somebody:else"),
    ("SET", "somebody:else", "1"),
]
"""For everybody."""

BEYOND = [
    ("producer", ("GET", "momentus:{s:9370e9b2}:epoch:u-17")),
    ("producer", ("SUBSCRIBE", "momentus:{reports}:changed:default")),
    ("sessions", ("HGETALL", "momentus:{reports}:snapshot:default:general")),
    ("sessions", ("ZADD", "arq:queue:{mail}:mail.normal", "1", "x")),
    ("worker", ("HGETALL", "momentus:{s:9370e9b2}:session:x")),
    ("reader", ("HSET", "momentus:{reports}:snapshot:default:general", "1", "{}")),
    ("reader", ("DEL", "momentus:{reports}:snapshot:default:general")),
    ("reader", ("GET", "momentus:{mail}:counters")),
    ("reader", ("ZADD", "arq:queue:{reports}:reports", "1", "x")),
    ("reader", ("PUBLISH", "momentus:{reports}:changed:default", "x")),
    ("console", ("ZADD", "arq:queue:{mail}:mail.normal", "1", "x")),
    ("console", ("DEL", "arq:job:x")),
    ("console", ("HGETALL", "momentus:{s:9370e9b2}:session:x")),
    ("ops", ("CONFIG", "SET", "save", "")),
]


@pytest.mark.parametrize("role", [role.name for role in ROLES])
async def test_no_role_may_look_beyond_our_keys_or_change_the_server(url: Url, role: str) -> None:
    async with Redis.from_url(url(role)) as redis:
        for command in FORBIDDEN:
            with pytest.raises(NoPermissionError):
                await redis.execute_command(*command)


async def test_no_role_may_do_the_work_of_another(url: Url) -> None:
    for role, command in BEYOND:
        async with Redis.from_url(url(role)) as redis:
            with pytest.raises(NoPermissionError):
                await redis.execute_command(*command)


def test_the_file_holds_no_password_and_keeps_those_that_there_are(tmp_path: Path) -> None:
    first, again = list(acl_file(tmp_path / "new")), list(acl_file(tmp_path / "new"))
    assert first == again
    for role in ROLES:
        file = tmp_path / "new" / role.name
        assert file.stat().st_mode & 0o077 == 0
        assert file.read_text().strip() not in "\n".join(first)


def test_a_password_that_can_be_guessed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "producer").write_text("secret")
    with pytest.raises(Refused, match="16"):
        list(acl_file(tmp_path))


async def test_a_server_takes_the_file_as_it_is(
    own_valkey: Callable[..., Awaitable[OwnValkey]], tmp_path: Path
) -> None:
    lines = [line for line in acl_file(tmp_path) if not line.startswith("user default")]
    file = tmp_path / "users.acl"
    await asyncio.to_thread(file.write_text, "\n".join([*lines, "user default on nopass ~* &* +@all", ""]))
    valkey = await own_valkey("--aclfile", str(file))
    password = (tmp_path / "ops").read_text().strip()
    async with Redis.from_url(f"redis://momentus-ops:{password}@127.0.0.1:{valkey.port}/0") as redis:
        assert await redis.ping()
