"""Inspection of a recording producer: the jobs that were sent, and assertions about them."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from .queue import MemoryQueue, Sent


class Recorder:
    """Base class of recording producers: the recorded jobs, and assertions about them."""

    _memory: MemoryQueue

    @property
    def sent(self) -> list[Sent]:
        """All queued jobs, in order, without duplicates."""
        return list(self._memory.sent)

    @property
    def cancelled(self) -> list[Sent]:
        """Jobs that were cancelled before they ran."""
        return list(self._memory.cancelled)

    @property
    def expired(self) -> list[Sent]:
        """Jobs of kinds with a handler that expired before they ran."""
        return list(self._memory.expired)

    @property
    def now(self) -> datetime:
        """The recorder's time. It starts at this machine's time, and only ``travel`` advances it."""
        return self._memory.now

    def clear(self) -> None:
        """Forget sent jobs, keys and waiting jobs; the clock stays."""
        self._memory.clear()

    def assert_sent(
        self,
        *,
        kind: str | None = None,
        to: str | None = None,
        template: str | None = None,
        key: str | None = None,
        count: int | None = None,
    ) -> list[Sent]:
        """Assert that jobs matching all arguments were sent, and return them.

        Args:
            kind: the job's kind.
            to: recipient of the mail, as the caller wrote it or as stored in the job.
            template: the mail's template.
            key: the caller's key.
            count: exact number of matching jobs; by default at least one.

        Raises:
            AssertionError: another number of jobs matches; the message lists the sent jobs.
        """
        asked = {"kind": kind, "to": to, "template": template, "key": key}
        wanted = {name: value for name, value in asked.items() if value is not None}
        found = [one for one in self._memory.sent if all(_fits(one, *wish) for wish in wanted.items())]
        if len(found) == count or (found and count is None):
            return found
        raise AssertionError(_complaint(wanted, count, len(found), self._memory.sent))


def _fits(job: Sent, name: str, value: str) -> bool:
    as_written = getattr(job.message, "to", None) if name == "to" else None
    return value in (getattr(job, name), as_written)


def _complaint(wanted: Mapping[str, str], count: int | None, found: int, sent: Sequence[Sent]) -> str:
    number = "at least one job" if count is None else f"{count} job{'' if count == 1 else 's'}"
    wish = " and ".join(f"{name} {value!r}" for name, value in wanted.items())
    listed = "".join(f"\n  {_line(one)}" for one in sent)
    return f"wanted: {number}{' with ' if wish else ''}{wish}; found: {found} of {len(sent)} sent{listed}"


def _line(job: Sent) -> str:
    told = {name: getattr(job, name) for name in ("to", "template", "key")}
    return f"{job.kind} in {job.lane}" + "".join(f", {name} {value!r}" for name, value in told.items() if value)
