"""What a test asks of a recording producer: what was sent, and whether it is what was meant to be."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from .queue import MemoryQueue, Sent


class Recorder:
    """What a test asks of a recording producer."""

    _memory: MemoryQueue

    @property
    def sent(self) -> list[Sent]:
        """Every job that was queued, in order; duplicates are not."""
        return list(self._memory.sent)

    @property
    def cancelled(self) -> list[Sent]:
        """What was taken back before it ran."""
        return list(self._memory.cancelled)

    @property
    def expired(self) -> list[Sent]:
        """What came up after its deadline and did not run, of the kinds that have a handler."""
        return list(self._memory.expired)

    @property
    def now(self) -> datetime:
        """Where the clock stands. It starts at this machine's time and moves by ``travel`` alone."""
        return self._memory.now

    def clear(self) -> None:
        """Forget what was sent, the keys and what still waits; the clock stays."""
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
        """The jobs that fit all that is given.

        Args:
            to: whom the mail goes to, as it was written or as it travels.
            count: exactly so many; left out, at least one.

        Raises:
            AssertionError: another number fits; it lists what was sent.
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
