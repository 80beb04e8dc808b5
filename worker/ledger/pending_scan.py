"""The place in the table of pending jobs from which a relay reads on. No I/O.

While somebody holds a transaction open (a dump, a forgotten session), rows that relays deleted cannot be cleared
away, and a read from the table's beginning passes over all of them: after 200,000 rows it takes ten times as long.
So when such a read was slow, those that follow begin behind the last row that was read. New rows are at the end
then, because no place is free; a row before it, of a relay that died for instance, is found by the next read from
the beginning, a second later at most.
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
        >>> scan.note_read(BEGINNING, [(7, 1), (9, 4)], seconds=0.02, now=100.0)
        >>> scan.place(100.5), scan.place(101.5)
        ((9, 4), (0, 0))
    """

    def __init__(self) -> None:
        self._last = BEGINNING
        self._began_at = 0.0
        self._was_slow = False

    def place(self, now: float) -> Place:
        """Return the place behind which the next read begins."""
        return self._last if self._was_slow and now - self._began_at < _AGAIN_SECONDS else BEGINNING

    def note_read(self, began: Place, found: Sequence[Place], *, seconds: float, now: float) -> None:
        """Note a read: where it began, the places of its rows, how long it took, and the instant."""
        if began == BEGINNING:
            self._began_at, self._was_slow = now, seconds > _SLOW_SECONDS
        self._last = max([began, *found])
