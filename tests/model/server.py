"""The server that one run of the machine has for itself."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.model.wire import Wire

_LARGE = 1 << 20
"""Octets of the append-only file from which on it is written anew: each restart reads it whole."""
_REALLY = 100


@dataclass(slots=True)
class Server:
    """It can be emptied, and made to forget all that a restart forgets.

    Attributes:
        kill: ends the process and starts it again; returns when it answers.
        restarts: how often it was to start again. Most times it is told to drop its data and read its file, which
            is what a restart does to data and takes a hundredth of the time; every hundredth time it is killed.
        steps: how many steps were compared.
    """

    wire: Wire
    kill: Callable[[], None]
    restarts: int = 0
    steps: int = 0

    def clear(self) -> None:
        """Empty it, for the next example."""
        self.wire.step(("FLUSHALL",))
        if self._number("aof_current_size") > _LARGE:
            self.wire.ask(("BGREWRITEAOF",))
            while self._number("aof_rewrite_in_progress") or self._number("aof_rewrite_scheduled"):
                pass

    def restart(self) -> None:
        """Forget all that is not in the file."""
        self.restarts += 1
        if self.restarts % _REALLY:
            (answer,) = self.wire.ask(("DEBUG", "LOADAOF"))
            assert answer == b"OK", answer
        else:
            self.kill()
            self.wire.close()

    def _number(self, name: str) -> int:
        (state,) = self.wire.ask(("INFO", "persistence"))
        return int(state.partition(f"{name}:".encode())[2].partition(b"\r")[0])
