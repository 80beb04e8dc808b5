"""Client that queues jobs: composes, validates and enqueues messages. It needs Redis and nothing else.

This package is a leaf: it imports nothing else of this project, and its own modules only by relative imports. A
message needs no base class: it fits the :class:`Message` protocol by its attributes.

Names are loaded at first use: a program that needs the connection only (:mod:`.link`, as the reader does) loads
nothing that could queue a job.

Example:
    async with Producer.connect("redis://127.0.0.1:6379/0") as producer:
        receipt = await producer.send(
            Mail(to="ana@example.com", template="task_assigned", values={"task": "Cierre", "due": "hoy"}),
            key="task:42:assigned:7",
        )
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .confirm import NotConfirmed as NotConfirmed
    from .description import JobDescription as JobDescription, JobEvent as JobEvent
    from .digest import Collapsible as Collapsible
    from .errors import (
        InvalidRequest as InvalidRequest,
        KeyConflict as KeyConflict,
        LedgerUnavailable as LedgerUnavailable,
        NotEnqueued as NotEnqueued,
        PayloadTooLarge as PayloadTooLarge,
        ProducerError as ProducerError,
        QueueFull as QueueFull,
        RedisUnavailable as RedisUnavailable,
        UnknownReport as UnknownReport,
    )
    from .message import Message as Message
    from .producer import Producer as Producer
    from .receipt import JobResult as JobResult, Receipt as Receipt
    from .sync import SyncProducer as SyncProducer

_HOMES = {
    "Collapsible": "digest",
    "InvalidRequest": "errors",
    "JobDescription": "description",
    "JobEvent": "description",
    "JobResult": "receipt",
    "KeyConflict": "errors",
    "LedgerUnavailable": "errors",
    "Message": "message",
    "NotConfirmed": "confirm",
    "NotEnqueued": "errors",
    "PayloadTooLarge": "errors",
    "Producer": "producer",
    "ProducerError": "errors",
    "QueueFull": "errors",
    "Receipt": "receipt",
    "RedisUnavailable": "errors",
    "SyncProducer": "sync",
    "UnknownReport": "errors",
}


def __getattr__(name: str) -> object:
    """Return a public name from the module that defines it (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
