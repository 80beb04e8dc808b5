"""Handlers: arq's ``func`` with payload versions, for rooms that do not import arq."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any

from arq.worker import Function, func

from worker.engine.upcast import Upcasters, check_upcasters


@dataclass
class Handler(Function):
    """arq's function, with the payload version that it accepts."""

    version: int = 1
    upcasters: Upcasters = field(default_factory=dict)


def handler(
    coroutine: Callable[..., Any],
    *,
    kind: str,
    version: int = 1,
    upcasters: Upcasters | None = None,
    keep_result: timedelta | None = None,
    timeout: timedelta | None = None,
) -> Handler:
    """Make a coroutine the handler of a kind. Its first argument is the context, the others are the payload.

    Args:
        version: of the payload that it accepts; a job with a newer one is parked for a worker that knows it.
        upcasters: for older payloads; by version, the function that returns the next version.
        keep_result: time to keep its results; left out, the worker's default.
        timeout: the time limit of an attempt; left out, the worker's default.

    Raises:
        ValueError: an invalid version, or an incomplete chain of upcasters.

    Example:
        handler(send, kind="invoice.send", version=2, upcasters={1: lambda old: {**old, "currency": "EUR"}})
    """
    check_upcasters(upcasters or {}, version=version)
    plain = func(coroutine, name=kind, keep_result=keep_result, timeout=timeout)
    return Handler(
        **{one.name: getattr(plain, one.name) for one in fields(plain)}, version=version, upcasters=upcasters or {}
    )


def known_version(function: Function) -> int:
    """Return the newest payload version that a function accepts; 1 for arq's own functions."""
    return function.version if isinstance(function, Handler) else 1
