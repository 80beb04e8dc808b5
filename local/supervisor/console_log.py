"""Console log of supervised processes: `name | line`, the names aligned, each in its colour.

Colour is written to a terminal only, and not if NO_COLOR is set (no-color.org). Control characters in a line are
shown, not obeyed: a line may quote a stranger's input.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from itertools import cycle
from typing import TextIO

from local.supervisor.output import Log

_COLOURS = (36, 32, 33, 35, 34, 96, 92, 93)
_PLAIN = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), 127)}  # all but the tab


def console_log(names: Sequence[str], stream: TextIO) -> Log:
    """Return a log for `Supervisor` that writes to the stream.

    Args:
        names: of all processes, to align them and to give each a colour; others are printed plain.
        stream: takes the lines. They are dropped once its reader has closed it.

    Example:
        Supervisor(processes, log=console([process.name for process in processes], sys.stdout))
    """
    width = max((len(name) for name in names), default=0)
    colours = dict(zip(names, cycle(_COLOURS), strict=False)) if _wants_colour(stream) else {}

    def write(name: str, line: str) -> None:
        label = f"{name:<{width}} |"
        if name in colours:
            label = f"\x1b[{colours[name]}m{label}\x1b[0m"
        with suppress(BrokenPipeError):
            print(label, line.translate(_PLAIN), file=stream, flush=True)

    return write


def _wants_colour(stream: TextIO) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ
