"""Functions that carry out a backend's own jobs, marked with :func:`handles`; workers find them by their module.

Marking changes nothing in the function: tests and other code may call it as it is.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, TypeVar

from .fields import InvalidJob, check_fields
from .job import Job
from .policy import check_span
from .schedule import Schedule

MARK = "__momentus_handler__"
"""Attribute of a marked function."""
RunsIn = Literal["loop", "thread", "process"]
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

_Function = TypeVar("_Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class JobHandler:
    """A function, the class of its jobs, and how it runs.

    Attributes:
        runs_in: where it runs.
        timeout: the time limit of an attempt; None: the worker's default.
        keep_result: time to keep what it returns; None: the worker's default.
        upcasters: by version of the payload, the function that returns the next version.
        schedule: when a job with the class's defaults is queued; None: only when a backend sends one.
        takes_run: True if it has a second parameter.
    """

    job: type[Job]
    function: Callable[..., Any] = field(repr=False)
    runs_in: RunsIn
    timeout: timedelta | None = None
    keep_result: timedelta | None = None
    upcasters: Mapping[int, Upcaster] = field(default_factory=dict, repr=False)
    schedule: Schedule | None = None
    takes_run: bool = False

    @property
    def name(self) -> str:
        """Module and name of the function, for errors."""
        return f"{self.function.__module__}.{_name_of(self.function)}"

    def checked_result(self, value: object) -> object:
        """Return what a plain function has returned.

        Raises:
            TypeError: a coroutine or a generator, which would never run though the job counted as done.
        """
        if inspect.iscoroutine(value) or inspect.isgenerator(value) or inspect.isasyncgen(value):
            if not inspect.isasyncgen(value):
                value.close()
            kind = type(value).__name__
            raise TypeError(
                f"{self.name} returned a {kind}, which is never run; write `async def`, in its decorators too"
            )
        return value


def handles(
    job: type[Job],
    *,
    runs_in: RunsIn | None = None,
    timeout: timedelta | None = None,
    keep_result: timedelta | None = None,
    upcasters: Mapping[int, Upcaster] | None = None,
    schedule: Schedule | None = None,
) -> Callable[[_Function], _Function]:
    """Mark a function as the handler of a kind. It takes the job and, as a second parameter, its :class:`Run`.

    Args:
        runs_in: ``loop`` for a coroutine (left out), ``thread`` for a plain function (left out), ``process`` for a
            plain function that computes.
        timeout: the time limit of an attempt; left out, the worker's default.
        keep_result: time to keep the returned value, which must be JSON; left out, the worker's default.
        upcasters: for older versions of the fields: by version, the function that returns the next version.
        schedule: also queue a job with the class's defaults at these times, once in the whole fleet.

    Raises:
        JobError: the class, the function or an option does not fit.

    Example:
        @handles(Invoice, timeout=timedelta(minutes=2))
        async def send_invoice(invoice: Invoice, run: Run) -> str: ...
    """
    _check_job(job, schedule)
    _check_options(timeout, keep_result, upcasters)

    def mark(function: _Function) -> _Function:
        where = _place(function, runs_in)
        marked = JobHandler(
            job=job,
            function=function,
            runs_in=where,
            timeout=timeout,
            keep_result=keep_result,
            upcasters=dict(upcasters or {}),
            schedule=schedule,
            takes_run=_takes_run(function),
        )
        setattr(function, MARK, marked)
        return function

    return mark


def _check_job(job: type[Job], schedule: Schedule | None) -> None:
    if not (isinstance(job, type) and issubclass(job, Job) and "kind" in vars(job)):
        raise InvalidJob("handles", "give the class of the jobs, a subclass of Job with a kind")
    check_fields(job)
    if schedule is not None:
        if not isinstance(schedule, Schedule):
            raise InvalidJob("schedule", f"must be a Schedule(...), not {schedule!r}")
        try:
            job()
        except TypeError as error:
            raise InvalidJob("schedule", f"queues {job.__name__} with its defaults, but {error}") from None


def _check_options(timeout: object, keep_result: object, upcasters: object) -> None:
    for name, span in (("timeout", timeout), ("keep_result", keep_result)):
        if span is not None:
            check_span(name, span)
    if timeout == timedelta(0):
        raise InvalidJob("timeout", "must be more than 0; leave it out for the worker's default")
    given = {} if upcasters is None else upcasters
    if not isinstance(given, Mapping) or not all(
        isinstance(one, int) and callable(fn) for one, fn in given.items()
    ):
        raise InvalidJob("upcasters", "must be a dict of functions by version, like {1: one_to_two}")


def _place(function: Callable[..., Any], wanted: RunsIn | None) -> RunsIn:
    if not callable(function):
        raise InvalidJob("handles", f"must mark a function, not {function!r}")
    name = _name_of(function)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidJob(name, "has a yield; a handler returns its result, and reports progress through its Run")
    is_coroutine = inspect.iscoroutinefunction(function)
    found = wanted or ("loop" if is_coroutine else "thread")
    if found not in {"loop", "thread", "process"}:
        raise InvalidJob("runs_in", f"{found!r} must be loop, thread or process")
    if is_coroutine != (found == "loop"):
        kind = (
            "a coroutine, which runs in the loop" if is_coroutine else "no coroutine; it runs in thread or process"
        )
        raise InvalidJob("runs_in", f"{found!r} does not fit: {name} is {kind}")
    return found


def _name_of(function: Callable[..., Any]) -> str:
    """Return the name of a function, or the class of another object that can be called."""
    return getattr(function, "__qualname__", type(function).__name__)


def _takes_run(function: Callable[..., Any]) -> bool:
    parameters = inspect.signature(function).parameters.values()
    positional = [one for one in parameters if one.kind in {one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD}]
    if not 1 <= len(positional) <= 2:  # noqa: PLR2004  the job, and its run
        raise InvalidJob(_name_of(function), "must take the job and, optionally, its Run")
    return len(positional) > 1
