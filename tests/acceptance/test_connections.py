"""Connections of backends: idle ones, far ones, one producer in many event loops, and faults by their names."""

import asyncio
import gc
import ssl
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from redis import Redis as BlockingRedis
from redis.asyncio import Redis

import producers.link.client_connection
import producers.link.link
import producers.link.sync_wire
import reader.connection
from jobs.lanes import MAIL_BULK, MAIL_NORMAL, MAIL_URGENT
from local.embedded.ports import free_port
from producers import NotEnqueued, Producer, SyncProducer
from producers.errors import RedisUnavailable
from producers.keys import LaneKeys
from producers.link import Link, client
from sessions import Sessions, SessionsUnavailable
from tests.callers import MAIL, Ask, asker
from tests.certificates import make_certificates
from tests.faulty_proxy import FaultyProxy
from tests.support import OwnValkey, eventually
from tests.tls_proxy import encrypted

PATIENT = timedelta(seconds=5)
KINDS = ["Producer", "SyncProducer", "Sessions", "SyncSessions", "reader"]


@pytest.fixture
async def proxy(valkey_url: str) -> AsyncIterator[FaultyProxy]:
    async with FaultyProxy(_port(valkey_url)) as one:
        yield one


def _port(url: str) -> int:
    return urlsplit(url).port or 0


@pytest.fixture
def _every_pause_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (producers.link.link, producers.link.client_connection, reader.connection):
        monkeypatch.setattr(module, "IDLE_SECONDS", 0.0)
    monkeypatch.setattr(producers.link.sync_wire, "_IDLE_SECONDS", 0.0)


# idle


@pytest.mark.usefixtures("_every_pause_is_long")
@pytest.mark.parametrize("kind", KINDS)
async def test_the_first_call_after_a_pause_succeeds_though_the_flow_was_dropped_in_silence(
    proxy: FaultyProxy, kind: str
) -> None:
    async with AsyncExitStack() as stack:
        ask = await asker(stack, kind, f"redis://127.0.0.1:{proxy.port}/0", seconds=3)
        await eventually(lambda: _answered(ask))
        proxy.forget()
        await ask()


@pytest.mark.usefixtures("_every_pause_is_long")
async def test_an_idle_connection_that_answers_is_kept(proxy: FaultyProxy) -> None:
    link = Link(f"redis://127.0.0.1:{proxy.port}/0")
    await asyncio.gather(*[link.call("PING") for _ in range(10)])
    proxy.delay(0.1)  # slower than the try waits before it makes another connection
    await asyncio.gather(*[link.call("PING") for _ in range(10)])
    assert link.connection == 1
    await link.close()


async def _answered(ask: Ask) -> bool:
    try:
        await ask()
    except (RedisUnavailable, SessionsUnavailable, reader.connection.StoreUnavailable):
        return False
    return True


# cancelled


@pytest.mark.parametrize("valkey_url", ["server", "cluster"], indirect=True)
async def test_a_task_is_cancelled_in_whatever_turn_of_the_loop_it_is_told(valkey_url: str) -> None:
    async with client.connect(valkey_url, seconds=5) as redis:
        await redis.set("key", "value")
        told = 0
        for turns in range(1, 30):
            await redis.get("key")  # connected again
            task = asyncio.ensure_future(redis.get("key"))
            for _ in range(turns):
                await asyncio.sleep(0)
            if task.cancel():
                told += 1
                with pytest.raises(asyncio.CancelledError):
                    await task
        assert told > 2


# far away


@pytest.mark.parametrize("kind", ["Producer", "Sessions", "reader"])
async def test_a_redis_whose_tls_takes_longer_than_a_call_is_connected_to_all_the_same(
    valkey_url: str, tmp_path: Path, kind: str
) -> None:
    made = make_certificates(tmp_path)
    made.server.maximum_version = ssl.TLSVersion.TLSv1_2  # two round trips
    async with (
        encrypted(_port(valkey_url), made.server) as near,
        FaultyProxy(near) as far,
        AsyncExitStack() as stack,
    ):
        far.delay(0.015)  # one way; a call takes 30 ms, a connection 60, of which the reader has 50
        ask = await asker(stack, kind, f"rediss://127.0.0.1:{far.port}/0?ssl_ca_certs={quote(made.ca_file)}")
        await eventually(lambda: _answered(ask), timeout=30)


@pytest.mark.parametrize("kind", ["Producer", "Sessions"])
async def test_a_connection_that_took_most_of_a_budget_is_kept_for_the_next_call(
    proxy: FaultyProxy, kind: str
) -> None:
    proxy.delay(0.1)  # one way; the greeting takes 0.2 s, a call as much, and both together more than a budget
    async with AsyncExitStack() as stack:
        ask = await asker(stack, kind, f"redis://127.0.0.1:{proxy.port}/1", seconds=0.35)
        await eventually(lambda: _answered(ask))


async def test_a_caller_who_has_the_time_waits_for_a_connection_beyond_one_attempt(
    own_valkey: Callable[..., Awaitable[OwnValkey]],
) -> None:
    valkey = await own_valkey()
    async with Producer.connect(valkey.url.replace("/0", "/1"), budget=20) as producer:
        valkey.pause()  # connections are taken, and nobody greets
        sending = asyncio.create_task(producer.send(MAIL))
        await asyncio.wait({sending}, timeout=1.5 * producers.link.link.CONNECT_SECONDS)
        valkey.resume()
        assert (await sending).state == "queued"


async def test_mails_of_three_lanes_share_one_round_trip(proxy: FaultyProxy) -> None:
    mails = [replace(MAIL, urgency=urgency) for urgency in ("urgent", "normal", "bulk")]
    async with Producer.connect(f"redis://127.0.0.1:{proxy.port}/0", budget=5) as producer:
        await producer.send(MAIL)
        proxy.delay(0.2)
        async with asyncio.timeout(0.8):  # two round trips
            receipts = await producer.send_many(mails)
    assert [receipt.lane for receipt in receipts] == [MAIL_URGENT, MAIL_NORMAL, MAIL_BULK]


# event loops


@pytest.fixture
def _sockets_are_left_to_the_collector() -> Iterator[None]:
    """Asyncio warns of sockets whose loop was closed before them, and that is what these tests do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def _run_in_a_thread(work: Callable[[], Coroutine[Any, Any, object]]) -> None:
    thread = threading.Thread(target=lambda: asyncio.run(work()))
    thread.start()
    thread.join()


@pytest.mark.usefixtures("_sockets_are_left_to_the_collector")
async def test_one_producer_serves_one_event_loop_after_another_and_several_at_once(valkey_url: str) -> None:
    producer = Producer.connect(valkey_url, budget=5)
    sent: list[str] = []

    async def send() -> None:
        sent.append((await producer.send(MAIL)).id)

    await send()
    for _ in range(3):
        await asyncio.to_thread(_run_in_a_thread, send)
    await asyncio.gather(*[asyncio.to_thread(_run_in_a_thread, send) for _ in range(4)])
    await send()
    await producer.close()
    async with Redis.from_url(valkey_url) as redis:
        assert await redis.zcard(LaneKeys(MAIL_NORMAL).queue) == len(set(sent)) == 9


@pytest.mark.usefixtures("_sockets_are_left_to_the_collector")
async def test_one_sessions_object_serves_one_event_loop_after_another_and_several_at_once(
    valkey_url: str,
) -> None:
    one = Sessions.connect(valkey_url, deadline=PATIENT)
    token, _ = await one.create("u-1", {"theme": "dark"})
    found: list[object] = []

    async def load() -> None:
        session = await one.load(token)
        found.append(session.data if session else None)

    for _ in range(3):
        await asyncio.to_thread(_run_in_a_thread, load)
    await asyncio.gather(*[asyncio.to_thread(_run_in_a_thread, load) for _ in range(4)])
    await load()
    await one.close()
    assert found == [{"theme": "dark"}] * 8


# faults by their names


async def _fault(kind: str, url: str) -> str:
    if kind == "SyncProducer":
        with SyncProducer.connect(url, budget=5) as blocking:
            with pytest.raises(NotEnqueued) as refused:
                await asyncio.to_thread(blocking.send, MAIL)
            return str(refused.value)
    async with Producer.connect(url, budget=5) as producer:
        with pytest.raises(NotEnqueued) as refused:
            await producer.send(MAIL)
        return str(refused.value)


BOTH = pytest.mark.parametrize("kind", ["Producer", "SyncProducer"])


@BOTH
async def test_a_port_on_which_nobody_listens_is_named(kind: str) -> None:
    fault = await _fault(kind, f"redis://127.0.0.1:{free_port()}/0")
    assert "127.0.0.1" in fault
    assert "connect" in fault.lower()


@BOTH
async def test_a_host_that_is_unknown_is_named_as_such(kind: str) -> None:
    fault = await _fault(kind, "redis://no-such-host.invalid:6379/0")
    assert "name" in fault.lower()


@BOTH
async def test_a_socket_that_is_missing_is_named_as_such(kind: str, tmp_path: Path) -> None:
    assert "No such file" in await _fault(kind, f"unix://{tmp_path}/missing.sock")


@BOTH
async def test_a_certificate_that_nobody_vouches_for_is_named_as_such(
    kind: str, valkey_url: str, tmp_path: Path
) -> None:
    made = make_certificates(tmp_path)
    async with encrypted(_port(valkey_url), made.server) as tls_port:
        assert "certificate" in await _fault(kind, f"rediss://127.0.0.1:{tls_port}/0")


@BOTH
async def test_a_server_with_too_many_clients_is_no_matter_of_rights(
    kind: str, own_valkey: Callable[..., Awaitable[OwnValkey]]
) -> None:
    valkey = await own_valkey()
    async with Redis.from_url(valkey.url) as redis:
        await redis.config_set("maxclients", 1)
        fault = await _fault(kind, valkey.url)
    assert "max number of clients" in fault
    assert "rights" not in fault


@BOTH
async def test_a_server_that_is_busy_with_a_script_is_no_matter_of_rights(
    kind: str, own_valkey: Callable[..., Awaitable[OwnValkey]]
) -> None:
    valkey = await own_valkey("--busy-reply-threshold", "1")
    endless = threading.Thread(target=_run_an_endless_script, args=[valkey.url])
    with BlockingRedis.from_url(valkey.url) as redis:
        redis.ping()
        endless.start()
        await eventually(lambda: _is_busy(valkey.url))
        fault = await _fault(kind, valkey.url)
        redis.script_kill()
    endless.join()
    assert "BUSY" in fault
    assert "rights" not in fault


@BOTH
async def test_a_missing_right_is_named_as_such(
    kind: str, own_valkey: Callable[..., Awaitable[OwnValkey]]
) -> None:
    valkey = await own_valkey()
    async with Redis.from_url(valkey.url) as redis:
        await redis.acl_setuser("backend", enabled=True, passwords=["+made-up"], categories=["+@read"], keys=["*"])
    fault = await _fault(kind, valkey.url.replace("redis://", "redis://backend:made-up@"))
    assert "missing: +evalsha; check the user, its password and its rights" in fault
    wrong = await _fault(kind, valkey.url.replace("redis://", "redis://backend:another@"))
    assert "missing: a user and a password that Redis accepts; check" in wrong


def _run_an_endless_script(url: str) -> None:
    with BlockingRedis.from_url(url) as redis, pytest.raises(Exception, match="killed"):
        redis.eval("while true do end", 0)


def _is_busy(url: str) -> bool:
    with BlockingRedis.from_url(url) as redis:
        try:
            redis.get("x")
        except Exception as error:  # noqa: BLE001  whatever it is, its words decide
            return str(error).startswith("BUSY")
    return False
