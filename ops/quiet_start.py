"""Start of a module by `./run`: until its work begins, Ctrl-C ends the process without Python's traceback.

    python -S -P ops/quiet_start.py MODULE [ARG...]

``-S`` postpones the slow part of the start until the signal is set. ``_signal`` is the built-in part of
``signal``, whose own imports take longer than everything before.

redis-py imports ``jwt``, and with it ``cryptography``, for log-ins with an identity provider's tokens, which are
not used here: a tenth of the start of a command. So ``jwt`` is loaded when one of its names is first used.
"""

import _signal  # type: ignore[import-not-found]  # typeshed has signal alone

_signal.signal(_signal.SIGINT, _signal.SIG_DFL)

import site  # noqa: E402  what -S has left out

site.main()

import importlib.util  # noqa: E402  see above
import runpy  # noqa: E402  see above
import sys  # noqa: E402  see above
import types  # noqa: E402  see above


class LateModule(types.ModuleType):
    """Stand-in for a module that is imported when one of its names is first used.

    importlib's own LazyLoader imports it as soon as another module imports it (Python 3.11).
    """

    def __getattr__(self, attribute: str) -> object:
        """Return an attribute of the module itself, which takes the place of this one."""
        if sys.modules[self.__name__] is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), attribute)


def import_late(name: str) -> None:
    """Import a module when one of its names is first used; a module that is not installed stays absent."""
    if spec := importlib.util.find_spec(name):
        sys.modules[name] = LateModule(name)
        sys.modules[name].__spec__ = spec


import_late("jwt")
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
