"""Producers and sessions of asyncio after a fork and in several loops: they work, or refuse before sending."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import redis as blocking
from redis.asyncio import Redis

from jobs import Mail
from producers import NotEnqueued, Producer
from producers.keys import LaneKeys
from sessions import Sessions, SessionsUnavailable

MAIL = Mail(to="ana@example.com", subject="Cierre", text="Hoy")
QUEUE = LaneKeys(MAIL.lane).queue
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def ends_well(child: Callable[[], object]) -> bool:
    """Run a function in the child of a fork; True unless it raises."""
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)  # without pytest-timeout's handler
        signal.alarm(10)
        code = 1
        try:
            child()
            code = 0
        finally:
            os._exit(code)  # a child must never come back into pytest
    return os.waitpid(pid, 0)[1] == 0


def queued(url: str) -> int:
    with blocking.Redis.from_url(url) as client:
        return int(client.zcard(QUEUE))


def refused(message: str, call: Coroutine[Any, Any, object], run: Callable[..., object]) -> None:
    """Assert that the call raises a typed error with these words."""
    with pytest.raises((NotEnqueued, SessionsUnavailable), match=message):
        run(call)


def test_a_child_with_an_event_loop_of_its_own_has_its_own_connections(valkey_url: str) -> None:
    """The parent's loop runs and has an open connection at the fork, and as if by another thread the lock."""
    producer = Producer.connect(valkey_url, budget=5)

    async def send_twenty(name: str) -> None:
        await asyncio.gather(*[producer.send(MAIL, key=f"{name}:{turn}") for turn in range(20)])

    async def parent() -> list[bool]:
        await send_twenty("before")
        with producer._queue._links._lock:  # type: ignore[attr-defined]
            children = [ends_well(lambda name=f"child {n}": asyncio.run(send_twenty(name))) for n in range(2)]
        await send_twenty("after")
        await producer.close()
        return children

    assert asyncio.run(parent()) == [True, True]
    assert queued(valkey_url) == 4 * 20


def test_the_parents_event_loop_is_refused_in_the_child_and_keeps_working_in_the_parent(valkey_url: str) -> None:
    producer, sessions = Producer.connect(valkey_url, budget=5), Sessions.connect(valkey_url)
    with asyncio.Runner() as runner:
        runner.run(producer.send(MAIL))
        token, _ = runner.run(sessions.create("u-17", {}))

        def in_the_child() -> None:
            refused("event loop: .* process was forked.*asyncio.run", producer.send(MAIL), runner.run)
            refused("event loop: .* process was forked.*asyncio.run", sessions.load(token), runner.run)

        assert ends_well(in_the_child)
        runner.run(producer.send(MAIL))
        runner.run(producer.close())
        runner.run(sessions.close())
    assert queued(valkey_url) == 2


def test_one_producer_and_one_session_store_serve_several_event_loops(valkey_url: str) -> None:
    producer, sessions = Producer.connect(valkey_url, budget=5), Sessions.connect(valkey_url)

    async def once() -> None:
        token, _ = await sessions.create("u-17", {})
        assert await sessions.load(token)
        await producer.send(MAIL)
        await producer.close()
        await sessions.close()

    for _ in range(3):
        asyncio.run(once())
    assert queued(valkey_url) == 3


def test_a_redis_py_client_is_refused_in_a_second_event_loop_before_it_sends(valkey_url: str) -> None:
    client = Redis.from_url(valkey_url)
    producer = Producer(client, budget=5)
    with asyncio.Runner() as first:
        first.run(producer.send(MAIL))
        for one in (producer, Producer(client, budget=5)):  # another one of the same client, too
            refused("client: .* another event loop.*`connect`.*nothing was sent", one.send(MAIL), asyncio.run)
        first.run(producer.send(MAIL))
        first.run(producer.close())
    assert queued(valkey_url) == 2


def test_a_redis_py_client_that_was_closed_may_be_used_in_the_next_event_loop(valkey_url: str) -> None:
    producer = Producer(Redis.from_url(valkey_url), budget=5)

    async def once() -> None:
        await producer.send(MAIL)
        await producer.close()

    asyncio.run(once())
    asyncio.run(once())
    assert queued(valkey_url) == 2
