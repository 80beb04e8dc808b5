"""How a coroutine becomes a handler: arq's ``func``, for rooms that do not import arq."""

from collections.abc import Callable
from typing import Any

from arq.worker import Function, func


def handler(coroutine: Callable[..., Any], *, kind: str) -> Function:
    """The coroutine as the handler of a kind; its first argument is the context, the rest the payload."""
    return func(coroutine, name=kind)
