"""Have the kernel end a process when its parent ends, however that happens. Linux only."""

import ctypes
import os
from signal import Signals

_SET_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


def signal_at_parents_death(number: Signals, parent: int | None = None) -> None:
    """Have the kernel send this process a signal when its parent ends. Does nothing except on Linux.

    Args:
        parent: the process that is its parent; exits with 1 if that has ended before this call.
    """
    expected = os.getppid() if parent is None else parent
    try:
        ctypes.CDLL(None).prctl(_SET_DEATH_SIGNAL, int(number))
    except (OSError, AttributeError):
        return
    if os.getppid() != expected:
        os._exit(1)
