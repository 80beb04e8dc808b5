"""A session's token is in no file: neither in what Redis writes to disk nor in the log of the reader."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from redis.asyncio import Redis

from sessions import Sessions
from tests.reader_process import REPORT, Client, document, meta, reader_process
from tests.support import OwnValkey, eventually

URL = "/v1/reports/general/17"


async def test_no_token_is_in_a_file_of_redis_or_in_the_log_of_the_reader(
    own_valkey: Callable[..., Awaitable[OwnValkey]], tmp_path: Path
) -> None:
    """A session's whole life, a forged token, Redis lost in between; the log is at its most talkative."""
    valkey = await own_valkey()
    log = tmp_path / "log"
    async with Redis.from_url(valkey.url) as redis:
        await redis.hset(REPORT, mapping=document(17, [1, 17], b"{}") | meta())
        sessions = Sessions.connect(valkey.url)
        token, session = await sessions.create("u-17", {"roots": [1]}, label="here-we-search")
        session = await sessions.save(session, {"roots": [1], "note": "here-we-search"})
        rotated = await sessions.rotate(token)
        assert rotated is not None
        tokens = [token, rotated[0], "ms1.00000000." + "A" * 43]
        async with reader_process(valkey.url, log, READER__COPY_MIB="4", LOG_LEVEL="debug") as port:
            for one in tokens:
                await ask(port, one, {200, 401})
            await valkey.restart()
            await eventually(redis.ping)
            for one in tokens:
                await ask(port, one, {200, 401})
            await redis.hset(REPORT, "_meta", b"not in the agreed format")
            await ask(port, tokens[1], {503})
        await sessions.revoke(rotated[0])
        await sessions.close()
        await redis.config_set("rdbcompression", "no")
        await redis.save()
    files = await asyncio.to_thread(contents, [*valkey.directory.rglob("*"), log])
    assert {".aof", ".rdb"} <= {path.suffix for path in files}
    assert b"here-we-search" in b"".join(files.values()), "the search finds what is there"
    assert b"agreed format" in files[log], "and the log has its lines"
    secrets = [one.rpartition(".")[2].encode() for one in tokens]
    assert not [path for path, octets in files.items() if any(one in octets for one in secrets)]


async def ask(port: int, token: str, statuses: set[int]) -> None:
    """Ask, by both ways to send a token, until the answer is one of these."""
    async with Client(port, token) as bearer, Client(port) as cookie:

        async def answered() -> bool:
            replies = [await bearer.get(URL), await cookie.get(URL, Cookie=f"__Host-momentus={token}")]
            return all(reply.status in statuses for reply in replies)

        assert await eventually(answered)


def contents(paths: list[Path]) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in paths if path.is_file()}
