"""The producer without asyncio: it writes what the other writes, and answers in time whatever the server does."""

import os
import re
import select
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import ConnectionError as ConnectionLost

from jobs import Mail
from local.embedded.ports import free_port
from producers import InvalidRequest, NotEnqueued, Producer, QueueFull, RedisUnavailable, SyncProducer
from producers.keys import MAIL_SUPPRESSION, LaneKeys
from producers.link.client import connect
from producers.suppression import Refusal, digest_of, suppress, unsuppress, weigh_refusal
from producers.testing import SyncRecordingProducer
from tests.support import OwnValkey, eventually

OwnServer = Callable[..., Awaitable[OwnValkey]]
GENEROUS = 10.0
KEYS = LaneKeys("mail.normal")
MAIL = Mail(to="ana@example.com", template="task_assigned", values={"task": "Cierre", "due": "hoy"}, locale="es")
MANY = [Mail(to=f"p{number}@example.com", subject="Hola", text=str(number), urgency="bulk") for number in range(3)]
CALLS: tuple[Callable[[SyncProducer], object], ...] = (
    lambda producer: producer.send(MAIL, key="a"),
    lambda producer: producer.send_many(MANY, keys=["b", "c", "d"]),
    lambda producer: producer.refresh("sales"),
)


@pytest.fixture
def redis(valkey_url: str) -> Iterator[Redis]:
    with Redis.from_url(valkey_url) as client:
        yield client


@pytest.fixture
def producer(valkey_url: str) -> Iterator[SyncProducer]:
    with SyncProducer.connect(valkey_url, budget=GENEROUS) as one:
        yield one


def everything(redis: Any) -> list[bytes]:
    """Every key with its value, on a line each; ids and times are replaced by their kind, nothing else is."""
    readers: dict[bytes, Any] = {
        b"string": redis.get,
        b"hash": lambda key: dict(sorted(redis.hgetall(key).items(), key=_item)),
        b"zset": lambda key: redis.zrange(key, 0, -1, withscores=True),
        b"list": lambda key: redis.lrange(key, 0, -1),
    }
    kinds: dict[bytes, bytes] = {key: redis.type(key) for key in redis.scan_iter()}
    lines = [repr((key, kind, readers[kind](key), redis.ttl(key) > 0)).encode() for key, kind in kinds.items()]
    return sorted(map(without_ids_and_times, lines))


def _item(item: tuple[bytes, bytes]) -> bytes:
    """What a hash's item is sorted by: servers keep the order of their hashes to themselves."""
    return without_ids_and_times(repr(dict([item])).encode())


def without_ids_and_times(line: bytes) -> bytes:
    line = re.sub(rb"01[0-9a-hjkmnp-tv-z]{24}", b"<id>", line)
    line = re.sub(rb"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000", b"<date>", line)
    times = rb"(minute:)\d+|(\"(?:et|q|at_ms|until_ms)\":)\d{13}|(, )\d{13}\.0|(: b')\d{13}(?= )"
    return re.sub(times, rb"\1\2\3\4<time>", line)


async def test_both_producers_write_the_same_keys_and_values_octet_for_octet(
    valkey_url: str, redis: Redis
) -> None:
    async with Producer.connect(valkey_url, budget=GENEROUS) as one:
        await one.send(MAIL)
        await one.send(MANY[0], key="k", delay=timedelta(hours=1))
        await one.send_many(MANY, keys=["b", "c", "d"])
        await one.refresh("sales", scope=7)
    written = everything(redis)
    redis.flushdb()
    with SyncProducer.connect(valkey_url, budget=GENEROUS) as other:
        other.send(MAIL)
        other.send(MANY[0], key="k", delay=timedelta(hours=1))
        other.send_many(MANY, keys=["b", "c", "d"])
        other.refresh("sales", scope=7)
    assert written == everything(redis)
    assert len(written) >= 15


CHANGES: tuple[tuple[str, tuple[Any, ...], dict[str, Any]], ...] = (
    ("suppress", ("Ana@Example.com", "complaint"), {"by": "web", "evidence": "report-7"}),
    ("suppress", ("ana@example.com", "complaint"), {"by": "web"}),
    ("suppress", ("ana@example.com", "unsubscribed"), {"by": "web", "scope": "stream:bulk"}),
    ("suppress", ("eva@example.com", "hard_bounce"), {"by": "web"}),
    ("suppress", ("eva@example.com", "manual"), {"by": "luz", "lasting": timedelta(days=9)}),
    ("suppress", ("eva@example.com", "manual"), {"by": "luz", "lasting": timedelta(days=3)}),
    ("suppress", ("luz@example.com", "manual"), {"by": "luz"}),
    ("unsuppress", (digest_of("ana@example.com"),), {"by": "luz", "reason": "complaint"}),
    ("unsuppress", (digest_of("eva@example.com"),), {"by": "luz", "scope": "stream:bulk"}),
    ("unsuppress", (digest_of("luz@example.com"),), {"by": "luz"}),
)
"""What is asked of the list, one after the other."""


async def test_both_ways_to_suppress_write_and_answer_the_same_octet_for_octet(
    valkey_url: str, redis: Redis
) -> None:
    async with AsyncRedis.from_url(valkey_url) as client:
        functions: dict[str, Callable[..., Awaitable[int]]] = {"suppress": suppress, "unsuppress": unsuppress}
        call = client.execute_command
        answers = [await functions[name](call, *given, **named) for name, given, named in CHANGES]
    written = everything(redis)
    redis.flushdb()
    with SyncProducer.connect(valkey_url, budget=GENEROUS) as other:
        same = [getattr(other, name)(*given, **named) for name, given, named in CHANGES]
    assert written == everything(redis)
    assert answers == same == [True, False, True, True, True, False, True, 1, 0, 1]
    left: Any = redis.hkeys(MAIL_SUPPRESSION)
    assert set(left) == {digest_of(f"{one}@example.com").encode() for one in ("ana", "eva")}
    redis.flushdb()
    async with Producer.connect(valkey_url, budget=GENEROUS) as producer:
        assert [await getattr(producer, name)(*given, **named) for name, given, named in CHANGES] == answers
    assert written == everything(redis)
    recorded = SyncRecordingProducer()
    assert [getattr(recorded, name)(*given, **named) for name, given, named in CHANGES] == answers


def test_a_reason_that_is_none_is_refused_and_nothing_is_written(producer: SyncProducer, redis: Redis) -> None:
    with pytest.raises(InvalidRequest, match="reason: must be one of hard_bounce"):
        producer.suppress("ana@example.com", "dislike", by="web")  # type: ignore[arg-type]  # what is tried
    with pytest.raises(InvalidRequest, match="scope: must be all or stream:<name>"):
        producer.suppress("ana@example.com", "manual", by="web", scope="bulk")
    assert redis.keys() == []


async def test_both_ways_to_weigh_a_refusal_answer_the_same(valkey_url: str, redis: Redis) -> None:
    refusals: list[tuple[str, Refusal]] = [("ana@example.com", "hard"), ("eva@example.com", "counted")]
    refusals += [(f"u{number}@example.com", "none") for number in range(4)]
    async with AsyncRedis.from_url(valkey_url) as client:
        call = client.execute_command
        answers = [await weigh_refusal(call, address, weight, by="web") for address, weight in refusals]
    redis.flushdb()
    with SyncProducer.connect(valkey_url, budget=GENEROUS) as other:
        same = [other.weigh_refusal(address, weight, by="web") for address, weight in refusals]
        with pytest.raises(InvalidRequest, match="weight"):
            other.weigh_refusal("ana@example.com", "soft", by="web")  # type: ignore[arg-type]  # what is refused
    assert answers == same == ["suppressed", "counted", "noted", "noted", "doubtful", "doubtful"]


async def test_suppressing_answers_in_time_whatever_the_server_does(own_valkey: OwnServer) -> None:
    server = await own_valkey()
    with SyncProducer.connect(server.url) as producer:
        server.pause()
        try:
            with pytest.raises(RedisUnavailable):
                producer.suppress("ana@example.com", "manual", by="luz")
            with pytest.raises(RedisUnavailable):
                producer.unsuppress(digest_of("ana@example.com"), by="luz")
        finally:
            server.resume()


@pytest.mark.parametrize("synchronous_first", [True, False])
async def test_a_key_used_through_one_is_known_to_the_other(valkey_url: str, synchronous_first: bool) -> None:  # noqa: FBT001  pytest passes it by name
    async with Producer.connect(valkey_url, budget=GENEROUS) as one:
        with SyncProducer.connect(valkey_url, budget=GENEROUS) as other:
            if synchronous_first:
                first, again = other.send(MAIL, key="k"), await one.send(MAIL, key="k")
            else:
                first, again = await one.send(MAIL, key="k"), other.send(MAIL, key="k")
    assert (first.id, first.state, again.state) == (again.id, "queued", "duplicate")


def test_a_script_that_the_server_forgot_is_brought_again(producer: SyncProducer, redis: Redis) -> None:
    for expected in (1, 2):
        redis.script_flush()
        producer.send(MAIL)
        assert redis.zcard(KEYS.queue) == expected


def test_threads_share_one_producer(producer: SyncProducer, redis: Any) -> None:
    together = threading.Barrier(16)

    def work(number: int) -> list[str]:
        together.wait()
        return [producer.send(MAIL, key=f"{number}:{turn}").id for turn in range(20)]

    with ThreadPoolExecutor(16) as threads:
        ids = [one for some in threads.map(work, range(16)) for one in some]
    assert {one.encode() for one in ids} == set(redis.zrange(KEYS.queue, 0, -1))
    assert len(set(ids)) == 320


def test_threads_with_one_key_make_one_job(producer: SyncProducer, redis: Redis) -> None:
    with ThreadPoolExecutor(8) as threads:
        receipts = list(threads.map(lambda _: producer.send(MAIL, key="k"), range(40)))
    assert sorted(receipt.state for receipt in receipts) == ["duplicate"] * 39 + ["queued"]
    assert redis.zcard(KEYS.queue) == 1


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_children_of_a_fork_use_connections_and_locks_of_their_own(producer: SyncProducer, redis: Redis) -> None:
    """At the fork the parent has an open connection and, as if by another thread, the one lock."""
    producer.send(MAIL, key="parent")
    with producer._composer._identifiers._lock:
        children = [fork(partial(send_some, producer, number)) for number in range(3)]
    send_some(producer, 3)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
    assert redis.zcard(KEYS.queue) == 1 + 4 * 20
    assert producer.send(MAIL, key="parent").state == "duplicate"


def send_some(producer: SyncProducer, number: int) -> None:
    for turn in range(20):
        assert producer.send(MAIL, key=f"{number}:{turn}").state == "queued"


def fork(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        try:
            work()
        except BaseException:  # noqa: BLE001  a child must never come back into pytest
            os._exit(1)
        os._exit(0)
    return child


# --- Whatever the server does


def every_call_raises(producer: SyncProducer, error: type[NotEnqueued]) -> None:
    """One after the other, and many threads at once."""
    for call in CALLS:
        with pytest.raises(error):
            call(producer)
    with ThreadPoolExecutor(8) as threads:
        futures = [threads.submit(call, producer) for call in CALLS * 4]
        assert {type(future.exception(timeout=20)) for future in futures} == {error}


def every_call_succeeds(producer: SyncProducer) -> bool:
    try:
        for call in CALLS:
            call(producer)
    except NotEnqueued:
        return False
    return True


async def test_a_killed_server_fails_each_call_in_time_and_takes_them_when_it_is_back(
    own_valkey: OwnServer,
) -> None:
    server = await own_valkey()
    with SyncProducer.connect(server.url) as producer:
        await eventually(lambda: every_call_succeeds(producer))
        await server.kill()
        every_call_raises(producer, RedisUnavailable)
        await server.start()
        await eventually(lambda: every_call_succeeds(producer))
    with Redis.from_url(server.url) as redis:
        assert redis.zcard(KEYS.queue) == 1


@pytest.mark.parametrize("met_before", [True, False])
async def test_a_frozen_server_fails_each_call_in_time_and_takes_them_when_it_goes_on(
    own_valkey: OwnServer,
    met_before: bool,  # noqa: FBT001  pytest passes it by name
) -> None:
    server = await own_valkey()
    with SyncProducer.connect(server.url) as producer:
        if met_before:
            await eventually(lambda: every_call_succeeds(producer))
        server.pause()
        try:
            every_call_raises(producer, RedisUnavailable)
        finally:
            server.resume()
        await eventually(lambda: every_call_succeeds(producer))


async def test_a_server_at_its_memory_limit_is_full_until_it_has_room(own_valkey: OwnServer) -> None:
    server = await own_valkey()
    with SyncProducer.connect(server.url, budget=GENEROUS) as producer, Redis.from_url(server.url) as redis:
        redis.config_set("maxmemory", 1)
        every_call_raises(producer, QueueFull)
        assert redis.keys() == []
        redis.config_set("maxmemory", 0)
        assert every_call_succeeds(producer)


@pytest.mark.parametrize("stale", ["yes", "no"])
async def test_a_replica_fails_each_call_in_time_until_it_is_a_primary_again(
    own_valkey: OwnServer, stale: str
) -> None:
    server = await own_valkey("--replica-serve-stale-data", stale)
    with SyncProducer.connect(server.url, budget=GENEROUS) as producer, Redis.from_url(server.url) as redis:
        producer.send(MAIL)
        redis.replicaof("127.0.0.1", "1")  # a master that is not there
        every_call_raises(producer, RedisUnavailable)
        redis.replicaof("NO", "ONE")
        assert every_call_succeeds(producer)


async def test_a_user_without_the_right_is_told_so(own_valkey: OwnServer) -> None:
    server = await own_valkey()
    with Redis.from_url(server.url) as redis:
        redis.acl_setuser("backend", enabled=True, passwords=["+made-up"], categories=["+@read"], keys=["*"])
    url = server.url.replace("redis://", "redis://backend:made-up@")
    with SyncProducer.connect(url, budget=GENEROUS) as producer, pytest.raises(NotEnqueued, match="rights"):
        producer.send(MAIL)


@contextmanager
def dripping_server() -> Iterator[int]:
    """Answers with one octet at a time, for ever, each soon enough for a timeout of its own; its port."""
    over = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            while not over.wait(0.02):
                try:
                    connection.sendall(b"+")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            thread.join()


def test_a_server_whose_answer_never_ends_is_given_up_at_the_budget() -> None:
    with (
        dripping_server() as port,
        SyncProducer.connect(f"redis://127.0.0.1:{port}") as producer,
        pytest.raises(RedisUnavailable, match="within 100 ms"),
    ):
        producer.send(MAIL)


# --- Addresses


async def test_a_unix_socket_is_an_address_too(own_valkey: OwnServer) -> None:
    server = await own_valkey("--unixsocket", "valkey.sock")
    with SyncProducer.connect(f"unix://{server.directory}/valkey.sock?db=3", budget=GENEROUS) as producer:
        assert every_call_succeeds(producer)
    with Redis.from_url(f"{server.url.removesuffix('/0')}/3") as redis:
        assert redis.zcard(KEYS.queue) == 1


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for ``localhost`` that is its own authority, and its key."""
    return certify(tmp_path_factory.mktemp("tls"), "DNS:localhost")


def certify(folder: Path, names: str) -> tuple[Path, Path]:
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost "
        f"-addext subjectAltName={names} -keyout key.pem -out certificate.pem"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder / "certificate.pem", folder / "key.pem"


def carry(inside: ssl.SSLSocket, beyond: socket.socket) -> None:
    """Hand everything on, in both directions, until one of them is closed."""
    while True:
        ready = [inside] if inside.pending() else select.select([inside, beyond], [], [])[0]
        for one, other in ((inside, beyond), (beyond, inside)):
            if one in ready:
                octets = one.recv(65536)
                if not octets:
                    return
                other.sendall(octets)


@contextmanager
def encrypted(port: int, certificate: tuple[Path, Path]) -> Iterator[int]:
    """A port that speaks TLS and hands everything on to another port, for any number of connections."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    threads: list[threading.Thread] = []

    def begin(work: Callable[..., None], *args: object) -> None:
        threads.append(threading.Thread(target=work, args=args))
        threads[-1].start()

    def accept(listener: socket.socket) -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            begin(serve, plain)

    def serve(plain: socket.socket) -> None:
        try:
            with (
                plain,
                context.wrap_socket(plain, server_side=True) as inside,
                socket.create_connection(("127.0.0.1", port)) as beyond,
            ):
                carry(inside, beyond)
        except OSError:
            return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        begin(accept, listener)
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def test_an_authority_of_ones_own_vouches_for_a_server(
    valkey_url: str, redis: Redis, certificate: tuple[Path, Path]
) -> None:
    port = int(valkey_url.rpartition(":")[2].partition("/")[0])
    with encrypted(port, certificate) as secure:
        address = f"rediss://localhost:{secure}/0?ssl_ca_certs={certificate[0]}"
        with SyncProducer.connect(address, budget=GENEROUS) as producer:
            assert every_call_succeeds(producer)
    assert redis.zcard(KEYS.queue) == 1


@pytest.mark.long
async def test_tls_reaches_those_who_are_asked_and_the_primary_of_a_cluster(
    own_valkey: OwnServer, tmp_path: Path
) -> None:
    """One node that has all slots, and tells its name and the port that speaks TLS."""
    certificate = certify(tmp_path, "DNS:localhost,IP:127.0.0.1")  # redis-py makes the one of the other
    server = await own_valkey("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with encrypted(server.port, certificate) as secure, Redis.from_url(server.url) as redis:
        redis.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        redis.config_set("cluster-announce-hostname", "localhost")
        redis.config_set("cluster-preferred-endpoint-type", "hostname")
        redis.config_set("cluster-announce-port", secure)
        await eventually(lambda: redis.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
        address = f"clusters://localhost:{secure}/0?ssl_ca_certs={certificate[0]}"
        with SyncProducer.connect(address, budget=GENEROUS) as producer:
            assert every_call_succeeds(producer)
        async with Producer.connect(address, budget=GENEROUS) as same:
            assert (await same.send(MAIL)).state == "queued"
        async with connect(address, seconds=GENEROUS) as client:
            assert await client.zcard(KEYS.queue) == 2
        stranger = address.partition("?")[0]
        with SyncProducer.connect(stranger, budget=GENEROUS) as producer, pytest.raises(RedisUnavailable):
            producer.send(MAIL)
        async with Producer.connect(stranger, budget=GENEROUS) as same:
            with pytest.raises(RedisUnavailable):
                await same.send(MAIL)
        async with connect(stranger, seconds=GENEROUS) as client:
            with pytest.raises(ConnectionLost):
                await client.zcard(KEYS.queue)


@pytest.mark.parametrize(
    ("host", "query"),
    [
        ("localhost", ""),
        ("127.0.0.1", "?ssl_ca_certs={authority}"),
        ("localhost", "?ssl_cert_reqs=none"),
        ("127.0.0.1", "?ssl_check_hostname=false&ssl_ca_certs={authority}"),
    ],
)
def test_a_server_that_cannot_prove_who_it_is_gets_nothing(
    valkey_url: str, redis: Redis, certificate: tuple[Path, Path], host: str, query: str
) -> None:
    """Unknown authority or another host's certificate, and no word in the address puts the check out."""
    port = int(valkey_url.rpartition(":")[2].partition("/")[0])
    with encrypted(port, certificate) as secure:
        address = f"rediss://{host}:{secure}/0{query.format(authority=certificate[0])}"
        with SyncProducer.connect(address, budget=GENEROUS) as producer, pytest.raises(RedisUnavailable):
            producer.send(MAIL)
    assert redis.keys() == []
