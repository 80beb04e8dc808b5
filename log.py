"""Logging of every process: one line per event, on stderr, without private data.

Rooms log through ``structlog.get_logger()`` or the standard ``logging``; only ``__main__`` files import this
module, to call ``set_up`` once. Both ways pass the same processors, so a library's line looks like the project's
own. Fields that the worker binds to the context (job, kind, lane, attempt) are part of every line.

Three rules keep addresses and mail bodies out. A field with a private name (``to``, ``subject``, ``redis_url``:
the whole name or its last word) loses its value. A traceback gives places and types without the exception's
message, which may be a server's reply or a whole text. In all other text, mail addresses and the credentials of a
URL are masked. That is the second line of defence: code logs ids, not personal data.

Exceptions that no code awaited or caught (in asyncio's tasks and callbacks, threads, finalizers, the program
itself) are logged the same way: :func:`run_watched`.

This module writes neither to stdout, which belongs to a command's output, nor to files.
"""

import asyncio
import logging
import re
import sys
import threading
import traceback
from collections.abc import Awaitable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Literal, TextIO, TypeVar

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

Format = Literal["auto", "console", "json"]
Result = TypeVar("Result")
ExceptionInfo = tuple[type[BaseException], BaseException, TracebackType | None]

ROOMS: Final = ("jobs", "producers", "sessions", "worker", "reader", "ops")
PRIVATE: Final = frozenset(
    {
        *("to", "cc", "bcc", "sender", "recipient", "recipients", "address", "addresses"),
        *("subject", "text", "html", "body", "values"),
        *("password", "secret", "token", "cookie", "authorization", "dsn", "url"),
    }
)
REDACTED: Final = "[redacted]"
CREDENTIALS: Final = re.compile(r"(?<=://)[^\s/@]+@")
# The look-behind tries a run of characters from its first one only, so a long line costs linear time.
RUN: Final = r"""[^\s"'`()<>\[\]{},;:=/\\@]"""
ADDRESS: Final = re.compile(rf"""(?:"[^"\n]*"|(?<!{RUN}){RUN}+)(?:@|%40){RUN}+""")


def set_up(log_format: Format = "auto", level: str = "info", *, stream: TextIO | None = None) -> None:
    """Set up logging in this format ("auto": readable on a terminal, else JSON) from this level on.

    Libraries log from "warning" on. ``stream`` is stderr unless a test passes another one.
    """
    stream = stream or sys.stderr
    least = logging.getLevelNamesMapping()[level.upper()]
    finish = [*processors(), renderer(log_format, stream)]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, *finish],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    adopt_standard_logging(least, stream, finish)


def adopt_standard_logging(least: int, stream: TextIO, finish: list[Processor]) -> None:
    """Send records of ``logging`` through the same processors: rooms from ``least``, libraries from warning."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *finish],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(least, logging.WARNING))
    for room in ROOMS:
        logging.getLogger(room).setLevel(least)


def processors() -> list[Processor]:
    """Return the processors of every line. Redaction is last, when the text is complete."""
    return [
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.ExceptionRenderer(_traceback_without_messages),
        redact_event,
    ]


def renderer(log_format: Format, stream: TextIO) -> Processor:
    """Return the last processor: a readable line for a terminal, or JSON."""
    if log_format == "console" or (log_format == "auto" and stream.isatty()):
        return structlog.dev.ConsoleRenderer(colors=stream.isatty())
    return structlog.processors.JSONRenderer()


async def run_watched(work: Awaitable[Result]) -> Result:
    """Await the program's work; from now on, log every exception of this process that no code handles."""
    asyncio.get_running_loop().set_exception_handler(_log_loop_exception)
    sys.excepthook = lambda _kind, error, _trace: _log_unhandled("the program", error)
    sys.unraisablehook = lambda it: _log_unhandled("a finalizer", it.exc_value)
    threading.excepthook = lambda it: _log_unhandled("a thread", it.exc_value)
    return await work


def _log_loop_exception(_loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """Log a fault of the event loop without asyncio's details, which contain reprs of task arguments."""
    where = re.match(r"[A-Za-z ]*", str(context.get("message", "")))
    _log_unhandled(f"asyncio: {where[0].strip() if where else ''}", context.get("exception"))


def _log_unhandled(where: str, error: BaseException | None) -> None:
    structlog.get_logger("faults").error("unhandled exception", where=where, exc_info=error)


def _traceback_without_messages(exc_info: ExceptionInfo) -> str:
    """Return a traceback without messages: the lines of code and the types of the exceptions."""
    return "".join(_chain(exc_info[1], set())).rstrip()


def _chain(error: BaseException, seen: set[int]) -> Iterator[str]:
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen:
        yield from _chain(before, seen)
        yield "\n"
    yield "Traceback (most recent call last):\n"
    yield from traceback.format_tb(error.__traceback__)
    number = getattr(error, "errno", None)
    yield f"{type(error).__qualname__}{f' {number}' if isinstance(number, int) else ''}\n"
    for part in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        if id(part) not in seen:
            yield from _chain(part, seen)


def redact_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Return the event without private values, as JSON-native data."""
    return {name: REDACTED if is_private(name) else mask_addresses(value) for name, value in event.items()}


def is_private(name: str) -> bool:
    """Return True if a field of this name may hold personal data, a text or a secret."""
    return bool(PRIVATE.intersection(re.findall(r"[a-z]+", name.lower())[-1:]))


def mask_addresses(value: object) -> object:
    """Return the value with every mail address in it replaced. Other objects become their masked ``repr``."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {
            str(mask_addresses(key)): REDACTED if is_private(str(key)) else mask_addresses(part)
            for key, part in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [mask_addresses(part) for part in value]
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return ADDRESS.sub(REDACTED, CREDENTIALS.sub(f"{REDACTED}@", value if isinstance(value, str) else repr(value)))
