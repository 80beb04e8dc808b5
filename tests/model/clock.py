"""Time for a test that cannot wait: the server's clock goes on as it is, and everything else moves the other way.

The scripts compare two things: the server's clock, which nobody can set, and the instants that are stored. To let
an hour pass, every stored instant is made an hour earlier. For a script that is the same: it never sees more than
the difference. The production code is used as it is.

What can go wrong: an instant that is left behind, because its key is new. `step_clock.lua` therefore knows every
key by name, and refuses the others.
"""

from pathlib import Path

from producers.link.script import Script
from tests.model.wire import Wire

_STEP = Script((Path(__file__).parent / "step_clock.lua").read_text(encoding="utf-8"))


def step_clock(wire: Wire, milliseconds: int) -> None:
    """Let so much time pass on a server that belongs to the test alone.

    A time to live that is over by then, to the millisecond, is over at once.

    Raises:
        ResponseError: naming a key that ``step_clock.lua`` does not know.
    """
    wire.run(_STEP.run(wire.call, [], [milliseconds]))
