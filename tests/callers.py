"""One call of each class that speaks to Redis for somebody who waits, with its usual deadline."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from jobs import Mail
from producers import Producer, SyncProducer
from reader.connection import Connection
from sessions import Sessions, SyncSessions

Ask = Callable[[], Awaitable[object]]
MAIL = Mail(to="ana@example.com", subject="Hola", text="Hola")


async def asker(stack: AsyncExitStack, kind: str, url: str) -> Ask:
    """One call of a class that backends hold, or of the reader, with its usual deadline."""
    match kind:
        case "Producer":
            producer = await stack.enter_async_context(Producer.connect(url))
            return lambda: producer.send(MAIL)
        case "SyncProducer":
            blocking = stack.enter_context(SyncProducer.connect(url))
            return lambda: asyncio.to_thread(blocking.send, MAIL)
        case "Sessions":
            sessions = Sessions.connect(url)
            stack.push_async_callback(sessions.close)
            return lambda: sessions.create("u-1", {})
        case "SyncSessions":
            in_threads = SyncSessions.connect(url)
            stack.callback(in_threads.close)
            return lambda: asyncio.to_thread(in_threads.create, "u-1", {})
        case _:
            connection = Connection(url)
            stack.push_async_callback(connection.close)
            return lambda: connection.ask("TIME")
