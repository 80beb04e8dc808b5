"""`momentus_client` in the worker: an alias of our own modules, since backends import them by that name.

A job module is imported by the backend, which has the wheel `momentus_client`, and by the worker, where the rooms
are `jobs`, `producers` and `sessions`. Here both names must give one `Job` and one `TryLater`; a second copy of a
module would have other classes. The wheel's own part, such as its modules for frameworks, is loaded from where the
wheel gets it, because a backend's module often imports the rest of the backend. An installed wheel is not used.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Sequence
from pathlib import Path

NAME = "momentus_client"
OWN_PART = Path(__file__).resolve().parents[2] / "client/package"
ROOMS = frozenset({"jobs", "producers", "sessions"})


class _ModuleFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finder of `momentus_client` (the wheel's own part) and, below it, of our own modules."""

    def __init__(self) -> None:
        self._specs: dict[str, importlib.machinery.ModuleSpec | None] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a name below `momentus_client`, else None."""
        del path, target
        package, _, rest = fullname.partition(".")
        if package != NAME:
            return None
        if not rest:
            return importlib.util.spec_from_file_location(
                NAME, OWN_PART / "__init__.py", submodule_search_locations=[str(OWN_PART)]
            )
        if rest.partition(".")[0] not in ROOMS or importlib.util.find_spec(rest) is None:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Return our own module for a name below the package."""
        found = importlib.import_module(spec.name.removeprefix(f"{NAME}."))
        self._specs[spec.name] = found.__spec__
        return found

    def exec_module(self, module: types.ModuleType) -> None:
        """Restore the module's own spec, which the import system has just replaced by the alias's."""
        spec = module.__spec__
        if spec is not None and spec.name in self._specs:
            module.__spec__ = self._specs.pop(spec.name)


def install_alias() -> None:
    """Make `momentus_client` importable in this process; a second call changes nothing."""
    if not any(isinstance(one, _ModuleFinder) for one in sys.meta_path):
        sys.meta_path.insert(0, _ModuleFinder())
