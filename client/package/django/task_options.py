"""``OPTIONS`` of a task backend: lanes, tries, and overrides of ``MOMENTUS``.

`docs/django.md` has a table of them. An unknown or invalid one raises InvalidTaskBackend with the backend's alias.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from momentus_client.django.configuration import Configuration, with_options
from momentus_client.django.task_interface import DEFAULT_TASK_QUEUE_NAME, InvalidTask, InvalidTaskBackend
from momentus_client.django.task_jobs import MOST_TRIES
from momentus_client.jobs import JobError
from momentus_client.jobs.lanes import OWN, own_lane

OF_MOMENTUS = ("url", "budget", "confirm_replicas", "on_commit")
NAMES = ("lanes", "tries", "wait", *OF_MOMENTUS)
LONGEST_WAIT = timedelta(hours=1)
LOWEST = -100
"""Lowest priority of a task."""

PriorityLanes = tuple[tuple[int, str], ...]
"""Lanes of one queue by the lowest priority that each serves, the highest first."""


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """Checked options of a task backend."""

    connection: Configuration
    lanes: Mapping[str, PriorityLanes]
    tries: int = 1
    wait: timedelta = timedelta(seconds=1)

    @property
    def has_priorities(self) -> bool:
        """True if a queue has several lanes."""
        return any(len(lanes) > 1 for lanes in self.lanes.values())

    def lanes_of(self, queues: Collection[str]) -> frozenset[str]:
        """Return all lanes of some queues. Raises InvalidTask."""
        named = {lane for queue in queues for _, lane in self.lanes.get(queue, ())}
        return frozenset(named | {_lane_named(queue) for queue in queues if queue not in self.lanes})

    def lane(self, queue: str, priority: int) -> str:
        """Return the lane of a task.

        Raises:
            InvalidTask: the queue's name cannot be that of a lane, and ``lanes`` does not name one.
        """
        lanes = self.lanes.get(queue)
        if lanes is None:
            return _lane_named(queue)
        return next((lane for lowest, lane in lanes if priority >= lowest), lanes[-1][1])


def read_options(alias: str, given: Mapping[str, Any], queues: set[str]) -> TaskOptions:
    """Check the ``OPTIONS`` of a backend.

    Args:
        queues: its ``QUEUES``; empty for any.

    Raises:
        InvalidTaskBackend: an option is unknown or invalid; the text names it.
    """
    for name in given:
        if name not in NAMES:
            raise _invalid(alias, name, f"is not an option{_suggestion(name)}")
    own = {name.upper(): given[name] for name in OF_MOMENTUS if name in given}
    try:
        connection = with_options(own)
        lanes = {queue: _lanes(queue, value) for queue, value in _mapping(given.get("lanes", {})).items()}
        for queue in queues - lanes.keys():
            _lane_named(queue)
    except (ImproperlyConfigured, JobError, InvalidTask) as error:
        raise InvalidTaskBackend(f"TASKS[{alias!r}]: {error}") from None
    if unknown := sorted(lanes.keys() - queues) if queues else []:
        raise _invalid(alias, "lanes", f"{unknown[0]!r} is not in QUEUES")
    return TaskOptions(connection, lanes, _tries(alias, given.get("tries", 1)), _wait(alias, given.get("wait", 1)))


def _lanes(queue: str, given: object) -> PriorityLanes:
    """Return a queue's lanes, the highest priority first."""
    if isinstance(given, str):
        return ((LOWEST, own_lane(given)),)
    if not isinstance(given, Mapping) or not given or not all(type(lowest) is int for lowest in given):
        raise ImproperlyConfigured(
            f"lanes[{queue!r}]: must be a lane, or lanes by lowest priority like {{50: 'urgent', -100: 'tasks'}}"
        )
    return tuple((lowest, own_lane(given[lowest])) for lowest in sorted(given, reverse=True))


def _mapping(given: object) -> Mapping[str, object]:
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"lanes: must be a dict by queue, not {type(given).__name__}")
    return given


def _lane_named(queue: str) -> str:
    if queue == DEFAULT_TASK_QUEUE_NAME:
        return OWN
    try:
        return own_lane(queue)
    except JobError:
        raise InvalidTask(
            f"lanes: the name of queue {queue!r} is not valid for a lane; name a lane in OPTIONS['lanes']"
        ) from None


def _tries(alias: str, given: object) -> int:
    if type(given) is not int or not 1 <= given <= MOST_TRIES:
        raise _invalid(alias, "tries", f"must be a number of attempts from 1 to {MOST_TRIES}")
    return given


def _wait(alias: str, given: object) -> timedelta:
    seconds = given.total_seconds() if isinstance(given, timedelta) else given
    if not isinstance(seconds, int | float) or not 0 <= seconds <= LONGEST_WAIT.total_seconds():
        raise _invalid(alias, "wait", "must be a timedelta or a number of seconds, from 0 to an hour")
    return timedelta(seconds=seconds)


def _suggestion(name: object) -> str:
    near = get_close_matches(str(name).lower(), NAMES, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; the options are {', '.join(NAMES)}"


def _invalid(alias: str, name: object, reason: str) -> InvalidTaskBackend:
    return InvalidTaskBackend(f"TASKS[{alias!r}]['OPTIONS'][{name!r}]: {reason}")
