"""That all sessions of a user were ended outlives a Redis that forgets its last writes."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import closing
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from redis.asyncio import Redis

from sessions import Sessions, SyncSessions
from sessions.epochs_postgres import DurableEpochs
from sessions.token import epoch_key

LONG = timedelta(seconds=10)


@pytest.fixture
async def epochs(database: str) -> AsyncIterator[DurableEpochs]:
    async with asyncpg.create_pool(database, min_size=1, max_size=2) as pool:
        it = DurableEpochs(pool)
        await it.install()
        await it.install()
        yield it


@pytest.fixture
async def sessions(valkey_url: str, epochs: DurableEpochs) -> AsyncIterator[Sessions]:
    it = Sessions.connect(valkey_url, deadline=LONG, epochs=epochs)
    yield it
    await it.close()


async def test_a_leavers_session_stays_ended_after_redis_was_restored_from_an_old_backup(
    sessions: Sessions, valkey_url: str
) -> None:
    token, session = await sessions.create("u-17", {"roots": [1]})
    other, _ = await sessions.create("u-18", {})
    async with Redis.from_url(valkey_url) as redis:
        backup = {key: await redis.dump(key) for key in (session.place.session_key,)}
        await sessions.revoke_user("u-17")
        await redis.delete(epoch_key("u-17"))
        for key, content in backup.items():
            await redis.restore(key, 60_000, content, replace=True)
    assert await sessions.load(token) is not None, "the backup is older than the end"
    assert await sessions.restore_epochs() == 1
    assert await sessions.load(token) is None
    assert await sessions.load(other) is not None
    assert await sessions.restore_epochs() == 0


class EpochsForThreads:
    """The same epochs for a thread, over the loop that has their connections."""

    def __init__(self, epochs: DurableEpochs) -> None:
        self._epochs, self._loop = epochs, asyncio.get_running_loop()

    def _wait(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def begin(self, user: str) -> int:
        return int(self._wait(self._epochs.begin(user)))

    def end(self, user: str, epoch: int) -> None:
        self._wait(self._epochs.end(user, epoch))

    def all(self) -> list[tuple[str, int]]:
        return list(self._wait(self._epochs.all()))


async def test_without_asyncio_what_was_ended_is_restored_too(valkey_url: str, epochs: DurableEpochs) -> None:
    with closing(SyncSessions.connect(valkey_url, deadline=LONG, epochs=EpochsForThreads(epochs))) as sessions:
        await asyncio.to_thread(sessions.create, "u-17", {"roots": [1]})
        assert await asyncio.to_thread(sessions.revoke_user, "u-17") == 1
        async with Redis.from_url(valkey_url) as redis:
            await redis.delete(epoch_key("u-17"))
        assert await asyncio.to_thread(sessions.restore_epochs) == 1
        assert await asyncio.to_thread(sessions.restore_epochs) == 0
        assert await epochs.all() == [("u-17", 1)]


async def test_the_epoch_never_goes_back_whoever_forgot(
    sessions: Sessions, epochs: DurableEpochs, valkey_url: str
) -> None:
    assert [await sessions.revoke_user("u-17") for _ in range(3)] == [1, 2, 3]
    async with Redis.from_url(valkey_url) as redis:
        await redis.delete(epoch_key("u-17"))
        assert await sessions.revoke_user("u-17") == 4
        await redis.set(epoch_key("u-17"), 9)
        assert await sessions.revoke_user("u-17") == 10
    assert await epochs.all() == [("u-17", 10)]


async def test_without_postgres_nothing_is_ended_by_halves(sessions: Sessions, database: str) -> None:
    token, _ = await sessions.create("u-17", {})
    connection = await asyncpg.connect(database)
    await connection.execute("DROP TABLE momentus.session_epochs")
    await connection.close()
    with pytest.raises(asyncpg.PostgresError):
        await sessions.revoke_user("u-17")
    assert await sessions.load(token) is not None
