"""A call that was sent eleven times has done what it does once: redis-py 8 repeats a command whose reply was lost.

The commands of every call go out eleven times here, and the last reply is what the caller gets.
"""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from jobs import Digest, InvalidJob, Mail, NamedJob
from producers import InvalidRequest, Producer, RedisUnavailable, SyncProducer
from producers.keys import LaneKeys
from producers.link import Argument
from producers.link.sync import Calls, SyncLinks
from sessions import SessionRefused, Sessions, SyncSessions
from tests.faulty_proxy import FaultyProxy

MAIL = Mail(to="ana@example.com", subject="Hola", text="Hola")
KEYS = LaneKeys("mail.normal")
TIMES = 11


class Repeating(Calls):
    """A link that sends everything eleven times."""

    def __init__(self, link: Calls) -> None:
        self._link = link

    def call_many(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        return [self._link.call_many(commands) for _ in range(TIMES)][-1]

    def close(self) -> None:
        self._link.close()


class RepeatingLinks(SyncLinks):
    """Links whose every call is sent eleven times."""

    def of(self, tag: str) -> Calls:
        return Repeating(super().of(tag))


@pytest.fixture
def links(valkey_url: str) -> Iterator[RepeatingLinks]:
    links = RepeatingLinks(valkey_url)
    yield links
    links.close()


@pytest.fixture
def redis(valkey_url: str) -> Iterator[Redis]:
    with Redis.from_url(valkey_url) as client:
        yield client


@pytest.fixture
def sessions(links: RepeatingLinks) -> SyncSessions:
    return SyncSessions(links)


def test_a_mail_is_queued_and_counted_once(links: RepeatingLinks, redis: Redis) -> None:
    producer = SyncProducer(links, budget=5)
    receipt = producer.send(MAIL)
    assert producer.send_many([MAIL, MAIL])[0].id != receipt.id
    assert redis.zcard(KEYS.queue) == 3
    assert redis.hmget(KEYS.counters, ["accepted:mail.normal"]) == [b"3"]


def test_an_item_of_a_digest_is_in_it_once(links: RepeatingLinks, valkey_url: str, redis: Redis) -> None:
    def digest_of_two(producer: SyncProducer, collapse: str) -> bytes:
        for task in ("Cierre", "Acta"):
            mail = Mail(to="ana@example.com", template="task_assigned", values={"task": task, "due": "hoy"})
            digest = Digest(mail=mail, template="tasks_assigned", collapse=collapse, window=timedelta(minutes=1))
            receipt = producer.send_digest(digest)
        payload = redis.get(f"arq:job:{receipt.id}")
        assert isinstance(payload, bytes)
        return payload

    repeated = digest_of_two(SyncProducer(links, budget=5), "tasks:7")
    with SyncProducer.connect(valkey_url, budget=5) as producer:
        once = digest_of_two(producer, "tasks:8")
    assert [repeated.count(task) for task in (b"Cierre", b"Acta")] == [once.count(b"Cierre"), once.count(b"Acta")]


def test_a_cancelled_job_is_gone(links: RepeatingLinks, redis: Redis) -> None:
    producer = SyncProducer(links, budget=5)
    producer.cancel(producer.send(MAIL).id)
    assert redis.zcard(KEYS.queue) == 0


def test_a_session_is_made_once_and_is_the_only_one_of_its_user(sessions: SyncSessions) -> None:
    sessions.create("u-1", {}, cap=2)
    sessions.create_service("wallboard", [1], lasts=timedelta(days=1))
    token, made = sessions.create("u-1", {"roots": [1]}, cap=2)
    assert sessions.load(token) == made
    assert len(sessions.sessions_of("u-1")) == 2


@pytest.mark.parametrize("grace", [0, 30])
def test_the_caller_of_a_rotation_gets_the_token_that_it_made(sessions: SyncSessions, grace: int) -> None:
    token, _ = sessions.create("u-1", {"roots": [1]})
    rotated = sessions.rotate(token, grace=timedelta(seconds=grace))
    assert rotated is not None
    assert sessions.load(rotated[0]) == rotated[1]
    assert (sessions.load(token) is None) is (grace == 0)
    assert len(sessions.sessions_of("u-1")) == 1


def test_a_save_is_saved_though_its_own_writing_came_before(sessions: SyncSessions) -> None:
    _, session = sessions.create("u-1", {"roots": [1]})
    saved = sessions.save(session, {"roots": [2]})
    assert (saved.version, saved.data) == (2, {"roots": [2]})


def test_sessions_are_ended_once(sessions: SyncSessions) -> None:
    token, _ = sessions.create("u-1", {})
    sessions.revoke(token)
    assert sessions.load(token) is None
    after, _ = sessions.create("u-1", {}) if sessions.revoke_user("u-1") else ("", None)
    assert sessions.load(after) is not None


# a redis-py client that its application hands in


async def test_a_client_whose_replies_are_lost_fails_in_its_budget_and_makes_one_job(valkey_url: str) -> None:
    """By default redis-py 8 would repeat for a minute."""
    async with FaultyProxy(urlsplit(valkey_url).port or 0) as proxy:
        client = AsyncRedis(port=proxy.port)
        async with Producer(client, budget=1) as producer:
            await producer.send(MAIL)
            proxy.swallow("to_client")
            with pytest.raises(RedisUnavailable):
                await producer.send(MAIL, key="once")
            proxy.let_pass()
            proxy.cut()
            receipt = await producer.send(MAIL, key="once")
            assert receipt.state == "duplicate"
            assert await client.zcard(KEYS.queue) == 2


async def test_a_client_for_threads_is_not_repeated_and_its_timeouts_are_the_budget(valkey_url: str) -> None:
    async with FaultyProxy(urlsplit(valkey_url).port or 0) as proxy:
        with SyncProducer(Redis(port=proxy.port, socket_timeout=40), budget=0.5) as producer:
            await asyncio.to_thread(producer.send, MAIL)
            before = await executed(valkey_url)
            proxy.swallow("to_client")
            with pytest.raises(RedisUnavailable):
                await asyncio.to_thread(producer.send, MAIL)
            assert await executed(valkey_url) == before + 1


async def executed(url: str) -> int:
    """How many scripts the server has run."""
    async with AsyncRedis.from_url(url) as client:
        stats = await client.info("commandstats")
        return int(stats["cmdstat_evalsha"]["calls"])


async def test_a_client_that_decodes_replies_is_refused_by_its_option(valkey_url: str) -> None:
    async with AsyncRedis.from_url(valkey_url, decode_responses=True) as client:
        with pytest.raises(InvalidRequest, match=r"client: decode_responses: must be False.*Producer\.connect"):
            Producer(client)
    with SyncProducer(Redis.from_url(valkey_url, decode_responses=True), budget=5) as producer:
        assert producer.send(MAIL).state == "queued"


@pytest.mark.parametrize("protocol", [2, 3])
async def test_replies_read_the_same_in_both_protocols(valkey_url: str, protocol: int) -> None:
    async with Producer(AsyncRedis.from_url(valkey_url, protocol=protocol), budget=5) as producer:
        receipts = [await producer.send(MAIL, key="one") for _ in range(2)]
    with SyncProducer(Redis.from_url(valkey_url, protocol=protocol), budget=5) as blocking:
        receipts += [blocking.send(MAIL, key="one"), *blocking.send_many([MAIL, MAIL])]
    assert [one.state for one in receipts] == ["queued", "duplicate", "duplicate", "queued", "queued"]
    with Redis.from_url(valkey_url, protocol=protocol) as client:
        sessions = SyncSessions(client)
        token, made = sessions.create("u-1", {"roots": [1]})
        assert sessions.load(token) == made
        sessions.close()


@pytest.mark.parametrize(
    "connect", [Producer.connect, SyncProducer.connect, Sessions.connect, SyncSessions.connect]
)
@pytest.mark.parametrize(
    ("url", "told"),
    [
        (None, r"url: must be a string like redis://127\.0\.0\.1:6379/0, not None; check the setting"),
        ("unix://:secret@", r"url: must name the socket, as in unix:///run/redis\.sock"),
        ("redis://:secret@h:6379/abc", r"url: must end with the number of a database, as in redis://host:port/0"),
    ],
)
def test_an_address_that_is_none_is_refused_with_its_remedy(connect: Any, url: Any, told: str) -> None:
    with pytest.raises((InvalidRequest, SessionRefused), match=told) as refusal:
        connect(url)
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("connect", [Producer.connect, SyncProducer.connect])
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"budget": None}, "budget: must be a number of seconds above 0, not None"),
        ({"budget": 0}, "budget: must be a number of seconds above 0"),
        ({"budget": float("nan")}, "budget: must be a number of seconds above 0"),
        ({"confirm_replicas": True}, "confirm_replicas: must be a number of replicas"),
        ({"confirm_replicas": -1}, "confirm_replicas: must be a number of replicas"),
    ],
)
def test_an_option_that_no_call_could_follow_is_refused_at_once(
    connect: Any, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidRequest, match=told):
        connect("redis://127.0.0.1:1/0", **options)


@pytest.mark.parametrize(
    ("make", "client", "told"),
    [
        (Producer, Redis, "client: is a redis-py client for threads; give one of redis.asyncio"),
        (SyncProducer, AsyncRedis, "client: is a redis-py client for asyncio or a cluster; give a redis.Redis"),
        (Sessions, Redis, "redis: is a redis-py client for threads; give one of redis.asyncio"),
        (SyncSessions, AsyncRedis, "redis: is a redis-py client for asyncio or a cluster; give a redis.Redis"),
    ],
)
def test_a_client_of_the_other_kind_is_refused_with_the_one_that_fits(make: Any, client: Any, told: str) -> None:
    with pytest.raises((InvalidRequest, SessionRefused), match=told):
        make(client.from_url("redis://127.0.0.1:1/0"))


@pytest.mark.parametrize(
    ("connect", "url"),
    [
        (Producer.connect, "unix://{}/none.sock"),
        (SyncProducer.connect, "unix://{}/none.sock"),
        (Producer.connect, "rediss://127.0.0.1:1/0?ssl_ca_certs={}/none.pem"),
    ],
)
def test_a_missing_socket_or_file_is_told_as_such(connect: Any, url: str, tmp_path: Path) -> None:
    told = "its socket, or a file of certificates that the address names, does not exist"
    with pytest.raises(RedisUnavailable, match=told):
        asyncio.run(_sent(connect(url.format(tmp_path), budget=5)))


async def _sent(producer: Producer | SyncProducer) -> None:
    receipt: Any = producer.send(NamedJob("order.take"))
    if isinstance(producer, Producer):
        await receipt


@pytest.mark.parametrize("connect", [Sessions.connect, SyncSessions.connect])
@pytest.mark.parametrize("deadline", [0.25, None, timedelta(0)])
def test_a_deadline_that_is_no_time_is_refused_at_once(connect: Any, deadline: Any) -> None:
    with pytest.raises(SessionRefused, match=r"deadline: must be a timedelta above 0, like timedelta\("):
        connect("redis://127.0.0.1:1/0", deadline=deadline)


@pytest.mark.parametrize("wrong", [None, "mail", {"to": "ana@example.com"}, Mail, [NamedJob("order.take")]])
def test_what_is_no_message_is_refused_with_what_may_be_sent(wrong: Any) -> None:
    with SyncProducer.connect("redis://127.0.0.1:1/0") as producer:
        for call in (lambda: producer.send(wrong), lambda: producer.send_many([wrong])):
            with pytest.raises(
                InvalidRequest, match=r"message: must be a Mail, a job of your own or a NamedJob, not "
            ):
                call()


def test_a_list_is_asked_for_where_one_message_or_one_key_was_given() -> None:
    one: Any = NamedJob("order.take")
    with SyncProducer.connect("redis://127.0.0.1:1/0") as producer:
        with pytest.raises(InvalidRequest, match="messages: must be a list, not a value of type NamedJob"):
            producer.send_many(one)
        with pytest.raises(InvalidRequest, match="keys: must be a list with a key for each message"):
            producer.send_many([one], keys="k")


@pytest.mark.parametrize("payload", [None, "x", [1], object()])
def test_a_payload_that_is_no_dict_is_refused_by_its_type(payload: Any) -> None:
    with pytest.raises(InvalidJob, match=r"payload: must be a dict of fields, like .*, not a value of type "):
        NamedJob("order.take", payload)
