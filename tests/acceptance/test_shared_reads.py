"""Reads that share round trips: each has its own reply or error; against a real Valkey."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as ConnectionLost, ResponseError

from ops.shared_reads import read_together, share_reads
from tests.support import OwnValkey, eventually


async def test_each_part_has_its_own_replies_and_a_refused_command_fails_its_part_alone(redis: Redis) -> None:
    await redis.hset("numbers", mapping={"one": "1"})
    async with share_reads(redis) as client:
        reads: Any = client
        found: Any = await asyncio.gather(
            reads.hget("numbers", "one"),
            reads.hlen("numbers"),
            reads.llen("numbers"),
            _piped(reads),
            return_exceptions=True,
        )
    one, length, refused, piped = found
    assert (one, length, piped) == (b"1", 1, [b"1", 1])
    assert isinstance(refused, ResponseError)


async def _piped(reads: Any) -> list[object]:
    async with reads.pipeline(transaction=False) as pipe:
        pipe.hget("numbers", "one")
        pipe.hlen("numbers")
        return list(await pipe.execute())


async def test_a_refused_command_of_a_pipeline_is_raised_or_returned_as_redis_py_does(redis: Redis) -> None:
    await redis.hset("numbers", mapping={"one": "1"})
    async with share_reads(redis) as reads, reads.pipeline(transaction=False) as pipe:
        pipe.llen("numbers")
        with pytest.raises(ResponseError):
            await pipe.execute()
        pipe.llen("numbers")
        pipe.hlen("numbers")
        refused, length = await pipe.execute(raise_on_error=False)
    assert isinstance(refused, ResponseError)
    assert length == 1


async def test_the_first_error_ends_the_other_parts(redis: Redis) -> None:
    await redis.set("text", "x")
    ended = asyncio.Event()

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with share_reads(redis) as client:
        reads: Any = client
        with pytest.raises(ResponseError):
            await read_together(waits(), reads.llen("text"))
    assert ended.is_set()


async def test_a_call_under_way_when_reading_ends_gives_its_connection_back(
    own_valkey: Callable[..., Awaitable[OwnValkey]],
) -> None:
    valkey = await own_valkey()
    async with Redis.from_url(valkey.url) as redis:
        await redis.ping()
        valkey.pause()
        async with share_reads(redis) as reads:
            part = asyncio.ensure_future(reads.get("x"))
            await eventually(lambda: redis.connection_pool._in_use_connections)
            part.cancel()
        assert not redis.connection_pool._in_use_connections
        valkey.resume()
        assert await redis.ping()


async def test_without_redis_every_part_fails(own_valkey: Callable[..., Awaitable[OwnValkey]]) -> None:
    valkey = await own_valkey()
    async with Redis.from_url(valkey.url) as redis, share_reads(redis) as client:
        reads: Any = client
        assert await reads.get("x") is None
        await valkey.stop()
        found = await asyncio.gather(reads.get("x"), reads.hgetall("y"), return_exceptions=True)
    assert all(isinstance(one, ConnectionLost) for one in found), found
