"""The levels ``ledger`` and ``fallback`` of a call, without asyncio; see :mod:`.levels`.

A row takes as long as the connection allows: Python cannot end a driver's call.
"""

from collections.abc import Sequence
from typing import Any

from .compose import Batch, Chunk, naming_conflict, receipt_of, staged_receipt
from .entry import JobEntry, enqueue
from .errors import NotEnqueued, ProducerError
from .keys import tag_of
from .message import Message
from .receipt import Receipt
from .staging.faults import ledger_error, neither_took
from .staging.kinds import SyncRowWriter, sync_row_writer
from .staging.level import check_level
from .staging.row import row_of
from .staging.sync_wake import SyncWaker
from .staging.token import RelayCall
from .sync_queue import SyncQueue

_SHARE = 0.5
"""Part of the budget for Redis at level ``fallback``; the rest is for the row."""


class SyncLevelSender:
    """Sender of a producer's jobs at the levels ``ledger`` and ``fallback``. Thread-safe.

    Args:
        queue: the producer's.
    """

    def __init__(self, queue: SyncQueue) -> None:
        self._redis = queue.with_share(_SHARE)
        self._waker = SyncWaker(queue)

    def close(self) -> None:
        """Stop notifying relays."""
        self._waker.close()

    def _writer(self, connection: object) -> SyncRowWriter:
        return sync_row_writer(connection)

    def _insert_in_time(self, writer: SyncRowWriter, entries: Sequence[JobEntry]) -> None:
        """Insert rows that may commit by themselves. Raises what the driver raises."""
        self._insert(writer, entries, alone=True)

    # Every call below stands in `producers/levels.py` too: `python -m tests.twins` writes it from there.

    def send(
        self,
        message: Message,
        key: str | None,
        entry: JobEntry,
        level: str,
        connection: Any,  # noqa: ANN401  of whatever library
    ) -> Receipt:
        """Queue or stage one entry; arguments and errors are those of a producer's ``send``."""
        check_level(level, connection)
        writer = self._writer(connection)
        if level == "ledger":
            self._insert(writer, [entry], alone=False)
            return staged_receipt(message, entry)
        try:
            with naming_conflict([key]):
                (taken,) = self._redis.run(enqueue(message.lane, [entry]))
            return receipt_of(message, taken)
        except NotEnqueued as missed:
            self._insert_instead(writer, [entry], missed)
            return staged_receipt(message, entry)

    def send_batch(self, batch: Batch, level: str, connection: Any) -> None:  # noqa: ANN401  as above
        """Queue or stage the entries of a batch, a thousand at a time; errors are those of ``send_many``.

        Once Redis has missed a thousand at level ``fallback``, the rest is staged without asking it.
        """
        check_level(level, connection)
        writer = self._writer(connection)
        missed: NotEnqueued | None = None
        for together in batch.rounds():
            left: Sequence[Chunk] = together
            if level == "fallback" and missed is None:
                left, missed = self._have_redis_take(batch, together)
            entries = [entry for _, places in left for entry in batch.entries(places)]
            if level == "ledger":
                self._insert(writer, entries, alone=False)
            elif missed is not None:
                with batch.naming_receipts():
                    self._insert_instead(writer, entries, missed)
            batch.record_staged(left)

    def _have_redis_take(
        self, batch: Batch, together: Sequence[Chunk]
    ) -> tuple[Sequence[Chunk], NotEnqueued | None]:
        """Return the chunks that Redis did not take, and why. Raises KeyConflict."""
        answers = self._redis.run_all([enqueue(lane, batch.entries(places)) for lane, places in together])
        replies = list(zip(together, answers, strict=True))
        missed = [(chunk, one) for chunk, one in replies if isinstance(one, NotEnqueued)]
        taken = [(chunk, one) for chunk, one in replies if not isinstance(one, NotEnqueued)]
        batch.record_replies([chunk for chunk, _ in taken], [one for _, one in taken])
        return [chunk for chunk, _ in missed], missed[0][1] if missed else None

    def _insert(self, writer: Any, entries: Sequence[JobEntry], *, alone: bool) -> None:  # noqa: ANN401  of either kind
        """Insert rows, and notify the relays if the rows belong to a transaction.

        Raises:
            InvalidRequest: the connection cannot be used.
            LedgerUnavailable: there is no ledger, or the connection may not write to it.
            Exception: any other error of the driver, unchanged.
        """
        try:
            writer.insert([row_of(one) for one in entries], alone=alone)
        except ProducerError:
            raise
        except Exception as error:
            if known := ledger_error(error, writer.name):
                raise known from error
            raise
        wake = RelayCall(self._waker.wake, frozenset(tag_of(one.id)[1:-1] for one in entries))
        if not (alone or writer.call_after_commit(wake)):
            wake()

    def _insert_instead(self, writer: Any, entries: Sequence[JobEntry], missed: NotEnqueued) -> None:  # noqa: ANN401  as above
        """Insert rows that Redis has missed. Raises NotEnqueued if that fails as well."""
        try:
            self._insert_in_time(writer, entries)
        except Exception as error:
            raise neither_took(missed, error) from error
