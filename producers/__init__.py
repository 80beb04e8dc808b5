"""How to ask: compose, validate and enqueue. What a backend imports; it needs Redis and nothing else.

This folder is a leaf: it imports nothing of ours outside itself, and itself only relatively. A job fits
the :class:`Message` protocol by its shape.

Example:
    async with Producer.connect("redis://127.0.0.1:6379/0") as producer:
        receipt = await producer.send(
            Mail(to="ana@example.com", template="task_assigned", values={"task": "Cierre", "due": "hoy"}),
            key="task:42:assigned:7",
        )
"""

from .confirm import NotConfirmed as NotConfirmed
from .errors import (
    InvalidRequest as InvalidRequest,
    KeyConflict as KeyConflict,
    NotEnqueued as NotEnqueued,
    PayloadTooLarge as PayloadTooLarge,
    ProducerError as ProducerError,
    QueueFull as QueueFull,
    RedisUnavailable as RedisUnavailable,
    UnknownReport as UnknownReport,
)
from .message import Message as Message
from .producer import Producer as Producer
from .receipt import Receipt as Receipt
from .sync import SyncProducer as SyncProducer
