"""How every process logs: one line per event, on stderr, with nothing private in it.

Rooms log through ``structlog.get_logger()`` or the standard ``logging``; only ``__main__`` files import this
module, to call ``set_up`` once. Both ways pass the same steps, so a library's line looks like ours. What the
worker binds to the context (job, kind, lane, attempt) is part of every line.

Two things keep addresses and mail bodies out. A field whose name is private (``to``, ``subject``,
``redis_url``: the whole name or its last word) loses its value. In all other text, tracebacks included, what
looks like a mail address or the credentials in a URL is masked. That is the second line of defence: code logs
ids, not people.

What this module refuses to do: write to stdout, which belongs to a command's answer, or to files.
"""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

Format = Literal["auto", "console", "json"]

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
# A run of characters is tried from its first one only (the look-behind), so a long line costs linear time.
RUN: Final = r"""[^\s"'`()<>\[\]{},;:=/\\@]"""
ADDRESS: Final = re.compile(rf"""(?:"[^"\n]*"|(?<!{RUN}){RUN}+)(?:@|%40){RUN}+""")

GRANIAN_LOGGING: Final[dict[str, Any]] = {
    "handlers": {},
    "loggers": {"_granian": {"propagate": True}, "granian.access": {"propagate": True}},
}
"""For ``Granian(log_dictconfig=...)``, whose loggers would print to stdout: their lines become ours."""


def set_up(log_format: Format = "auto", level: str = "info", *, stream: TextIO | None = None) -> None:
    """Log in this format ("auto": readable on a terminal, else JSON) from this level on.

    Libraries are heard from "warning" on. ``stream`` is stderr unless a test says otherwise.
    """
    stream = stream or sys.stderr
    least = logging.getLevelNamesMapping()[level.upper()]
    finish = [*steps(), renderer(log_format, stream)]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, *finish],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    adopt_standard_logging(least, stream, finish)


def adopt_standard_logging(least: int, stream: TextIO, finish: list[Processor]) -> None:
    """Send what goes through ``logging`` the same way: our rooms from ``least``, all others from warning."""
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


def steps() -> list[Processor]:
    """What happens to every line, whoever logged it. Redaction is last, when all its text is there."""
    return [
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        redact,
    ]


def renderer(log_format: Format, stream: TextIO) -> Processor:
    """The last step: a line for people or for machines."""
    if log_format == "console" or (log_format == "auto" and stream.isatty()):
        return structlog.dev.ConsoleRenderer(colors=stream.isatty())
    return structlog.processors.JSONRenderer()


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The event without private values; everything in it becomes plain JSON-native data."""
    return {name: REDACTED if is_private(name) else mask(value) for name, value in event.items()}


def is_private(name: str) -> bool:
    """Whether a field of this name may hold a person, a text or a key."""
    return bool(PRIVATE.intersection(re.findall(r"[a-z]+", name.lower())[-1:]))


def mask(value: object) -> object:
    """The value with every mail address in it replaced. Objects are masked as their ``repr`` shows them."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(mask(key)): REDACTED if is_private(str(key)) else mask(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [mask(part) for part in value]
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return ADDRESS.sub(REDACTED, CREDENTIALS.sub(f"{REDACTED}@", value if isinstance(value, str) else repr(value)))
