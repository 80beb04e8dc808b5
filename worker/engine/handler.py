"""How a coroutine becomes a handler: arq's ``func``, for rooms that do not import arq."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any

from arq.worker import Function, func

from worker.engine.upcast import Upcasters, check_upcasters


@dataclass
class Handler(Function):
    """arq's function, and which version of the payload it takes."""

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
    """The coroutine as the handler of a kind; its first argument is the context, the rest the payload.

    Args:
        version: of the payload that it takes; a newer one waits, parked, for a worker that knows it.
        upcasters: for older payloads, from a version to what makes the next one of it.
        keep_result: how long its results are kept; left out, as long as the worker's others.
        timeout: how long an attempt may take; left out, as long as the worker's others.

    Raises:
        ValueError: a version or a chain of upcasters that cannot be.

    Example:
        handler(send, kind="invoice.send", version=2, upcasters={1: lambda old: {**old, "currency": "EUR"}})
    """
    check_upcasters(upcasters or {}, version=version)
    plain = func(coroutine, name=kind, keep_result=keep_result, timeout=timeout)
    return Handler(
        **{one.name: getattr(plain, one.name) for one in fields(plain)}, version=version, upcasters=upcasters or {}
    )


def known_version(function: Function) -> int:
    """The newest version of its payload that it takes; arq's own functions know of none but the first."""
    return function.version if isinstance(function, Handler) else 1
