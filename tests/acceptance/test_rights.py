"""A user of Redis without some right: nothing is believed that Redis did not agree to, and the right is named."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from redis.asyncio import Redis

from ops.acl import ROLES, user_line
from ops.depth.read import read_depth
from ops.doctor.redis_facts import gather_redis
from producers import NotEnqueued, Producer, SyncProducer
from producers.link.client import connect
from reader.guard_of_cluster import ClusterGuard
from sessions import Sessions, SessionsUnavailable, SyncSessions
from sessions.token import new_token
from tests.command_line import run_ops
from tests.notes import LANE, Note, running
from tests.reader_process import REPORT, Client, document, meta, reader_process
from tests.support import OwnValkey, eventually
from tests.topologies import cluster, sentinels
from worker.engine import LaneSlots, Worker
from worker.engine.handler import handler

Limited = Callable[..., Awaitable[str]]
PASSWORD = "p" * 32


@pytest.fixture
async def valkey(own_valkey: Callable[..., Awaitable[OwnValkey]]) -> OwnValkey:
    return await own_valkey()


@pytest.fixture
async def admin(valkey: OwnValkey) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey.url) as client:
        yield client


@pytest.fixture
async def limited(valkey: OwnValkey, admin: Redis) -> Limited:
    """The address of a user who may do everything but these commands."""

    async def make(*commands: str) -> str:
        rules = ["on", f">{PASSWORD}", "~*", "&*", "+@all", *(f"-{one}" for one in commands)]
        await admin.execute_command("ACL", "SETUSER", "limited", *rules)  # type: ignore[no-untyped-call]
        return f"redis://limited:{PASSWORD}@127.0.0.1:{valkey.port}/0"

    return make


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, object]]]:
    """What the worker says, by event."""
    said: list[tuple[str, dict[str, object]]] = []
    for module in ("wake", "pump", "lease"):
        monkeypatch.setattr(
            f"worker.engine.{module}.emit", lambda event, **fields: said.append((str(event), fields))
        )
    return said


# The reader


@pytest.mark.parametrize("lacking", ["client", "client|tracking"])
async def test_a_reader_that_is_told_of_no_changes_keeps_no_copy_and_says_why(
    valkey: OwnValkey, limited: Limited, tmp_path: Path, lacking: str
) -> None:
    await it_keeps_no_copy(valkey, await limited(lacking), tmp_path / "log")


async def test_a_reader_whose_server_says_yes_to_tracking_and_can_push_nothing_keeps_no_copy(
    own_valkey: Callable[..., Awaitable[OwnValkey]], tmp_path: Path
) -> None:
    """Without RESP3 the answer to CLIENT TRACKING is OK, and nothing is told."""
    valkey = await own_valkey("--rename-command", "HELLO", "")
    await it_keeps_no_copy(valkey, valkey.url, tmp_path / "log")


async def it_keeps_no_copy(valkey: OwnValkey, address: str, log: Path) -> None:
    """What is replaced is seen at once, a log-out is one at once, and the reason is told."""
    sessions = Sessions.connect(valkey.url, deadline=timedelta(seconds=10))
    token, _ = await sessions.create("u-17", {"roots": [1]})
    async with (
        Redis.from_url(valkey.url) as admin,
        reader_process(address, log, READER__COPY_MIB="8") as port,
        Client(port, token) as client,
    ):
        await admin.hset(REPORT, mapping=document(1, [1], b'{"n":1}') | meta(soft_s=300, hard_s=3000))

        async def found() -> bytes:
            return (await client.get("/v1/reports/general/1")).body

        for _ in range(5):
            assert await eventually(found) == b'{"n":1}'
        await admin.hset(REPORT, mapping=document(1, [1], b'{"n":2}', etag="1" * 16))
        assert await found() == b'{"n":2}'
        ready = await client.get("/readyz")
        assert (ready.status, b"without a copy" in ready.body) == (200, True)
        await sessions.revoke(token)
        assert (await client.get("/v1/reports/general/1")).status == 401
    assert b"CLIENT TRACKING: refused" in await asyncio.to_thread(log.read_bytes)
    await sessions.close()


async def test_a_reader_that_may_not_subscribe_says_so(limited: Limited, tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with reader_process(await limited("subscribe"), log):

        async def told() -> bool:
            return b"lacks +subscribe" in await asyncio.to_thread(log.read_bytes)

        assert await eventually(told)


async def test_a_reader_keeps_its_copy_once_it_is_told_of_changes(
    valkey: OwnValkey, admin: Redis, limited: Limited, tmp_path: Path
) -> None:
    await admin.hset(REPORT, mapping=document(1, [1], b'{"n":1}') | meta(soft_s=300, hard_s=3000))
    sessions = Sessions.connect(valkey.url, deadline=timedelta(seconds=10))
    token, _ = await sessions.create("u-17", {"roots": [1]})
    address = await limited()
    async with (
        reader_process(address, tmp_path / "log", READER__COPY_MIB="8") as port,
        Client(port, token) as client,
    ):

        async def from_copy() -> bool:
            reply = await client.get("/v1/reports/general/1")
            return "copy" in reply.headers.get("server-timing", "")

        assert await eventually(from_copy)
        assert (await client.get("/readyz")).body == b"ready\n"
    await sessions.close()


# The worker


async def test_a_worker_without_client_id_reads_on_and_says_which_right_it_lacks(
    valkey: OwnValkey, admin: Redis, limited: Limited, told: list[tuple[str, dict[str, object]]]
) -> None:
    seen: list[str] = []

    async def take(_context: dict[str, object], text: str) -> None:
        seen.append(text)

    url = await limited("client")
    worker = Worker([handler(take, kind=Note.kind)], redis_url=url, lanes=[LaneSlots(LANE, 5)])

    async def reads() -> int:
        stats = await admin.info("commandstats")
        return int(stats.get("cmdstat_blpop", {}).get("calls", 0))

    async with running(worker), Producer.connect(valkey.url, budget=5) as producer:
        await producer.send(Note("now"))
        await eventually(lambda: seen == ["now"])
        connections = (await admin.info("stats"))["total_connections_received"]
        before = await reads()

        async def three_more() -> bool:
            return await reads() >= before + 3

        await eventually(three_more)
        assert (await admin.info("stats"))["total_connections_received"] == connections
    refused = [fields["right"] for event, fields in told if event == "redis.refused"]
    assert refused == ["+client|id"]


async def test_a_worker_without_blpop_finds_its_jobs_all_the_same(
    valkey: OwnValkey, limited: Limited, told: list[tuple[str, dict[str, object]]]
) -> None:
    seen: list[str] = []

    async def take(_context: dict[str, object], text: str) -> None:
        seen.append(text)

    worker = Worker([handler(take, kind=Note.kind)], redis_url=await limited("blpop"), lanes=[LaneSlots(LANE, 5)])
    async with running(worker), Producer.connect(valkey.url, budget=5) as producer:
        await producer.send(Note("now"))
        await eventually(lambda: seen == ["now"])
    assert ("redis.refused", {"right": "+blpop", "part": "the wake-up"}) in told


async def test_a_worker_whose_scripts_are_refused_does_not_take_its_lane_for_broken(
    limited: Limited, told: list[tuple[str, dict[str, object]]]
) -> None:
    url = await limited("zrange")

    async def take(_context: dict[str, object], text: str) -> None: ...

    worker = Worker([handler(take, kind=Note.kind)], redis_url=url, lanes=[LaneSlots(LANE, 5)])
    async with running(worker):
        await eventually(lambda: any(event == "redis.refused" for event, _ in told))
    assert not [event for event, _ in told if event == "lane.broken"]


# The doctor


async def test_the_doctor_names_the_rights_that_are_missing_and_looks_at_the_rest(
    limited: Limited,
) -> None:
    url = await limited("info", "config", "client")
    code, out, _ = await run_ops("doctor", "--no-login", "--json", REDIS_URL=url)
    found = json.loads(out)["findings"]
    assert code == 1, "no worker runs"
    codes = {one["code"] for one in found}
    assert "redis.away" not in codes
    assert {"workers.none", "jobs.conserved", "redis.clock_right"} <= codes
    rights = {one["values"]["right"] for one in found if one["code"] == "redis.no_right"}
    assert rights == {"+info", "+config|get", "+client|id", "+client|unblock", "+client|tracking"}


async def test_the_doctor_tells_a_wrong_password_from_a_redis_that_is_away(
    limited: Limited,
) -> None:
    wrong = (await limited()).replace(PASSWORD, "x" * 32)
    _, out, _ = await run_ops("doctor", "--no-login", "--json", REDIS_URL=wrong)
    (found,) = [one for one in json.loads(out)["findings"] if one["where"] == "redis"]
    assert (found["code"], "password" in found["cause"]) == ("redis.no_right", True)


async def test_a_user_with_all_rights_lacks_none(limited: Limited) -> None:
    url = await limited()
    async with Redis.from_url(url) as redis:
        assert (await gather_redis(redis, url, tenant="default")).lacking == ()


async def test_a_command_that_is_refused_does_not_say_that_redis_is_away(limited: Limited) -> None:
    code, _, err = await run_ops("depth", REDIS_URL=await limited("evalsha", "eval"))
    assert code == 3
    assert "lacks +evalsha" in err
    assert "does not answer" not in err


# Behind sentinels, and on a cluster


async def test_who_may_not_ask_for_the_role_behind_sentinels_is_told_that() -> None:
    async with sentinels() as three:
        for port in three.nodes.values():
            async with Redis(port=port) as admin:
                rules = ["on", f">{PASSWORD}", "~*", "&*", "+@all", "-role"]
                await admin.execute_command("ACL", "SETUSER", "limited", *rules)  # type: ignore[no-untyped-call]
        url = three.url.replace("sentinel://", f"sentinel://limited:{PASSWORD}@")
        async with Producer.connect(url, budget=5) as producer:
            with pytest.raises(NotEnqueued, match=r"\+role"):
                await producer.send(Note("x"))
        with SyncProducer.connect(url, budget=5) as blocking, pytest.raises(NotEnqueued, match="role"):
            await asyncio.to_thread(blocking.send, Note("x"))
        plain = SyncSessions.connect(url, deadline=timedelta(seconds=5))
        with closing(plain), pytest.raises(SessionsUnavailable, match="role"):
            await asyncio.to_thread(plain.load, new_token("u-17"))
        sessions = Sessions.connect(url, deadline=timedelta(seconds=5))
        with pytest.raises(SessionsUnavailable, match="role"):
            await sessions.load(new_token("u-17"))
        await sessions.close()


async def test_on_a_cluster_each_role_does_its_work_under_its_user() -> None:
    async with cluster() as three:
        for port in three.nodes.values():
            async with Redis(port=port) as admin:
                for role in ROLES:
                    words = user_line(role, hashlib.sha256(PASSWORD.encode()).hexdigest()).split()
                    await admin.execute_command("ACL", "SETUSER", *words[1:])  # type: ignore[no-untyped-call]

        def url(role: str) -> str:
            return three.url.replace("cluster://", f"cluster://momentus-{role}:{PASSWORD}@")

        async with Producer.connect(url("producer"), budget=5) as producer:
            receipt = await producer.send(Note("x"), delay=timedelta(hours=1))
            assert await producer.cancel(receipt.id) == "cancelled"
        sessions = Sessions.connect(url("sessions"), deadline=timedelta(seconds=10))
        old, session = await sessions.create("u-17", {"roots": [17]}, idle=timedelta(hours=1))
        async with connect(three.url) as admin:
            await admin.hset(session.place.session_key, "t", "1")
            await admin.pexpire(session.place.session_key, 60_000)
        rotated = await sessions.rotate(old)
        assert rotated is not None
        guard = ClusterGuard(url("reader"), deadline=timedelta(seconds=10))
        for token in (rotated[0], old):
            asked = await guard.send_query(token)
            assert asked is not None
            assert await guard.roots(token, asked) == {"17"}

        async def is_slid() -> bool:
            async with connect(three.url) as admin:
                return bool(await admin.pttl(rotated[1].place.session_key) > 60_000)

        assert await eventually(is_slid)
        await sessions.revoke_user("u-17")
        asked = await guard.send_query(old)
        assert asked is not None
        assert await guard.roots(old, asked) is None
        await guard.close()
        await sessions.close()
        async with connect(url("console")) as console:
            assert (await read_depth(console, tenant="default")).conserved
