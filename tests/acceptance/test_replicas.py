"""With `confirm_replicas`: what a failover may not lose is on a replica before anybody acts on it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from jobs import Mail
from jobs.lanes import MAIL_NORMAL
from ops.mail.trace import trace_mail
from producers import Producer, SyncProducer
from producers.confirm import NotConfirmed
from producers.keys import LaneKeys
from tests.delivering import delivering
from tests.notes import Note
from tests.provider import Provider
from tests.support import OwnValkey, eventually

KEYS = LaneKeys(MAIL_NORMAL)
LETTERS = [Mail(to=f"u{number}@example.com", subject="Hola", text="Hola", stream="code") for number in range(20)]


@dataclass(frozen=True, slots=True)
class Pair:
    """A primary and the replica that follows it."""

    primary: OwnValkey
    replica: OwnValkey
    redis: Redis

    async def done(self) -> int:
        """How many mails are."""
        return int(await self.redis.hget(KEYS.counters, f"done:{MAIL_NORMAL}") or 0)


@pytest.fixture
async def pair(own_valkey: Callable[..., Awaitable[OwnValkey]]) -> AsyncIterator[Pair]:
    primary = await own_valkey("--repl-diskless-sync-delay", "0")
    replica = await own_valkey("--replicaof", "127.0.0.1", str(primary.port))
    async with Redis.from_url(primary.url) as redis:
        await eventually(lambda: follows(redis))
        yield Pair(primary, replica, redis)


async def follows(redis: Redis) -> bool:
    return [one["state"] for one in (await redis.info("replication")).values() if isinstance(one, dict)] == [
        "online"
    ]


# Marks


async def test_mails_leave_once_their_marks_are_on_a_replica(pair: Pair) -> None:
    async with Provider() as provider, Producer.connect(pair.primary.url, budget=5) as producer:
        await producer.send_many(LETTERS)
        async with delivering(pair.primary.url, provider, confirm_replicas=1):
            await eventually(lambda: provider.accepted == len(LETTERS))
            await eventually(lambda: all_done(pair))
        assert not provider.duplicates


async def all_done(pair: Pair) -> bool:
    return await pair.done() == len(LETTERS)


async def test_while_no_replica_has_a_mark_its_mail_stays_uncharged_and_certain(pair: Pair) -> None:
    """And it leaves when the replica answers again."""
    async with Provider() as provider, Producer.connect(pair.primary.url, budget=5) as producer:
        pair.replica.pause()
        try:
            receipts = await producer.send_many(LETTERS)
            async with delivering(pair.primary.url, provider, confirm_replicas=1):
                await eventually(lambda: pair.redis.llen(KEYS.history(receipts[0].id)))
                found = await trace_mail(pair.redis, receipts[0].id)
                assert "mark: Redis did not confirm it (Unconfirmed" in found.words
                assert provider.accepted == 0
                assert not await pair.redis.exists(f"arq:retry:{receipts[0].id}", KEYS.uncertain)
                pair.replica.resume()
                await eventually(lambda: all_done(pair), timeout=20)
        finally:
            pair.replica.resume()
        assert not await pair.redis.exists(KEYS.uncertain)
        assert not provider.duplicates


async def test_without_it_mails_do_not_wait_for_a_replica(pair: Pair) -> None:
    async with Provider() as provider, Producer.connect(pair.primary.url, budget=5) as producer:
        pair.replica.pause()
        try:
            await producer.send_many(LETTERS)
            async with delivering(pair.primary.url, provider):
                await eventually(lambda: all_done(pair))
        finally:
            pair.replica.resume()


# Jobs


async def without_the_marker(pair: Pair, *, more: str = "") -> str:
    """The address for a user who may do all that a producer does but the small write before the WAIT."""
    keys = [
        f"~momentus:{{mail}}:{name}*"
        for name in ("counters", "wake", "unique", "keyed", "minute", "limit", "history")
    ]
    rules = ["on", ">secret", "+@all", "~arq:*", *keys, *more.split()]
    await pair.redis.execute_command("ACL", "SETUSER", "backend", "resetkeys", *rules)  # type: ignore[no-untyped-call]
    return pair.primary.url.replace("redis://", "redis://backend:secret@")


async def test_a_marker_that_is_refused_confirms_nothing(pair: Pair) -> None:
    """WAIT would speak of an older write, which replicas have."""
    url = await without_the_marker(pair)
    async with Producer.connect(url, budget=5, confirm_replicas=1) as producer:
        with pytest.raises(NotConfirmed, match="rejects the query"):
            await producer.send(Note("a"), key="a")
    with (
        SyncProducer.connect(url, budget=5, confirm_replicas=1) as same,
        pytest.raises(NotConfirmed, match="rejects the query"),
    ):
        same.send(Note("a"), key="a")


async def test_a_wait_that_is_refused_confirms_nothing(pair: Pair) -> None:
    url = await without_the_marker(pair, more="~momentus:{mail}:confirmed -wait")
    async with Producer.connect(url, budget=5, confirm_replicas=1) as producer:
        with pytest.raises(NotConfirmed, match="rejects the query"):
            await producer.send(Note("a"), key="a")


async def test_a_marker_that_is_taken_confirms_a_job_and_its_duplicate(pair: Pair) -> None:
    url = await without_the_marker(pair, more="~momentus:{mail}:confirmed")
    async with Producer.connect(url, budget=5, confirm_replicas=1) as producer:
        first = await producer.send(Note("a"), key="a")
        assert (await producer.send(Note("a"), key="a")).id == first.id
