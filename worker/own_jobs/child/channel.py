"""Messages of a child while one job runs: progress, effects and the outcome, from any thread of the function."""

import threading
import time
from collections.abc import Mapping
from typing import Any, BinaryIO

from jobs.run import check_progress
from worker.own_jobs.frames import read_frame, write_frame

_PAUSE_SECONDS = 0.1
"""Pause between two reports of progress, so that frequent reports do not burden the worker's loop."""


class Channel:
    """Child's end of the socket, for one job. Nothing is sent for the job after its outcome.

    Args:
        stream: buffered binary stream for both directions.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._asking = threading.Lock()
        self._writing = threading.Lock()
        self._over = False
        self._latest: list[Any] | None = None
        self._timer: threading.Timer | None = None
        self._reported_at = 0.0

    def send_outcome(self, message: Mapping[str, Any]) -> None:
        """Send the job's outcome once no request is open. Raises OSError if the worker is gone."""
        with self._asking, self._writing:
            self._over = True
            if self._timer is not None:
                self._timer.cancel()
            self._write(message)

    def report_progress(self, done: float, total: float, note: str = "") -> None:
        """Report the progress: at once, or after a pause if another report was just sent; then only the latest.

        Raises:
            ValueError: a number out of range, or an invalid note.
        """
        check_progress(done, total, note)
        with self._writing:
            self._latest = [done, total, note]
            if self._over or self._timer is not None:
                return
            wait = self._reported_at + _PAUSE_SECONDS - time.monotonic()
            if wait <= 0:
                self._report()
            else:
                self._timer = threading.Timer(wait, self._report_later)
                self._timer.daemon = True
                self._timer.start()

    def begin_effect(self, note: str = "") -> bool:
        """Ask the worker to store the mark of an effect. If it returns False, the effect must not happen."""
        with self._asking:
            with self._writing:
                if self._over:
                    return False
                self._write({"effect": note})
            reply = read_frame(self._stream)
        return reply is not None and bool(reply["began"])

    def _report_later(self) -> None:
        with self._writing:
            self._timer = None
            if not self._over:
                self._report()

    def _report(self) -> None:
        self._reported_at = time.monotonic()
        self._write({"progress": self._latest})

    def _write(self, message: Mapping[str, Any]) -> None:
        self._stream.write(_frame(message))
        self._stream.flush()


def _frame(message: Mapping[str, Any]) -> bytes:
    """Encode a message. A result that JSON cannot hold becomes a note, as in the worker: the job is done."""
    try:
        return write_frame(message)
    except TypeError:
        if "result" not in message:
            raise
        return write_frame({"result": f"result: a {type(message['result']).__name__} that JSON cannot hold"})
