"""Tokens of machines: made, listed and revoked by people; they read their subtrees and nothing else."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from redis.asyncio import Redis

from sessions import SERVICE_USER, SessionMiddleware, SessionRefused, Sessions, SyncSessions
from sessions.token import place_of
from tests.command_line import run_ops
from tests.reader_process import REPORT, Client, LastingReaders, document, meta, reader_process
from tests.support import OwnValkey, eventually

DAY = timedelta(days=1)
OwnServer = Callable[..., Awaitable[OwnValkey]]


async def ops(url: str, *words: str) -> tuple[int, str, str]:
    return await run_ops("sessions", *words, REDIS_URL=url, LOG_LEVEL="debug")


async def make(url: str, name: str, *words: str) -> str:
    code, out, err = await ops(url, "token", name, *words)
    assert code == 0, err
    return out.splitlines()[0]


@pytest.fixture
async def redis(valkey_url: str) -> AsyncIterator[Redis]:
    """With what a worker would have stored: 1 above 4 and 5, 9 below 4."""
    client = Redis.from_url(valkey_url)
    await store(client)
    yield client
    await client.aclose()


async def store(redis: Redis) -> None:
    fields: dict[str, bytes] = {}
    for path in ([1], [1, 4], [1, 4, 9], [1, 5]):
        fields |= document(path[-1], path, json.dumps({"scope": path[-1]}).encode())
    await redis.hset(REPORT, mapping=fields | meta(soft_s=3000, hard_s=3000))


async def statuses(port: int, token: str) -> dict[int, int]:
    """What each node answers; asked again while this machine is too busy for Redis to answer in time."""
    async with Client(port, token) as client:

        async def status(scope: int) -> int:
            reply = await client.get(f"/v1/reports/general/{scope}")
            return 0 if reply.problem == "redis-unreachable" else reply.status

        return {scope: await eventually(lambda scope=scope: status(scope)) for scope in (1, 4, 5, 9, 77)}


@pytest.mark.parametrize("copy", ["0", "16"], ids=["redis", "copy"])
async def test_a_machine_reads_its_subtrees_and_nothing_else_until_its_token_is_revoked(
    valkey_url: str, redis: Redis, lasting_readers: LastingReaders, copy: str
) -> None:
    assert redis
    port = await lasting_readers.port(valkey_url, READER__COPY_MIB=copy)
    token = await make(valkey_url, "wallboard", "--roots", "4,77", "--expires", "30")
    assert await statuses(port, token) == {1: 404, 4: 200, 5: 404, 9: 200, 77: 404}
    assert (await ops(valkey_url, "revoke-token", "wallboard"))[0] == 0

    async def refused() -> bool:
        return set((await statuses(port, token)).values()) == {401}

    if copy == "0":
        assert await refused(), "at once"
    await eventually(refused)


async def test_a_revoked_token_of_a_machine_is_refused_on_the_very_next_request(
    valkey_url: str, redis: Redis, lasting_readers: LastingReaders
) -> None:
    """On a connection that has just been answered."""
    assert redis
    sessions = Sessions.connect(valkey_url, deadline=timedelta(seconds=10))
    token, _ = await sessions.create_service("wallboard", [1], lasts=DAY)
    port = await lasting_readers.port(valkey_url, READER__COPY_MIB="0")
    async with Client(port, token) as client:

        async def served() -> bool:
            return (await client.get("/v1/reports/general/9")).status == 200

        await eventually(served)
        assert await sessions.revoke(token)
        assert (await client.get("/v1/reports/general/9")).status in {401, 503}
        assert await eventually(lambda: is_refused(client))
    await sessions.close()


async def test_a_machine_may_read_below_nodes_whose_ids_are_texts(valkey_url: str) -> None:
    unit = UUID("0b7f0c3e-1d6b-4a53-8a0e-0f3a4f1c9a55")
    sessions = Sessions.connect(valkey_url, deadline=timedelta(seconds=10))
    _, made = await sessions.create_service("wallboard", [unit, "ventas", 7], lasts=DAY)
    assert made.data == {"roots": [7, str(unit), "ventas"]}
    for wrong in ("ventas/norte", "", "..", 0, 2**63):
        with pytest.raises(SessionRefused, match=r"^roots: "):
            await sessions.create_service("wallboard", [wrong], lasts=DAY)
    await sessions.close()


async def is_refused(client: Client) -> bool:
    reply = await client.get("/v1/reports/general/9")
    assert reply.status in {401, 503}
    return reply.status == 401


async def test_the_token_of_a_machine_stands_in_no_log_and_nothing_that_redis_writes(
    own_valkey: OwnServer, tmp_path: Path
) -> None:
    """Not in the AOF, the slow log or what MONITOR shows, while it is made, used, listed and revoked."""
    valkey = await own_valkey("--appendonly", "yes", "--appendfsync", "always", "--slowlog-log-slower-than", "0")
    said: list[str] = []
    async with Redis.from_url(valkey.url) as redis, redis.monitor() as monitor:
        await store(redis)
        watching = asyncio.create_task(watch(monitor, said))
        async with reader_process(valkey.url, tmp_path / "log", LOG_LEVEL="debug") as port:
            token = await make(valkey.url, "wallboard", "--roots", "4")
            assert (await statuses(port, token))[4] == 200
            listed = await ops(valkey.url, "tokens")
            revoked = await ops(valkey.url, "revoke-token", "wallboard")
        await redis.set("last", "word")
        await eventually(lambda: any("last" in line for line in said))
        watching.cancel()
        slow = repr(await redis.execute_command("SLOWLOG", "GET", "-1"))
    place = place_of(token)
    assert place is not None
    on_disk = b"".join(file.read_bytes() for file in valkey.directory.rglob("*") if file.is_file()).decode(
        "latin-1"
    )
    secret = token.rpartition(".")[2]
    everything = {
        "AOF": on_disk,
        "slow log": slow,
        "monitor": "\n".join(said),
        "reader": (tmp_path / "log").read_text(),
        "ops": repr((listed, revoked)),
    }
    for name in ("AOF", "slow log", "monitor"):
        assert place.digest in everything[name], f"{name}: the search looks at the right place"
    assert not [name for name, text in everything.items() if secret in text]


async def watch(monitor: Any, said: list[str]) -> None:
    async for command in monitor.listen():
        said += [command["command"]]


async def test_tokens_of_machines_are_listed_with_what_they_may_and_never_shown_again(valkey_url: str) -> None:
    first = await make(valkey_url, "wallboard", "--roots", "4,1")
    code, out, _ = await ops(valkey_url, "token", "export", "--roots", "9", "--expires", "1", "--json")
    second = json.loads(out)["token"]
    code, out, _ = await ops(valkey_url, "tokens")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["export", "wallboard"]
    _, facts, _ = await ops(valkey_url, "tokens", "--json")
    assert {one["name"]: one["roots"] for one in json.loads(facts)["tokens"]} == {
        "export": [9],
        "wallboard": [1, 4],
    }
    assert not [token for token in (first, second) if token.rpartition(".")[2] in out + facts]


async def test_a_token_is_replaced_without_a_gap(valkey_url: str) -> None:
    """Two of one name live side by side until the old one is revoked by its digits."""
    sessions = Sessions.connect(valkey_url, deadline=timedelta(seconds=10))
    old, new = [await make(valkey_url, "wallboard", "--roots", "4") for _ in range(2)]
    place = place_of(old)
    assert place is not None
    assert (await ops(valkey_url, "revoke-token", "wallboard", "--token", ""))[0] == 2, "which one?"
    assert (await ops(valkey_url, "revoke-token", "wallboard", "--token", place.digest[:12]))[0] == 0
    assert await sessions.load(old) is None
    assert await sessions.load(new) is not None
    assert (await ops(valkey_url, "revoke-token", "nobody"))[0] == 1
    await sessions.close()


async def test_a_token_of_a_machine_has_no_idle_limit_but_an_end(valkey_url: str) -> None:
    sessions = Sessions.connect(valkey_url, deadline=timedelta(seconds=10))
    token, made = await sessions.create_service("wallboard", [1], lasts=30 * DAY)
    async with Redis.from_url(valkey_url) as redis:
        await redis.hset(made.place.session_key, "t", 0)  # as if it had not been used since 1970
        assert made.idle == made.expires_at - made.created_at == 30 * DAY
        assert 29 * DAY < timedelta(milliseconds=await redis.pttl(made.place.session_key)) <= 30 * DAY
        await redis.hset(made.place.session_key, "t", int(made.created_at.timestamp() * 1000))
        assert await sessions.load(token) is not None
        await redis.hset(made.place.session_key, "a", 1)
        assert await sessions.load(token) is None, "past its end, however it was used"
    await sessions.close()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["wallboard"], "--roots"),
        (["wallboard", "--roots", ""], "node ids"),
        (["wallboard", "--roots", "1,a b"], "node ids"),
        (["wallboard", "--roots", "9223372036854775808"], "2^63-1"),
        (["a name", "--roots", "1"], "name"),
        (["wallboard", "--roots", "1", "--expires", "0"], "days"),
        (["wallboard", "--roots", "1", "--expires", "100000"], "days"),
    ],
)
async def test_a_token_that_nobody_should_have_is_refused_with_the_reason(
    valkey_url: str, words: list[str], named: str
) -> None:
    code, out, err = await ops(valkey_url, "token", *words)
    assert (code, out) == (2, "")
    assert named in err
    assert "Traceback" not in err


def test_no_person_is_taken_for_a_machine_and_there_are_not_too_many(valkey_url: str) -> None:
    sessions = SyncSessions.connect(valkey_url, deadline=timedelta(seconds=10))
    with pytest.raises(SessionRefused, match="machines"):
        sessions.create(SERVICE_USER, {"roots": [1]})
    for number in range(100):
        sessions.create_service(f"machine-{number}", [1], lasts=DAY)
    with pytest.raises(SessionRefused, match="100"):
        sessions.create_service("one-more", [1], lasts=DAY)
    assert len(sessions.sessions_of(SERVICE_USER)) == 100
    sessions.close()


async def test_an_application_for_people_does_not_let_a_machine_in(valkey_url: str) -> None:
    sessions = Sessions.connect(valkey_url, deadline=timedelta(seconds=10))
    token, _ = await sessions.create_service("wallboard", [1], lasts=DAY)
    seen: list[object] = []

    async def application(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(await scope["session"].load())

    async def nothing(*_: object) -> Any:
        raise AssertionError("nothing is sent or received")

    cookie = [(b"cookie", f"__Host-momentus={token}".encode())]
    await SessionMiddleware(application, sessions)({"type": "http", "headers": cookie}, nothing, nothing)
    assert seen == [None]
    await sessions.close()
