"""Start of a module by `./run`: until its work begins, Ctrl-C ends the process without Python's traceback.

    python -S -P ops/quiet_start.py MODULE [ARG...]

``-S`` leaves the slow part of the start until the signal is set. ``_signal`` is the built-in part of ``signal``,
whose own imports take longer than all that comes before.
"""

import _signal  # type: ignore[import-not-found]  # typeshed has signal alone

_signal.signal(_signal.SIGINT, _signal.SIG_DFL)

import site  # noqa: E402  what -S has left out

site.main()

import runpy  # noqa: E402  see above
import sys  # noqa: E402  see above

sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
