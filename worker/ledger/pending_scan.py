"""The place in the table of pending jobs at which a relay continues to read. No I/O.

While another client holds a transaction open (a dump, a forgotten session), rows that relays deleted cannot be
cleared away, and a read from the table's beginning passes over all of them: after 200,000 rows it takes ten times
as long. So when such a read was slow, those that follow begin behind the last row that was read. New rows are at
the end then, because no place is free; a row before it, of a relay that died for instance, is found by the next
read from the beginning, a second later at most.

Rows of a lane that rests stay where they are, and may be more than one read takes. The reads that follow pass over
them in the same way, until the table's end, so that they hold up no other lane. When the lane may be tried again,
one read is from the beginning; if its rows stay, the next one continues where the pass was.
"""

from collections.abc import Sequence

Place = tuple[int, int]
"""The block of a row and its number there: Postgres's ctid."""
BEGINNING: Place = (0, 0)
_SLOW_SECONDS = 0.005
_AGAIN_SECONDS = 1.0


class PendingScan:
    """The place of one relay.

    Example:
        >>> scan = PendingScan()
        >>> scan.note_read(BEGINNING, [(7, 1), (9, 4)], seconds=0.02, now=100.0, is_last=False)
        >>> scan.place(100.5), scan.place(101.5)
        ((9, 4), (0, 0))
        >>> scan.note_left(until=105.0)
        >>> scan.note_read((9, 4), [(9, 7)], seconds=0.02, now=101.0, is_last=False)
        >>> scan.place(104.9), scan.place(105.0)
        ((9, 7), (0, 0))
    """

    def __init__(self) -> None:
        self._last = BEGINNING
        self._passed = BEGINNING
        """Place up to which all rows were read since one stayed; the beginning once the end was reached."""
        self._again_at = 0.0
        self._began = BEGINNING
        self._goes_on = False
        """True if rows of a read from the beginning stayed, so the next read does not start there."""

    def place(self, now: float) -> Place:
        """Return the place behind which the next read begins."""
        return BEGINNING if now >= self._again_at and not self._goes_on else self._last

    def note_read(
        self, began: Place, found: Sequence[Place], *, seconds: float, now: float, is_last: bool
    ) -> None:
        """Note a read.

        Args:
            began: the place behind which it began.
            found: the places of its rows.
            now: the instant of its end.
            is_last: True if it came to the table's end.
        """
        if began == BEGINNING and seconds > _SLOW_SECONDS:
            self._again_at = now + _AGAIN_SECONDS
        if began != BEGINNING and is_last:
            self._passed = BEGINNING
        self._began, self._goes_on = began, False
        self._last = max([began, *found])

    def note_left(self, until: float) -> None:
        """Note that rows of the last read stay until an instant."""
        self._again_at, self._goes_on = until, self._began == BEGINNING
        self._last = self._passed = max(self._last, self._passed)
