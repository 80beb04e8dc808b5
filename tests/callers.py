"""One call of each class that speaks to Redis for somebody who waits, with its usual deadline."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta

from jobs import Mail
from producers import Producer, SyncProducer
from producers.compose import BUDGET
from reader.connection import Connection
from sessions import Sessions, SyncSessions
from sessions.operations import DEADLINE

Ask = Callable[[], Awaitable[object]]
MAIL = Mail(to="ana@example.com", subject="Hola", text="Hola")


async def asker(stack: AsyncExitStack, kind: str, url: str, *, seconds: float | None = None) -> Ask:
    """One call of a class that backends hold, or of the reader, with its usual deadline or this one."""
    budget = seconds or BUDGET
    deadline = timedelta(seconds=seconds) if seconds else DEADLINE
    match kind:
        case "Producer":
            producer = await stack.enter_async_context(Producer.connect(url, budget=budget))
            return lambda: producer.send(MAIL)
        case "SyncProducer":
            blocking = stack.enter_context(SyncProducer.connect(url, budget=budget))
            return lambda: asyncio.to_thread(blocking.send, MAIL)
        case "Sessions":
            sessions = Sessions.connect(url, deadline=deadline)
            stack.push_async_callback(sessions.close)
            return lambda: sessions.create("u-1", {})
        case "SyncSessions":
            in_threads = SyncSessions.connect(url, deadline=deadline)
            stack.callback(in_threads.close)
            return lambda: asyncio.to_thread(in_threads.create, "u-1", {})
        case _:
            connection = Connection(url, deadline=timedelta(seconds=seconds)) if seconds else Connection(url)
            stack.push_async_callback(connection.close)
            return lambda: connection.call("TIME")
